import io
import pickle
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from mdmf.data.arrays import open_keyed, open_npy

ARRAYS = {"jump/a": np.ones((3, 2), np.float16), "run/b c": np.arange(4, dtype=np.float64)}


def write_safetensors(folder: Path) -> Path:
    save_file(ARRAYS | {"run/count": np.arange(3)}, folder / "x.safetensors")
    return folder / "x.safetensors"


def write_hdf5(folder: Path) -> Path:
    h5py = pytest.importorskip("h5py")
    with h5py.File(folder / "x.h5", "w") as file:
        for key, array in ARRAYS.items():
            file[key] = array
        file["run/count"] = np.arange(3)
    return folder / "x.h5"


@pytest.mark.parametrize("write", [write_safetensors, write_hdf5])
def test_arrays_are_read_by_key(tmp_path, write):
    with open_keyed(write(tmp_path)) as arrays:
        assert arrays.keys() == ["jump/a", "run/b c", "run/count"]
        for key, array in ARRAYS.items():
            assert arrays.shape(key) == array.shape
            np.testing.assert_array_equal(arrays.read(key), array)
            assert arrays.has(key)
        with pytest.raises(ValueError, match="has no key 'jump'"):
            arrays.read("jump")
        with pytest.raises(ValueError, match=r"'run/count' of x\..* holds .*int64.*|holds I64; save it as float16"):
            arrays.read("run/count")
        assert not arrays.has("jump")


@pytest.mark.parametrize("name", ["x.safetensors", "x.h5"])
@pytest.mark.parametrize("content", [None, b"", b"12"])
def test_a_file_that_is_missing_or_damaged_is_named(tmp_path, name, content):
    if name == "x.h5":
        pytest.importorskip("h5py")
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name} cannot be read as "):
        open_keyed(tmp_path / name)


def test_another_kind_of_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no file of arrays by key; expected \.safetensors, \.h5, \.hdf5"):
        open_keyed(tmp_path / "x.npz")


def test_without_h5py_the_message_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(ImportError, match=r"pip install 'mdmf\[hdf5\]'"):
        open_keyed(tmp_path / "x.h5")


class Trap:
    def __reduce__(self):
        return (Path("trapped").touch, ())


def test_a_pickle_is_never_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    Path("b.npy").write_bytes(pickle.dumps(Trap()))
    for name in ("a.npy", "b.npy"):
        with pytest.raises(ValueError, match=f"{name} cannot be read as an array of numbers"):
            open_npy(Path(name))
    assert not Path("trapped").exists()


def test_what_is_no_array_of_floats_is_refused(tmp_path):
    np.save(tmp_path / "ints.npy", np.arange(3))
    with pytest.raises(ValueError, match="holds int64; expected float16, float32 or float64"):
        open_npy(tmp_path / "ints.npy")
    with pytest.raises(ValueError, match="there is no file"):
        open_npy(tmp_path / "absent.npy")
    archive = io.BytesIO()
    np.savez(archive, a=np.ones(2))
    (tmp_path / "archive.npy").write_bytes(archive.getvalue())
    with pytest.raises(ValueError, match=r"is an archive \(\.npz\)"):
        open_npy(tmp_path / "archive.npy")
