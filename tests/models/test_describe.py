import pytest

from mdmf.cli import main
from mdmf.models.describe import method_list, method_text
from mdmf.registry import METHODS


def test_the_list_names_every_method_with_its_citation():
    lines = method_list().splitlines()
    assert sorted(line.split()[0] for line in lines) == list(METHODS)
    assert all(METHODS[line.split()[0]].citation in line for line in lines)
    kinds = ["training-free" in line for line in lines]
    assert kinds == sorted(kinds)  # trained methods first


@pytest.mark.parametrize("name", METHODS)
def test_a_text_has_citation_summary_and_every_setting(name):
    text, entry = method_text(name), METHODS[name]
    assert entry.citation in text
    assert entry.summary in text
    assert "Undefined" not in text
    for key in entry.settings.model_fields.keys() - {"name"}:
        assert f"  model.{key}=" in text


def test_presets_and_our_reading_are_named():
    assert "model.preset=released stands for" in method_text("m2df")
    assert "frames.rule=linspace_inner" in method_text("m2df")
    assert "our reading" in method_text("amfir")


def test_the_command_prints_the_list_or_one_method(capsys):
    assert main(["methods"]) == 0
    assert "trx" in capsys.readouterr().out
    assert main(["methods", "trx"]) == 0
    assert "model.cardinalities=[2, 3]" in capsys.readouterr().out
    assert main(["methods", "trxx"]) == 2
    assert "did you mean 'trx'" in capsys.readouterr().err
