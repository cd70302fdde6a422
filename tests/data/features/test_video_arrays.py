from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from mdmf.data.features.video_arrays import VideoArrays
from mdmf.structures import VideoRecord

ARRAY = np.arange(6, dtype=np.float32).reshape(3, 2)


def record(video_id: str, path: Path = Path("nowhere.mp4")) -> VideoRecord:
    return VideoRecord(video_id, path, "jump", "test")


def arrays(folder: Path | None = None, files: tuple[Path, ...] = (), tokens: str | None = None) -> VideoArrays:
    return VideoArrays(folder=folder, files=files, tokens=tokens)


def saved(folder: Path, array: np.ndarray, name: str = "jump/a.npy") -> VideoArrays:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    np.save(folder / name, array)
    return arrays(folder)


@pytest.mark.parametrize("video_id", ["jump/a.mp4", "jump/a"])
def test_a_folder_has_an_array_by_the_video_id_without_its_suffix(tmp_path, video_id):
    np.testing.assert_array_equal(saved(tmp_path, ARRAY).read(record(video_id)), ARRAY)


def test_an_array_may_also_have_the_whole_video_id(tmp_path):
    np.testing.assert_array_equal(saved(tmp_path, ARRAY, "jump/a.mp4.npy").read(record("jump/a.mp4")), ARRAY)


def test_files_have_arrays_by_key(tmp_path):
    save_file({"jump/a": ARRAY}, tmp_path / "train.safetensors")
    save_file({"run/b": ARRAY + 1}, tmp_path / "test.safetensors")
    files = (tmp_path / "train.safetensors", tmp_path / "test.safetensors")
    with arrays(files=files) as opened:
        np.testing.assert_array_equal(opened.read(record("jump/a.avi")), ARRAY)
        np.testing.assert_array_equal(opened.read(record("run/b")), ARRAY + 1)
        with pytest.raises(ValueError, match="has no key 'run/c'"):
            opened.read(record("run/c.mp4"))


def test_without_a_place_the_files_of_the_listing_are_read(tmp_path):
    np.save(tmp_path / "a.npy", ARRAY)
    save_file({"jump/b": ARRAY}, tmp_path / "x.safetensors")
    with arrays() as opened:
        np.testing.assert_array_equal(opened.read(record("jump/a", tmp_path / "a.npy")), ARRAY)
        np.testing.assert_array_equal(opened.read(record("jump/b", tmp_path / "x.safetensors")), ARRAY)
        with pytest.raises(ValueError, match=r"v\.mp4 is no file of arrays by key"):
            opened.read(record("jump/c", Path("v.mp4")))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_any_float_is_read(tmp_path, dtype):
    features = saved(tmp_path, ARRAY.astype(dtype)).read(record("jump/a"))
    assert features.dtype == np.float32
    np.testing.assert_array_equal(features, ARRAY)


def test_one_vector_is_one_frame(tmp_path):
    assert saved(tmp_path, np.ones(4, np.float32)).read(record("jump/a")).shape == (1, 4)


def test_tokens_are_chosen_or_averaged_or_refused(tmp_path):
    tokens = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    with pytest.raises(ValueError, match=r"shape \(2, 3, 4\), 3 tokens per frame; choose .* first .* or mean"):
        saved(tmp_path, tokens).read(record("jump/a"))
    np.testing.assert_array_equal(arrays(tmp_path, tokens="first").read(record("jump/a")), tokens[:, 0])
    np.testing.assert_array_equal(arrays(tmp_path, tokens="mean").read(record("jump/a")), tokens.mean(axis=1))


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.full((2, 3), np.nan), "NaN or infinite"),
        (np.full((2, 3), 1e300), "NaN or infinite"),
        (np.ones((0, 3)), r"has shape \(0, 3\); expected \(frames, D\), \(frames, tokens, D\) or \(D,\)"),
        (np.ones(()), r"has shape \(\)"),
        (np.ones((1, 2, 3, 4)), r"has shape \(1, 2, 3, 4\)"),
        (np.ones((2, 3), int), "holds int64"),
    ],
)
def test_what_is_no_features_has_its_reason(tmp_path, array, reason):
    with pytest.raises(ValueError, match=reason):
        saved(tmp_path, array).read(record("jump/a"))


def test_the_feature_size_is_that_of_most_videos(tmp_path):
    for number, size in enumerate((5, 4, 4)):
        saved(tmp_path, np.ones((2, size)), f"jump/{number}.npy")
    records = [record(f"jump/{number}") for number in range(4)]
    assert arrays(tmp_path).feature_size(records) == 4
    with pytest.raises(ValueError, match=r"none of the 1 videos has features; the first is jump/3: there is no file"):
        arrays(tmp_path).feature_size(records[3:])
