"""Nothing of a user's is imported before the user said so."""

import sys

import pytest

from mdmf.own_code import own_factory


@pytest.fixture
def own_module(tmp_path, monkeypatch) -> str:
    (tmp_path / "own_code_for_test.py").write_text("value = 3\ndef make():\n    return value\n", encoding="utf-8")
    (tmp_path / "own_broken_for_test.py").write_text("import absent_for_test\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_code_for_test", raising=False)
    return "own_code_for_test"


def asked(name: str, *, allow_code: bool = True):
    return own_factory(name, what="a thing", setting="thing.kind=module", allow_code=allow_code)


def test_the_function_that_is_named_is_given(own_module):
    assert asked(f"{own_module}:make")() == 3


def test_nothing_is_imported_without_consent(own_module):
    with pytest.raises(ValueError, match=r"^thing.kind=module would import 'own_code_for_test'.*--allow-code"):
        asked(f"{own_module}:make", allow_code=False)
    assert own_module not in sys.modules


def test_what_cannot_be_had_is_named(own_module, tmp_path):
    with pytest.raises(ValueError, match="module 'own_code_for_test' has no function 'absent'"):
        asked(f"{own_module}:absent")
    with pytest.raises(ValueError, match="has no function 'value'"):
        asked(f"{own_module}:value")
    with pytest.raises(ValueError, match=r"cannot import 'own_broken_for_test': no module 'absent_for_test'"):
        asked("own_broken_for_test:make")
    for body, said in (
        ("1 / 0", "ZeroDivisionError"),
        ("import sys; sys.exit(0)", "SystemExit: 0"),
        ("def (", "Syntax"),
    ):
        (tmp_path / "own_failing_for_test.py").write_text(body, encoding="utf-8")
        with pytest.raises(ValueError, match=rf"'own_failing_for_test' fails when it is imported: .*{said}"):
            asked("own_failing_for_test:make")
    for name in ("json.loads", ":make", "json:", ""):
        with pytest.raises(ValueError, match=r"expected a thing of your own as 'package\.module:factory', got"):
            asked(name)
