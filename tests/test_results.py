import json

import pytest
from result_values import result_values

from mdmf.results import read_test_result, result_model

WHOLE = result_values({"m2df": {"branches": {"local": {"accuracy_percent": 40.0, "interval": 2}}}}, settings={})
WHOLE["settings"] = {"model": {"name": "m2df"}}


def without(*path: str) -> dict:
    """The whole result, less one key."""
    changed = json.loads(json.dumps(WHOLE))
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    del inner[path[-1]]
    return changed


def test_what_a_test_writes_is_given_as_it_is_also_with_more_in_it(tmp_path):
    path = tmp_path / "test_x.json"
    path.write_text(json.dumps(WHOLE | {"added_later": [1]}))
    assert read_test_result(path) == WHOLE | {"added_later": [1]}


def test_the_tested_model_is_named_as_in_the_tables(tmp_path):
    """A composition is written by another name in the settings than in tables; 0.1 had one name for both."""
    assert result_model(WHOLE) == "m2df"
    path = tmp_path / "test_x.json"
    settings = {"model": {"name": "otam", "source": "flow"}}
    path.write_text(json.dumps(result_values({"otam": {}, "flow_otam": {}}, settings=settings, model="flow_otam")))
    assert result_model(read_test_result(path)) == "flow_otam"


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ("[]", "all of it"),
        ("{", "JSONDecodeError"),
        ("[" * 100_000, "RecursionError"),
        (without("notes"), "notes"),
        (without("protocol", "seed"), "protocol.seed"),
        (without("models", "m2df", "interval"), "models.m2df.interval"),
        (without("models", "m2df", "branches", "local", "accuracy_percent"), "models.m2df.branches.local"),
        (without("settings", "model", "name"), "KeyError: 'name'"),
        (WHOLE | {"text_weight": "0.5"}, "text_weight: Input should be a valid number"),
        (WHOLE | {"models": {}}, "no numbers of 'm2df'"),
        (WHOLE | {"model": "flow_otam"}, "no numbers of 'flow_otam'"),
    ],
)
def test_what_is_none_is_named_with_the_place(tmp_path, content, place):
    path = tmp_path / "test_x.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(ValueError, match="is not the result of a test") as said:
        read_test_result(path)
    assert place in str(said.value)
