"""Names in messages."""

from mdmf.class_names import some_of


def test_the_first_names_and_how_many_more():
    assert some_of([]) == "none"
    assert some_of(["a", "b"]) == "'a', 'b'"
    assert some_of([str(number) for number in range(1500)], 2) == "'0', '1' and 1,498 more"
