from pathlib import Path

import numpy as np
import pytest
from fake_extraction import IDENTITY, FakeEncoder
from small_videos import write_videos

from mdmf.config import check_settings
from mdmf.data.features.store import StoreMismatch
from mdmf.data.features.stores import FeatureStores, requested_encoder
from mdmf.settings import Settings
from mdmf.structures import VideoRecord


def asked(**encoder) -> dict[str, str]:
    return requested_encoder(check_settings({"encoder": encoder}, source="test").encoder)


def test_random_weights_are_named_with_their_seed():
    assert "random (seed 3)" in asked(weights="random", seed=3)["requested"]


def test_a_local_file_is_named_by_its_content(tmp_path):
    path, moved = tmp_path / "w.safetensors", tmp_path / "other.safetensors"
    path.write_bytes(b"one")
    moved.write_bytes(b"one")
    first = asked(weights=str(path))
    assert first == asked(weights=str(moved))
    moved.write_bytes(b"two")
    assert first != asked(weights=str(moved))


def test_precision_matters_only_where_it_is_asked_for():
    assert "precision" not in asked()
    assert asked(precision="bfloat16")["precision"] == "bfloat16"


@pytest.mark.parametrize("change", [{"model": "ViT-L-14"}, {"weights": "laion2b"}, {"library": "transformers"}])
def test_another_encoder_is_another_request(change):
    assert asked(**change) != asked()


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
        "data": {"name": "small", "n_workers": 0, "flow": {"short_side": 24, "clip": 6}},
        "frames": {"n_frames": 3, "n_variants": 2},
        "encoder": {"library": "tiny", "model": "tiny_clip", "weights": "shipped"},
    }
    for section, changes in sections.items():
        values[section] |= changes
    values["corrupt"] = corrupt or {}
    return check_settings(values, source="test")


def encoder_of(source: str) -> FakeEncoder:
    return FakeEncoder(identity=IDENTITY | {"library": "tiny"})


def no_encoder(source: str) -> FakeEncoder:
    raise AssertionError(f"the encoder of {source} was loaded, and nothing is to be encoded")


def stores(chosen: Settings, records, sources=("rgb", "flow"), *, encoder=encoder_of, corruption="") -> FeatureStores:
    return FeatureStores(chosen, records, sources=sources, encoder=encoder, corruption=corruption, progress=False)


def folders(records, *, corruption: str = "", corrupt: dict | None = None, **sections) -> dict[str, Path]:
    made = stores(settings(corrupt=corrupt, **sections), records, corruption=corruption)
    return {source: made.folder(source) for source in ("rgb", "flow")}


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


class TestFolder:
    """A folder is named by all that decides its contents, and by nothing else."""

    def test_names(self, records):
        found = folders(records)
        assert found["rgb"].parent == found["flow"].parent == Path("stores")
        assert found["rgb"].name.startswith("small-")
        assert not found["rgb"].name.startswith("small-flow")
        assert found["flow"].name.startswith("small-flow-")
        assert folders(list(reversed(records))) == found

    @pytest.mark.parametrize(
        "change", [{"step": 2}, {"clip": 5}, {"drawing": "channels"}, {"method": "farneback"}, {"camera": "median"}]
    )
    def test_how_flow_is_made_names_the_flow_alone(self, records, change):
        plain, changed = folders(records), folders(records, data={"flow": {"short_side": 24, "clip": 6} | change})
        assert changed["rgb"] == plain["rgb"]
        assert changed["flow"] != plain["flow"]

    def test_another_encoder_of_flow_names_the_flow_alone(self, records):
        plain, changed = folders(records), folders(records, encoder={"flow": {"model": "another"}})
        assert changed["rgb"] == plain["rgb"]
        assert changed["flow"] != plain["flow"]

    def test_frames_and_encoder_name_both(self, records):
        plain = folders(records)
        for changed in (folders(records, frames={"n_frames": 4}), folders(records, encoder={"weights": "random"})):
            assert changed["rgb"] != plain["rgb"]
            assert changed["flow"] != plain["flow"]

    def test_other_videos_of_the_same_names_have_other_stores(self, records, place):
        others = write_videos(place / "videos", one_frame=("move_up_left/0",))
        assert [record.video_id for record in others] == [record.video_id for record in records]
        assert set(folders(others).values()).isdisjoint(folders(records).values())

    def test_other_flows_on_disk_have_another_store(self, records, place):
        def found() -> dict[str, Path]:
            return folders(records, data={"flow": {"method": "disk", "folder": str(place / "flows")}})

        (place / "flows").mkdir()
        without = found()
        flow = (place / "flows" / records[0].video_id).with_suffix(".npy")
        flow.parent.mkdir(parents=True)
        flow.write_bytes(b"1234")
        repaired = found()
        flow.write_bytes(b"123456")
        replaced = found()
        assert without["rgb"] == repaired["rgb"] == replaced["rgb"]
        assert len({without["flow"], repaired["flow"], replaced["flow"]}) == 3
        with pytest.raises(ValueError, match=r"is no folder; check the setting data\.flow\.folder"):
            folders(records, data={"flow": {"method": "disk", "folder": str(place / "nowhere")}})

    def test_a_folder_that_is_set_is_taken(self, records):
        found = folders(records, data={"store": "mine/a", "flow_store": "b"})
        assert found == {"rgb": Path("mine/a"), "flow": Path("b")}

    def test_corrupted_frames_never_go_into_a_store_of_sound_ones(self, records):
        plain, noisy = folders(records), folders(records, corruption="noise:0.1")
        stronger = folders(records, corruption="noise:0.2")
        for source in ("rgb", "flow"):
            assert len({plain[source], noisy[source], stronger[source]}) == 3
        own = folders(records, data={"store": "mine/a", "flow_store": "b"}, corruption="blur:2")
        assert own["rgb"].parent == Path("mine")
        assert own["rgb"].name != "a"
        assert own["flow"] != Path("b")

    def test_corrupt_seed_is_the_seed_of_noise_in_frames(self, records):
        first, second = (folders(records, corrupt={"seed": seed}, corruption="noise:0.1") for seed in (0, 1))
        assert first["rgb"] != second["rgb"]
        assert folders(records, corrupt={"seed": 1}) == folders(records)


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
        alone, both = settings(data={"flow_store": "alone"}), settings(data={"flow_store": "both"})
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
        chosen = settings(data={"store": "mine"})
        stores(chosen, records, ["rgb"]).extract()
        made = stores(chosen, records[-4:], ["rgb"], corruption="noise:0.5")
        assert made.readers["rgb"].n_variants == 1
        assert made.first.settings.corruption == "noise:0.5"
        assert made.first.table.video_id.tolist() == [record.video_id for record in records[-4:]]
        assert len(stores(chosen, records, ["rgb"], encoder=no_encoder).first) == 12  # the sound store is as it was

    def test_a_store_made_with_another_flow_is_refused(self, records):
        stores(settings(data={"flow_store": "flows"}), records).extract()
        changed = settings(data={"flow_store": "flows", "flow": {"short_side": 24, "clip": 5}})
        with pytest.raises(StoreMismatch, match=r"flow\.clip: the store has 6\.0, asked for 5\.0"):
            _ = stores(changed, records).opened
