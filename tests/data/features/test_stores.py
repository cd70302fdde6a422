from pathlib import Path

import numpy as np
import pytest
from fake_extraction import IDENTITY, FakeEncoder
from small_videos import write_videos

from mdmf.config import check_settings
from mdmf.data.features.store import StoreMismatch
from mdmf.data.features.stores import FeatureStores
from mdmf.engine.recipes import extraction_options, store_recipes
from mdmf.nested import merged
from mdmf.settings import Settings
from mdmf.structures import VideoRecord


@pytest.fixture(scope="module")
def records(tmp_path_factory) -> list[VideoRecord]:
    return write_videos(tmp_path_factory.mktemp("videos") / "all")


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch) -> Path:
    """An empty folder: stores without a name of their own are made in it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def settings(*, corrupt: dict | None = None, **sections: dict) -> Settings:
    values = {
        "data": {"name": "small", "n_workers": 0},
        "sources": {"flow": {"short_side": 24, "clip": 6}},
        "frames": {"n_frames": 3, "n_variants": 2},
        "encoder": {"library": "tiny", "model": "tiny_clip", "weights": "shipped"},
    }
    for section, changes in sections.items():
        values[section] = merged(values[section], changes)
    values["corrupt"] = corrupt or {}
    return check_settings(values, source="test")


def encoder_of(source: str) -> FakeEncoder:
    return FakeEncoder(identity=IDENTITY | {"library": "tiny"})


def no_encoder(source: str) -> FakeEncoder:
    raise AssertionError(f"the encoder of {source} was loaded, and nothing is to be encoded")


def stores(chosen: Settings, records, sources=("rgb", "flow"), *, encoder=encoder_of, corruption="") -> FeatureStores:
    recipes = store_recipes(chosen, records, sources, corruption=corruption)
    options = extraction_options(chosen, progress=False)
    return FeatureStores(recipes, records, encoder=encoder, options=options)


def features(made: FeatureStores, source: str) -> dict[str, np.ndarray]:
    """video id -> (A, T, D), scaled, of the videos that have them."""
    reader, video_ids = made.readers[source], made.first.table.video_id
    variants = np.arange(reader.n_variants)
    return {
        video_ids[row]: reader.read(np.full_like(variants, row), variants) * reader.feature_scale
        for row in np.flatnonzero(reader.ok)
    }


def assert_same_features(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> None:
    assert first.keys() == second.keys()
    assert first
    for video_id in first:
        np.testing.assert_array_equal(first[video_id], second[video_id])


class TestFeatures:
    def test_both_sources_of_each_video_are_extracted_once(self, records):
        made = stores(settings(), records)
        summary = made.extract()
        assert {source: one.n_ok for source, one in summary.sources.items()} == {"rgb": 12, "flow": 12}
        again = stores(settings(), records, encoder=no_encoder)
        for source in ("rgb", "flow"):
            assert again.readers[source] is again.opened[source]  # nothing stands between where nothing has to
            assert_same_features(features(made, source), features(again, source))
        assert not np.array_equal(features(made, "rgb")["move_up_left/0"], features(made, "flow")["move_up_left/0"])

    def test_one_source_alone_is_as_beside_the_other(self, records):
        alone, both = settings(sources={"flow": {"store": "alone"}}), settings(sources={"flow": {"store": "both"}})
        first, second = stores(alone, records, ["flow"]), stores(both, records)
        assert_same_features(features(first, "flow"), features(second, "flow"))

    def test_a_flow_store_in_another_order_gives_the_same_features_of_each_video(self, records):
        chosen = settings()
        turned = stores(chosen, list(reversed(records)), ["flow"])
        expected = features(turned, "flow")
        made = stores(chosen, records)
        assert made.first.table.video_id.tolist() == [record.video_id for record in records]
        assert made.opened["flow"].table.video_id.tolist() == [record.video_id for record in reversed(records)]
        assert_same_features(features(made, "flow"), expected)

    def test_a_bad_video_is_found_in_any_order(self, place):
        records = write_videos(place / "videos", one_frame=("left_then_up/1",))
        stores(settings(), list(reversed(records)), ["flow"]).extract()
        made = stores(settings(), records)
        lacking = np.array([record.video_id == "left_then_up/1" for record in records])
        np.testing.assert_array_equal(~made.readers["flow"].ok, lacking)
        assert made.readers["rgb"].ok.all()

    def test_corrupted_frames_are_encoded_in_the_test_view_alone(self, records):
        chosen = settings(sources={"rgb": {"store": "mine"}})
        stores(chosen, records, ["rgb"]).extract()
        made = stores(chosen, records[-4:], ["rgb"], corruption="noise:0.5")
        assert made.readers["rgb"].n_variants == 1
        assert made.first.settings.corruption == "noise:0.5"
        assert made.first.table.video_id.tolist() == [record.video_id for record in records[-4:]]
        assert len(stores(chosen, records, ["rgb"], encoder=no_encoder).first) == 12  # the sound store is as it was

    def test_a_store_made_with_another_flow_is_refused(self, records):
        stores(settings(sources={"flow": {"store": "flows"}}), records).extract()
        changed = settings(sources={"flow": {"store": "flows", "clip": 5}})
        with pytest.raises(StoreMismatch, match=r"flow\.clip: the store has 6\.0, asked for 5\.0"):
            _ = stores(changed, records).opened
