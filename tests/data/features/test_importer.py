"""Features of another program in a feature store: which rows stand for a video, and which videos are bad."""

from pathlib import Path

import numpy as np
import pytest
from fake_extraction import fake_settings

from mdmf.data.features.builder import StoreBuilder
from mdmf.data.features.importer import import_features
from mdmf.data.features.store import FeatureStore
from mdmf.data.sources.imported import ImportedSource
from mdmf.structures import VideoRecord

D = 4


def records_of(names: list[str]) -> list[VideoRecord]:
    return [VideoRecord(f"jump/{name}", Path("nowhere"), "jump", "test") for name in names]


def imported(folder: Path, arrays: dict[str, np.ndarray], **rule) -> FeatureStore:
    """The store of these arrays, T = 3."""
    (folder / "arrays" / "jump").mkdir(parents=True)
    for name, array in arrays.items():
        np.save(folder / "arrays" / "jump" / f"{name}.npy", array)
    settings = fake_settings(source="dino", encoder={}, preprocess=None, feature_size=D, **{"n_variants": 1} | rule)
    records = records_of([*arrays, "absent"])
    store = StoreBuilder.create_or_open(folder / "store", settings=settings, records=records)
    source = ImportedSource(folder=folder / "arrays")
    summary = import_features(records, {"dino": store}, {"dino": source}, progress=False)["dino"]
    assert summary.n_ok + summary.n_bad == len(records)
    return FeatureStore.open(folder / "store")


def rows_of(store: FeatureStore, video: int, variant: int = 0) -> list[float]:
    return store.read(np.array(video), variant)[:, 0].tolist()


def numbered(n: int) -> np.ndarray:
    """Row i is i + 1 in every place."""
    return np.repeat(np.arange(1, n + 1, dtype=np.float32)[:, None], D, axis=1)


def test_rows_are_chosen_as_frames_are(tmp_path):
    store = imported(tmp_path, {"same": numbered(3), "long": numbered(9), "short": numbered(2), "one": numbered(1)[0]})
    assert rows_of(store, 0) == [1, 2, 3]
    assert rows_of(store, 1) == [2, 5, 8]  # the centres of three segments
    assert rows_of(store, 2) == [1, 2, 2]
    assert rows_of(store, 3) == [1, 1, 1]
    assert store.table.n_frames.tolist() == [3, 9, 2, 1, 0]


def test_as_many_rows_as_frames_are_taken_as_they_are_whatever_the_rule(tmp_path):
    store = imported(tmp_path, {"same": numbered(3)}, frame_rule="linspace_inner", n_variants=4)
    assert [rows_of(store, 0, variant) for variant in range(4)] == [[1, 2, 3]] * 4


def test_random_variants_take_other_rows_of_the_same_segments(tmp_path):
    store = imported(tmp_path, {"long": numbered(30)}, n_variants=5)
    variants = np.array([rows_of(store, 0, variant) for variant in range(5)]) - 1
    assert variants[0].tolist() == [5, 15, 25]
    assert (variants // 10 == np.arange(3)).all()
    assert len({tuple(variant) for variant in variants.tolist()}) > 3


def test_short_videos_may_be_refused(tmp_path):
    store = imported(tmp_path, {"same": numbered(3), "short": numbered(2)}, short="refuse")
    assert "2 frames, fewer than the T = 3" in store.table.reason[1]


def test_a_bad_array_is_a_bad_video(tmp_path):
    arrays = {"good": numbered(3), "nan": np.full((3, D), np.nan), "wide": np.ones((3, D + 1), np.float32)}
    store = imported(tmp_path, arrays)
    assert store.ok.tolist() == [True, False, False, False]
    assert "NaN or infinite" in store.table.reason[1]
    assert store.table.reason[2] == f"its features have size {D + 1}, those of most videos {D}"
    assert store.table.reason[3].startswith("there is no file ")


def test_features_are_scaled_to_norm_10_as_any_other(tmp_path):
    store = imported(tmp_path, {"a": np.full((3, D), 2.0), "b": np.full((3, D), 4.0)})
    assert store.feature_scale == pytest.approx(10 / 6)  # norms 4 and 8


def test_what_another_call_has_imported_is_not_read_again(tmp_path):
    imported(tmp_path, {"a": numbered(3)})
    before = (tmp_path / "store" / "features.npy").read_bytes()
    settings = FeatureStore.open(tmp_path / "store").settings
    records = records_of(["a", "absent"])
    store = StoreBuilder.create_or_open(tmp_path / "store", settings=settings, records=records)
    source = ImportedSource(folder=tmp_path / "gone")
    summary = import_features(records, {"dino": store}, {"dino": source}, progress=False)["dino"]
    assert (summary.n_ok, summary.n_bad, summary.n_reused, summary.n_frames) == (1, 1, 2, 0)
    assert (tmp_path / "store" / "features.npy").read_bytes() == before
