import sys

import pytest

from mdmf.registry import METHODS, Registry


@pytest.fixture
def parts(tmp_path, monkeypatch) -> Registry:
    """A registry whose package has two modules, each of which registers one entry."""
    package = tmp_path / "parts_for_test"
    package.mkdir()
    (package / "__init__.py").write_text("from mdmf.registry import Registry\nPARTS = Registry('part', __name__)\n")
    for name in ("pear", "apple"):
        (package / f"{name}.py").write_text(
            f"from parts_for_test import PARTS\nPARTS.add('{name}', '{name}!', module=__name__)\n"
        )
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.startswith("parts_for_test")]:
        monkeypatch.delitem(sys.modules, name)
    from parts_for_test import PARTS

    return PARTS


def test_a_file_of_the_package_is_found_when_an_entry_is_first_looked_up(parts):
    assert "parts_for_test.pear" not in sys.modules
    assert parts["apple"] == "apple!"
    assert list(parts) == ["apple", "pear"]
    assert "pear" in parts
    assert "plum" not in parts


def test_a_name_is_taken_once(parts):
    parts.add("plum", 1, module="first")
    parts.add("plum", 2, module="first")  # imported again
    assert parts["plum"] == 2
    with pytest.raises(ValueError, match="a part named 'plum' is registered by 'first' already; choose another name"):
        parts.add("plum", 3, module="second")


def test_an_unknown_name_is_answered_with_the_nearest_and_the_known_ones(parts):
    with pytest.raises(ValueError, match=r"^unknown part 'aple'; did you mean 'apple'\? Known: apple, pear$"):
        parts["aple"]
    with pytest.raises(ValueError, match=r"^unknown part 'zzz'; Known: apple, pear$"):
        parts["zzz"]


def test_the_methods_are_those_of_the_zoo():
    assert {"m2df", "amfar", "amfir", "late_fusion", "early_concat", "early_attention", "temporal_head"} <= set(METHODS)
    assert {"otam", "prototype", "frame_wise", "bi_mhm", "zero_shot", "module"} <= set(METHODS)
    with pytest.raises(ValueError, match=r"unknown method 'ottam'; did you mean 'otam'\? Known: .*amfar, amfir"):
        METHODS["ottam"]
