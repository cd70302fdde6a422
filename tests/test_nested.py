from mdmf.nested import flattened, merged


def test_the_upper_value_wins_and_sections_are_joined():
    lower, upper = {"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 4}, "d": {"e": 5}}
    assert merged(lower, upper) == {"a": {"b": 4, "c": 2}, "d": {"e": 5}}
    assert lower == {"a": {"b": 1, "c": 2}, "d": 3}


def test_names_are_dotted_at_any_depth():
    assert flattened({"a": {"b": {"c": 1}, "d": [2]}, "e": None}) == {"a.b.c": 1, "a.d": [2], "e": None}
