"""The one reader of YAML: numbers and words as people write them, and what is refused with its place."""

import pytest

from mdmf.yaml_text import parse_yaml, read_yaml


def test_numbers_and_words_are_what_they_look_like():
    content = parse_yaml("{a: 1e-4, b: off, c: yes, d: true, e: 3, f: no}", source="x")
    assert content == {"a": 1e-4, "b": "off", "c": "yes", "d": True, "e": 3, "f": "no"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb:\n  c: 2\n  c: 3\n", "^x.yaml, line 4: key 'c' is given twice; remove one$"),
        ("a: [", "^x.yaml is not valid YAML: "),
        ("!!python/object/apply:os.system [exit 1]", "is not valid YAML"),
        ("{[a]: 1}", "is not valid YAML: .*unhashable"),
    ],
)
def test_mistakes_are_named_with_their_place(text, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        parse_yaml(text, source="x.yaml")


def test_a_key_may_override_a_merged_one():
    assert parse_yaml("a: &a {b: 1, c: 2}\nd: {<<: *a, b: 3}", source="x")["d"] == {"b": 3, "c": 2}


def test_a_file_that_is_no_text_is_named(tmp_path):
    (tmp_path / "x.yaml").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(ValueError, match=r"x\.yaml is not UTF-8 text"):
        read_yaml(tmp_path / "x.yaml")
