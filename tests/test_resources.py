import pytest

from mdmf import resources
from mdmf.resources import resource_folder, shipped_names


def test_everything_that_a_command_needs_is_there():
    assert {"demo", "demo_5shot", "hmdb51", "kinetics100", "ssv2_full", "ssv2_small", "ucf101"} <= set(
        shipped_names("configs")
    )
    assert {"hmdb51", "kinetics100", "shapes", "ssv2_full", "ssv2_small", "ucf101"} == set(shipped_names("splits"))
    assert set(shipped_names("splits")) | {"default"} <= set(shipped_names("prompts"))
    assert (resource_folder("tiny") / "tiny_clip.safetensors").stat().st_size < 10e6


def test_an_installed_package_does_not_read_a_neighbours_configs(tmp_path, monkeypatch):
    """In site-packages a folder `configs` of another project may lie beside ours."""
    package = tmp_path / "site-packages" / "mdmf"
    for folder in (package / "configs", package.parent / "configs"):
        folder.mkdir(parents=True)
    monkeypatch.setitem(resources._FOLDERS, "configs", (package.parent / "configs", package / "configs"))
    monkeypatch.setattr(resources, "_PACKAGE", package)
    assert resource_folder("configs") == package / "configs"
    (package.parent / "setup.cfg").touch()
    assert resource_folder("configs") == package.parent / "configs"


def test_a_missing_folder_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(resources._FOLDERS, "tiny", (tmp_path / "gone",))
    with pytest.raises(FileNotFoundError, match=r"has no folder .*gone; reinstall mdmf"):
        resource_folder("tiny")
