"""A feature store is named by all that decides its contents, and by nothing else."""

from pathlib import Path

import pytest
from small_videos import write_videos

from mdmf.config import check_settings
from mdmf.engine.recipes import requested_encoder, store_recipes
from mdmf.nested import merged
from mdmf.settings import Settings
from mdmf.structures import VideoRecord

BOTH = ("rgb", "flow")


@pytest.fixture(scope="module")
def records(tmp_path_factory) -> list[VideoRecord]:
    return write_videos(tmp_path_factory.mktemp("videos") / "all")


def settings(**sections) -> Settings:
    values = {
        "data": {"name": "small"},
        "sources": {"flow": {"short_side": 24, "clip": 6}},
        "frames": {"n_frames": 3, "n_variants": 2},
        "encoder": {"library": "tiny", "model": "tiny_clip", "weights": "shipped"},
    }
    return check_settings(merged(values, sections), source="test")


def folders(records, names=BOTH, *, corruption: str = "", **sections) -> dict[str, Path]:
    recipes = store_recipes(settings(**sections), records, names, corruption=corruption)
    return {name: recipe.folder for name, recipe in recipes.items()}


def request(**encoder) -> dict[str, str]:
    return requested_encoder(check_settings({"encoder": encoder}, source="test").encoder)


def test_random_weights_are_named_with_their_seed():
    assert "random (seed 3)" in request(weights="random", seed=3)["requested"]


def test_a_local_file_is_named_by_its_content(tmp_path):
    path, moved = tmp_path / "w.safetensors", tmp_path / "other.safetensors"
    path.write_bytes(b"one")
    moved.write_bytes(b"one")
    first = request(weights=str(path))
    assert first == request(weights=str(moved))
    moved.write_bytes(b"two")
    assert first != request(weights=str(moved))


def test_precision_matters_only_where_it_is_asked_for():
    assert "precision" not in request()
    assert request(precision="bfloat16")["precision"] == "bfloat16"


@pytest.mark.parametrize("change", [{"model": "ViT-L-14"}, {"weights": "laion2b"}, {"library": "transformers"}])
def test_another_encoder_is_another_request(change):
    assert request(**change) != request()


def test_names(records):
    found = folders(records)
    assert found["rgb"].parent == found["flow"].parent == Path("stores")
    assert found["rgb"].name.startswith("small-")
    assert not found["rgb"].name.startswith("small-flow")
    assert found["flow"].name.startswith("small-flow-")
    assert folders(list(reversed(records))) == found


@pytest.mark.parametrize(
    "change", [{"step": 2}, {"clip": 5}, {"drawing": "channels"}, {"method": "farneback"}, {"camera": "median"}]
)
def test_how_flow_is_made_names_the_flow_alone(records, change):
    plain, changed = folders(records), folders(records, sources={"flow": change})
    assert changed["rgb"] == plain["rgb"]
    assert changed["flow"] != plain["flow"]


def test_another_encoder_of_flow_names_the_flow_alone(records):
    plain, changed = folders(records), folders(records, sources={"flow": {"encoder": {"model": "another"}}})
    assert changed["rgb"] == plain["rgb"]
    assert changed["flow"] != plain["flow"]


def test_frames_and_encoder_name_both(records):
    plain = folders(records)
    for changed in (folders(records, frames={"n_frames": 4}), folders(records, encoder={"weights": "random"})):
        assert changed["rgb"] != plain["rgb"]
        assert changed["flow"] != plain["flow"]


def test_other_videos_of_the_same_names_have_other_stores(records, tmp_path):
    others = write_videos(tmp_path / "videos", one_frame=("move_up_left/0",))
    assert [record.video_id for record in others] == [record.video_id for record in records]
    assert set(folders(others).values()).isdisjoint(folders(records).values())


def test_other_flows_on_disk_have_another_store(records, tmp_path):
    def found() -> dict[str, Path]:
        return folders(records, sources={"flow": {"method": "disk", "folder": str(tmp_path / "flows")}})

    (tmp_path / "flows").mkdir()
    without = found()
    flow = (tmp_path / "flows" / records[0].video_id).with_suffix(".npy")
    flow.parent.mkdir(parents=True)
    flow.write_bytes(b"1234")
    repaired = found()
    flow.write_bytes(b"123456")
    replaced = found()
    assert without["rgb"] == repaired["rgb"] == replaced["rgb"]
    assert len({without["flow"], repaired["flow"], replaced["flow"]}) == 3
    with pytest.raises(ValueError, match=r"is no folder; check the setting sources\.flow\.folder"):
        folders(records, sources={"flow": {"method": "disk", "folder": str(tmp_path / "nowhere")}})


def test_a_folder_that_is_set_is_taken(records):
    found = folders(records, sources={"rgb": {"store": "mine/a"}, "flow": {"store": "b"}})
    assert found == {"rgb": Path("mine/a"), "flow": Path("b")}


def test_corrupted_frames_never_go_into_a_store_of_sound_ones(records):
    plain, noisy = folders(records), folders(records, corruption="noise:0.1")
    stronger = folders(records, corruption="noise:0.2")
    for source in ("rgb", "flow"):
        assert len({plain[source], noisy[source], stronger[source]}) == 3
    own = folders(records, sources={"rgb": {"store": "mine/a"}, "flow": {"store": "b"}}, corruption="blur:2")
    assert own["rgb"].parent == Path("mine")
    assert own["rgb"].name != "a"
    assert own["flow"] != Path("b")


def test_corrupt_seed_is_the_seed_of_noise_in_frames(records):
    first, second = (folders(records, corrupt={"seed": seed}, corruption="noise:0.1") for seed in (0, 1))
    assert first["rgb"] != second["rgb"]
    assert folders(records, corrupt={"seed": 1}) == folders(records)


def test_any_source_but_the_default_one_is_named_in_its_folder(records):
    sources = {"still": {"kind": "frames", "encoder": {"weights": "random"}}}
    names = {name: folder.name for name, folder in folders(records, ["still", "rgb"], sources=sources).items()}
    assert names["still"].startswith("small-still-")
    assert len(names["rgb"].split("-")) == 2


def test_a_source_that_is_not_declared_is_refused(records):
    with pytest.raises(ValueError, match=r"no source 'depth' is declared; the sources are rgb, flow; declare it"):
        store_recipes(settings(), records, ["depth"])
