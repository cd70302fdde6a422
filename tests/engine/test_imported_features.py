"""Features of another program, from their files to results: with no video and no encoder."""

from pathlib import Path

import numpy as np
import pytest

from mdmf.config import load_settings
from mdmf.data.episodes import EpisodeRequest
from mdmf.engine.evaluator import evaluate
from mdmf.engine.workspace import Workspace

# 5-way, 10,000 episodes, without training: published beside the data, ± 0.4.
KNOWN = {
    "prototype": {1: 48.9, 5: 68.8},
    "frame_wise": {1: 48.5, 5: 68.9},
    "otam": {1: 48.4, 5: 68.8},
    "bi_mhm": {1: 49.1, 5: 69.1},
}
CLASSES, N_VIDEOS, T, D = ("jump", "run", "sit"), 4, 8, 6


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """Features of a class lie around a direction of its own."""
    folder, rng = tmp_path_factory.mktemp("features"), np.random.default_rng(0)
    for number, name in enumerate(CLASSES):
        (folder / name).mkdir()
        for video in range(N_VIDEOS):
            np.save(folder / name / f"{video}.npy", np.eye(D)[number] + 0.1 * rng.normal(size=(T, D)))
    return folder


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch) -> Path:
    """An empty folder: stores without a name of their own are made in it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def workspace(root: Path, *overrides: str) -> Workspace:
    settings = load_settings("imported", [f"data.root={root}", "episode.n_way=3", "training.device=cpu", *overrides])
    return Workspace(settings, progress=False)


def accuracies(made: Workspace, *, n_shot: int, n_way: int, n_episodes: int) -> dict[str, float]:
    """Method -> percent."""
    bank = made.split("test", role="test").bank("cpu")
    sampler = made.split("test", role="test").sampler(EpisodeRequest(n_way, n_shot, 1, 0))
    models = {name: made.model(name) for name in made.methods}
    evaluation = evaluate(models, bank, sampler.batch(0, n_episodes), batch_episodes=100)
    labels = evaluation.episodes.query_labels
    return {name: 100 * float((answers.predictions == labels).mean()) for name, answers in evaluation.answers.items()}


def test_features_are_tested_without_video_and_encoder(root, monkeypatch):
    monkeypatch.setattr(Workspace, "encoder", lambda *_: pytest.fail("an encoder was asked for"))
    made = workspace(root)
    assert accuracies(made, n_shot=1, n_way=3, n_episodes=20)["otam"] > 95
    assert made.notes("test") == ["features of rgb were made by another program"]
    assert workspace(root, "sources.rgb.made_by=DINOv2").notes("test") == ["features of rgb were made by DINOv2"]
    store = made.stores.first
    assert (store.n_frames, store.feature_size, store.settings.encoder) == (T, D, {})


def test_features_that_were_made_again_have_another_store(root, tmp_path):
    first = workspace(root).stores.recipes["rgb"].folder
    assert workspace(root).stores.recipes["rgb"].folder == first
    assert workspace(root, "data.decoder=pyav", "frames.flip=true").stores.recipes["rgb"].folder == first
    path = root / "jump" / "0.npy"
    array = np.load(path)
    np.save(path, array + 1)
    assert workspace(root).stores.recipes["rgb"].folder != first
    np.save(path, array)


def test_a_method_that_reads_text_says_what_is_missing(root, tmp_path):
    with pytest.raises(ValueError, match=r"zero_shot reads the text of the classes, and source 'rgb' has no encoder"):
        _ = workspace(root, "model.name=zero_shot").sources
    np.savez(tmp_path / "text.npz", **{name: np.eye(D)[number] for number, name in enumerate(CLASSES)})
    made = workspace(root, "model.name=zero_shot", f"data.class_text={tmp_path / 'text.npz'}")
    assert accuracies(made, n_shot=1, n_way=3, n_episodes=20)["zero_shot"] > 95
    np.savez(tmp_path / "small.npz", **{name: np.ones(D - 1) for name in CLASSES})
    with pytest.raises(ValueError, match=rf"vectors of size {D - 1}, and the features of 'rgb' have size {D}"):
        _ = workspace(root, "model.name=zero_shot", f"data.class_text={tmp_path / 'small.npz'}").text


def test_imported_features_stand_beside_those_of_frames(root, tmp_path):
    """A second source, of the same videos, under a name of its own."""
    made = workspace(root, "sources.dino.kind=imported", f"sources.dino.folder={root}", "model.source=dino")
    assert made.sources == ("rgb", "dino")  # the baselines look at rgb
    readers = made.stores.readers
    np.testing.assert_array_equal(*(reader.read(np.arange(4), 0) for reader in readers.values()))


def test_known_numbers_of_real_features(shared_data):
    """At 2,000 episodes, not 10,000: ± 0.9."""
    made = workspace(shared_data / "features" / "tbad8")
    for n_shot in (1, 5):
        results = accuracies(made, n_shot=n_shot, n_way=5, n_episodes=2000)
        assert results == pytest.approx({name: known[n_shot] for name, known in KNOWN.items()}, abs=1.2)
