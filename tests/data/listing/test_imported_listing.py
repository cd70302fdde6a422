from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from mdmf.data.listing.formats import ListingSettings
from mdmf.data.listing.index import VideoIndex, build_index

VECTOR = np.ones(2, np.float32)


def write_arrays(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        np.save(root / name, VECTOR)
    return root


def index_of(root: Path, **settings) -> VideoIndex:
    return build_index(ListingSettings(**{"name": "mine", "kind": "imported", "root": root} | settings))


def test_every_class_folder_is_a_test_class(tmp_path):
    write_arrays(tmp_path, "jump/a.npy", "jump/b.npy", "run/a.npy", ".hidden/x.npy")
    (tmp_path / "jump" / "notes.txt").write_text("x")
    index = index_of(tmp_path)
    assert [record.video_id for record in index.records] == ["jump/a", "jump/b", "run/a"]
    assert index.records[0].path == tmp_path / "jump" / "a.npy"
    assert index.classes == {"train": (), "val": (), "test": ("jump", "run")}
    assert index.n_ignored_files == 1


def test_a_class_split_is_taken_where_it_is_given(tmp_path):
    write_arrays(tmp_path, "jump/a.npy", "run/a.npy", "sit/a.npy")
    (tmp_path / "split.yaml").write_text("train: [run]\nval: [sit]\ntest: [jump]\n")
    index = index_of(tmp_path, class_split=tmp_path / "split.yaml")
    assert index.classes == {"train": ("run",), "val": ("sit",), "test": ("jump",)}
    assert index_of(tmp_path, class_split="random", split_fractions=(1.0, 0.0, 0.0)).classes["test"] == ()


def test_files_with_keys_name_the_split(tmp_path):
    lists = {}
    for split, keys in {"train": ["run/a", "run/b"], "test": ["jump/a"]}.items():
        save_file(dict.fromkeys(keys, VECTOR), tmp_path / f"{split}.safetensors")
        lists[split] = tmp_path / f"{split}.safetensors"
    index = index_of(tmp_path, lists=lists)
    assert index.classes == {"train": ("run",), "val": (), "test": ("jump",)}
    assert [(record.video_id, record.path.name) for record in index.records] == [
        *(("run/a", "train.safetensors"), ("run/b", "train.safetensors")),
        ("jump/a", "test.safetensors"),
    ]


@pytest.mark.parametrize("name", ["v_Jump_g01_c02", "v_Jump_g12_c01"])
@pytest.mark.parametrize("keyed", [False, True])
def test_names_of_ucf101_carry_the_group(tmp_path, name, keyed):
    write_arrays(tmp_path, f"jump/{name}.npy")
    save_file({f"jump/{name}": VECTOR}, tmp_path / "x.safetensors")
    more = {"lists": {"test": tmp_path / "x.safetensors"}} if keyed else {}
    (record,) = index_of(tmp_path, group_pattern=r"_(g\d+)_", **more).records
    assert record.group == name.split("_")[2]


@pytest.mark.parametrize(
    ("key", "message"),
    [("jump", "the key is not class/video"), ("a/b/c", "the key is not class/video")],
)
def test_other_keys_are_faults(tmp_path, key, message):
    save_file({key: VECTOR}, tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match=message):
        index_of(tmp_path, lists={"test": tmp_path / "x.safetensors"})


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"no features; it has none.*expected class/video\.npy below data\.root"):
        index_of(tmp_path)
    with pytest.raises((FileNotFoundError, ValueError), match=r"absent.*check the setting data\.lists"):
        index_of(tmp_path, lists={"test": tmp_path / "absent.safetensors"})
    (tmp_path / "bad.safetensors").write_bytes(b"12")
    with pytest.raises(ValueError, match=r"bad\.safetensors cannot be read"):
        index_of(tmp_path, lists={"test": tmp_path / "bad.safetensors"})
