"""What a workspace makes of settings; the small data set is of folders of frames, its encoder the shipped tiny one."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small_videos import write_videos

from mdmf.config import check_settings
from mdmf.data.episodes import EpisodeRequest
from mdmf.data.features.store import StoreMismatch
from mdmf.encoders.prompts import load_prompts
from mdmf.engine.workspace import Workspace
from mdmf.nested import merged
from mdmf.resources import resource_folder
from mdmf.settings import Settings
from mdmf.structures import VideoRecord

AMFAR = {"name": "amfar"}
SPLIT_FILE = (
    "train: [move_left, move_right]\nval: [left_then_up, left_then_down]\ntest: [move_up_left, move_up_right]\n"
)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    write_videos(folder / "videos")
    (folder / "split.yaml").write_text(SPLIT_FILE)
    return folder


@pytest.fixture(scope="module")
def features(root) -> dict[str, dict[str, str]]:
    """Where both stores are, made once."""
    places = places_in(root)
    Workspace(settings(root, sources=places, model={"name": "amfar"}), progress=False).extract()
    return places


def settings(root: Path, *, data: dict | None = None, sources: dict | None = None, **sections: dict) -> Settings:
    values = {
        "data": {
            **{"name": "shapes", "root": str(root / "videos"), "class_split": str(root / "split.yaml")},
            **{"n_workers": 0},
            **(data or {}),
        },
        "sources": merged({"flow": {"short_side": 24, "clip": 6}}, sources or {}),
        "frames": {"n_frames": 3, "n_variants": 2},
        "encoder": {"library": "tiny", "model": "tiny_clip", "weights": "shipped", "device": "cpu"},
        "episode": {"n_way": 2},
        "training": {"device": "cpu"},
    }
    return check_settings(values | sections, source="test")


def workspace(
    root: Path, features: dict[str, dict[str, str]] | None = None, *, sources: dict | None = None, **sections
) -> Workspace:
    return Workspace(settings(root, sources=merged(features or {}, sources or {}), **sections), progress=False)


def places_in(folder: Path) -> dict[str, dict[str, str]]:
    return {source: {"store": str(folder / source)} for source in ("rgb", "flow")}


@pytest.mark.parametrize(
    ("model", "baselines", "sources"),
    [
        ({"name": "m2df"}, [], ("rgb",)),
        ({"name": "m2df"}, ["zero_shot", "otam"], ("rgb",)),
        ({"name": "m2df"}, ["flow_otam"], ("rgb", "flow")),
        ({"name": "m2df"}, ["late_otam"], ("rgb", "flow")),
        ({"name": "amfar"}, [], ("rgb", "flow")),
        ({"name": "amfar", "sources": ["flow"]}, [], ("flow",)),
        ({"name": "amfar", "sources": ["flow"]}, ["flow_otam"], ("flow",)),
        ({"name": "amfar", "sources": ["flow"]}, ["otam"], ("rgb", "flow")),
        ({"name": "amfar", "sources": ["flow", "rgb"]}, [], ("rgb", "flow")),
        ({"name": "amfar", "modalities": ["flow"]}, [], ("flow",)),
        ({"name": "late_fusion", "of": "otam"}, [], ("rgb", "flow")),
        ({"name": "m2df", "source": "flow"}, [], ("rgb", "flow")),
        ({"name": "flow_otam"}, [], ("flow",)),
        ({"name": "flow_otam"}, ["zero_shot"], ("rgb", "flow")),
    ],
)
def test_sources_are_those_that_the_model_and_its_baselines_look_at(root, model, baselines, sources):
    assert workspace(root, model=model, evaluation={"baselines": baselines}).sources == sources


@pytest.mark.parametrize(
    ("model", "baselines", "needed"),
    [
        ({"name": "m2df"}, [], True),
        ({"name": "amfar"}, [], False),
        ({"name": "otam"}, ["flow_otam"], False),
        ({"name": "amfar"}, ["zero_shot"], True),
        ({"name": "amfar", "text_weight": 0.2}, [], True),
        ({"name": "amfar", "text_weight": "val"}, [], True),
    ],
)
def test_text_is_made_where_something_looks_at_it(root, model, baselines, needed):
    made = workspace(root, model=model, evaluation={"baselines": baselines})
    assert made.needs_text == needed
    if not needed:
        assert made.class_text("test") is None


def test_text_at_test_needs_rgb_beside_a_model_of_flow(root, features):
    made = workspace(root, features, model={"name": "flow_otam", "text_weight": 0.3})
    assert made.sources == ("rgb", "flow")
    assert made.class_text("test").shape[0] == 2


class TestEncoder:
    def test_flow_is_encoded_as_the_frames_are(self, root):
        made = workspace(root)
        assert made.encoder("flow") is made.encoder("rgb")

    def test_it_is_loaded_once(self, root):
        made = workspace(root)
        assert made.encoder() is made.encoder("rgb")

    def test_unless_it_is_said_otherwise(self, root):
        encoder = {"library": "tiny", "model": "tiny_clip", "weights": "shipped", "device": "cpu"}
        made = workspace(root, encoder=encoder, sources={"flow": {"encoder": {"weights": "random"}}})
        assert made.encoder("flow") is made.encoder("flow")
        assert made.encoder("flow") is not made.encoder("rgb")
        assert made.encoder("flow").identity["weights"].startswith("random")
        assert not made.encoder("rgb").identity["weights"].startswith("random")

    def test_what_is_said_again_is_no_other_encoder(self, root):
        encoder = {"library": "tiny", "model": "tiny_clip", "weights": "shipped", "device": "cpu"}
        made = workspace(root, encoder=encoder, sources={"flow": {"encoder": {"weights": "shipped"}}})
        assert made.encoder("flow") is made.encoder("rgb")


class TestBanks:
    def test_a_model_gets_the_sizes_and_episodes_of_its_sources(self, root, features):
        made = workspace(root, features, model={"name": "amfar", "hidden_size": 8})
        bank = made.split("test", role="validation").bank("cpu")
        assert list(bank.sources) == ["rgb", "flow"]
        assert bank.n_videos == 4
        rows = made.split("test", role="validation").sampler(EpisodeRequest(2, 1, 1, 0)).batch(0, 3)
        episode = bank.episode(rows)
        assert made.model().eval()(episode).logits.shape == (3, 2, 2)
        assert episode.class_text is None
        assert made.split("train", role="training").bank("cpu").n_variants == 2

    def test_training_takes_complete_videos_and_the_test_any(self, root, tmp_path):
        """`move_left/0` and `move_up_left/0` have one frame, and no flow."""
        write_videos(tmp_path / "videos", one_frame=("move_left/0", "move_up_left/0"))
        (tmp_path / "split.yaml").write_text(SPLIT_FILE)
        places = places_in(tmp_path)
        made = workspace(tmp_path, places, model={"name": "amfar"})
        ids = made.video_ids
        training = made.split("train", role="training").bank("cpu")
        assert training.n_videos == 3
        assert training.presence(np.array([np.flatnonzero(ids == "move_left/1")[0]])) == {}
        bank = made.split("test", role="validation").bank("cpu")
        assert bank.n_videos == 4
        there = bank.presence(
            np.array([np.flatnonzero(ids == name)[0] for name in ("move_up_left/0", "move_up_left/1")])
        )
        assert {source: mask.tolist() for source, mask in there.items()} == {"flow": [False, True]}
        notes = made.notes("test")
        assert any(note.startswith("1 of 4 videos have no flow") for note in notes)
        assert not any("could not be read" in note for note in notes)
        with pytest.raises(ValueError, match="class 'move_left' of split 'train' has 1 usable videos"):
            made.split("train", role="training").sampler(EpisodeRequest(2, 1, 1, 0))
        assert any("have no flow" in note for note in notes)

    def test_a_baseline_of_flow_takes_no_video_from_the_training_of_a_model_of_frames(self, root, tmp_path):
        write_videos(tmp_path / "videos", one_frame=("move_left/0",))
        (tmp_path / "split.yaml").write_text(SPLIT_FILE)
        places = places_in(tmp_path)
        alone = workspace(tmp_path, places).split("train", role="training").bank("cpu").n_videos
        beside = workspace(tmp_path, places, evaluation={"baselines": ["flow_otam"]})
        assert beside.split("train", role="training").bank("cpu").n_videos == alone == 4


class TestCorruptedTest:
    def test_without_corruption_the_test_looks_at_the_features_of_training(self, root, features):
        made = workspace(root, features, model=AMFAR)
        assert all(made.test_readers[source] is made.stores.readers[source] for source in ("rgb", "flow"))

    def test_the_corruption_of_a_source_that_nobody_looks_at_does_nothing(self, root, features):
        made = workspace(root, features, model={"name": "otam"}, corrupt={"flow": "drop:1"})
        assert list(made.test_readers) == ["rgb"]
        assert made.test_readers["rgb"] is made.stores.readers["rgb"]

    def test_features_are_harmed_in_the_test_alone(self, root, features):
        made = workspace(root, features, model=AMFAR, corrupt={"rgb": "feature_noise:1", "flow": "missing:1"})
        plain = made.split("test", role="validation").bank("cpu").features_at(np.arange(4))
        bank = made.split("test", role="test").bank("cpu")
        harmed = bank.features_at(np.arange(4))
        assert not torch.allclose(harmed["rgb"], plain["rgb"], atol=1e-2)
        assert not harmed["flow"].any()
        rows = made.split("test", role="test").sampler(EpisodeRequest(2, 1, 1, 0)).batch(0, 5)
        expected = made.split("test", role="validation").sampler(EpisodeRequest(2, 1, 1, 0)).batch(0, 5)
        np.testing.assert_array_equal(rows.query_rows, expected.query_rows)
        assert {source: mask.any().item() for source, mask in bank.presence(rows.query_rows).items()} == {"flow": False}
        notes = made.notes("test")
        assert "rgb corrupted on purpose: feature_noise:1 (seed 0)" in notes
        assert "flow corrupted on purpose: missing:1 (seed 0)" in notes

    def test_corrupted_frames_are_those_of_the_test_split_in_stores_of_their_own(self, root, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        made = workspace(root, corrupt={"rgb": "noise:0.3"}, model={"name": "otam"})
        bank = made.split("test", role="test").bank("cpu")
        harmed = bank.features_at(np.arange(4))["rgb"]
        plain = made.split("test", role="validation").bank("cpu").features_at(np.arange(4))["rgb"]
        assert not torch.allclose(harmed, plain, atol=1e-1)
        rows = np.flatnonzero(np.isin(made.video_ids, [record.video_id for record in made.index.records][-4:]))
        assert bank.presence(rows) == {}  # every video of the split is there
        sizes = sorted(len(list(csv.open())) - 1 for csv in (tmp_path / "stores").glob("*/videos.csv"))
        assert sizes == [4, 12]

    @pytest.mark.parametrize(("harmed", "sound"), [("rgb", "flow"), ("flow", "rgb")])
    def test_stores_that_are_set_are_left_as_they_are(self, root, features, harmed, sound):
        """Those of sound frames are read from there, those of corrupted ones are made beside it."""
        made = workspace(root, features, model=AMFAR, corrupt={harmed: "blur:10"})
        files = [Path(place["store"]) / "features.npy" for place in features.values()]
        before = [file.read_bytes() for file in files]
        test = made.split("test", role="test").bank("cpu").features_at(np.arange(4))
        plain = made.split("test", role="validation").bank("cpu").features_at(np.arange(4))
        assert torch.equal(test[sound], plain[sound])
        assert not torch.allclose(test[harmed], plain[harmed], atol=1e-1)
        assert [file.read_bytes() for file in files] == before

    def test_corruption_without_strength_harms_nothing(self, root, tmp_path, monkeypatch):
        """A head has learned features of the training scale; only what is corrupted may differ."""
        monkeypatch.chdir(tmp_path)
        made = workspace(root, corrupt={"rgb": "noise:0"}, model={"name": "otam"})
        harmed = made.split("test", role="test").bank("cpu").features_at(np.arange(4))["rgb"]
        plain = made.split("test", role="validation").bank("cpu").features_at(np.arange(4))["rgb"]
        torch.testing.assert_close(harmed, plain, atol=1e-5, rtol=1e-5)

    def test_corrupted_frames_leave_the_other_source_as_it_is(self, root, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        made = workspace(root, corrupt={"rgb": "noise:0.3"}, model=AMFAR)
        harmed = made.split("test", role="test").bank("cpu").features_at(np.arange(4))["flow"]
        plain = made.split("test", role="validation").bank("cpu").features_at(np.arange(4))["flow"]
        torch.testing.assert_close(harmed, plain, atol=1e-5, rtol=1e-5)


class TestFingerprint:
    """A run is resumed on its own data alone."""

    def test_it_names_what_the_model_sees(self, root, features):
        plain = workspace(root, features, model={"name": "amfar"}).fingerprint
        assert plain == workspace(root, features, model={"name": "amfir"}).fingerprint
        assert plain != workspace(root, features, model={"name": "otam"}).fingerprint
        assert (
            plain
            != workspace(root, features, model={"name": "amfar"}, evaluation={"baselines": ["zero_shot"]}).fingerprint
        )

    def test_it_changes_with_the_flow(self, root, features, tmp_path):
        plain = workspace(root, features, model={"name": "amfar"})
        sources = {"flow": {"store": str(tmp_path / "flow"), "clip": 3}}
        changed = workspace(root, features, sources=sources, model={"name": "amfar"})
        assert changed.fingerprint != plain.fingerprint
        assert changed.stores.opened["rgb"].folder == plain.stores.opened["rgb"].folder
        only_rgb = {"name": "amfar", "sources": ["rgb"]}
        assert workspace(root, features, sources=sources, model=only_rgb).fingerprint == (
            workspace(root, features, model=only_rgb).fingerprint
        )

    def test_it_is_that_of_training_whatever_the_test_suffers(self, root, features):
        plain = workspace(root, features, model={"name": "amfar"}).fingerprint
        assert workspace(root, features, model={"name": "amfar"}, corrupt={"rgb": "drop:1"}).fingerprint == plain

    def test_a_baseline_of_flow_does_not_stop_a_resume(self, root, features):
        """`evaluation.baselines` may be changed by --resume: it decides nothing about training."""
        plain = workspace(root, features, model={"name": "m2df"}).fingerprint
        beside = workspace(root, features, model={"name": "m2df"}, evaluation={"baselines": ["flow_otam"]}).fingerprint
        assert beside == plain


def test_records_of_the_small_videos_are_those_of_the_index(root):
    """The tests above count on it."""
    index = workspace(root).index
    assert all(isinstance(record, VideoRecord) for record in index.records)
    assert {split: list(names) for split, names in index.classes.items()} == {
        **{
            "train": ["move_left", "move_right"],
            "val": ["left_then_up", "left_then_down"],
            "test": ["move_up_left", "move_up_right"],
        }
    }


def test_new_sentences_are_not_encoded_by_other_weights_than_the_frames(root, features, tmp_path, monkeypatch):
    prompts = tmp_path / "prompts.yaml"
    names = load_prompts(resource_folder("prompts") / "shapes.yaml").classes
    prompts.write_text(json.dumps({"classes": {name: ["a shape that moves up"] for name in names}}))
    made = workspace(root, features, data={"prompts": str(prompts)}, model={"name": "m2df"})
    encoder = made.encoder()
    replaced = SimpleNamespace(identity=encoder.identity | {"weights_sha256": "0" * 64}, logit_scale=1.0)
    with monkeypatch.context() as patch:
        patch.setattr(Workspace, "encoder", lambda _: replaced)
        with pytest.raises(StoreMismatch, match="weights_sha256"):
            _ = made.text
    assert set(made.text.features) == {name for names in made.index.classes.values() for name in names}
    np.testing.assert_allclose(float(made.text.logit_scale), encoder.logit_scale)
