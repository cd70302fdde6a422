"""What becomes of clips that cannot be encoded, and who decodes; the rest is tested through the recognizer."""

from pathlib import Path

import numpy as np
import pytest
import torch
from fake_extraction import FakeEncoder
from PIL import Image

from mdmf.config import check_settings
from mdmf.recognition import clip_store
from mdmf.recognition.clip_store import BadClip, ClipFeatures, ClipStore
from mdmf.recognition.windows import WindowRule


def store(folder: Path, encoder, *, n_workers: int | None = None) -> ClipStore:
    values = {"frames": {"n_frames": 2}, "encoder": {"batch_frames": 3}, "data": {"n_workers": n_workers}}
    settings = check_settings(values, source="test")
    return ClipStore(folder, settings, sources=["rgb"], encoder=encoder)


def clip(folder: Path, grey: int) -> Path:
    folder.mkdir(parents=True)
    for number in range(3):
        Image.fromarray(np.full((8, 8, 3), grey, np.uint8)).save(folder / f"{number}.png")
    return folder


@pytest.mark.parametrize("grey", [0, 1], ids=["not finite", "too large for float16"])
def test_features_that_are_no_numbers_make_a_bad_clip_and_are_not_kept(tmp_path, grey):
    class Overflowing(FakeEncoder):
        def encode_images(self, frames):
            features = super().encode_images(frames)
            return torch.where(features == 1e5, torch.tensor(1e6), features)

    encoder, bad = Overflowing(), clip(tmp_path / "bad", grey)
    clips = store(tmp_path / "store", lambda source: encoder)
    good, broken = clips.clips([clip(tmp_path / "good", 99), bad])
    assert isinstance(good, ClipFeatures)
    assert good.features["rgb"].shape == (1, 2, 6)
    assert broken == BadClip("the encoder's features of it are not finite")
    windowed = clips.windows(bad, WindowRule.parse("2f"))
    assert windowed == BadClip("the encoder's features of it are not finite")
    assert len(list((tmp_path / "store").rglob("*.safetensors"))) == 1


def test_an_encoder_that_cannot_be_loaded_is_no_fault_of_the_clip(tmp_path):
    def broken(source: str):
        raise ValueError("no such weights")

    path = clip(tmp_path / "good", 99)
    clips = store(tmp_path / "store", broken)
    with pytest.raises(ValueError, match="no such weights"):
        clips.clips([path])
    with pytest.raises(ValueError, match="no such weights"):
        clips.windows(path, WindowRule.parse("2f"))


def test_a_bad_clip_loads_no_encoder_once_one_was_loaded(tmp_path):
    encoder = FakeEncoder()
    store(tmp_path / "store", lambda source: encoder).clips([clip(tmp_path / "good", 99)])

    def refuse(source: str):
        raise AssertionError("an encoder was asked for")

    (tmp_path / "text.mp4").write_text("no video")
    (found,) = store(tmp_path / "store", refuse).clips([tmp_path / "text.mp4"])
    assert isinstance(found, BadClip)
    assert "no video file" in found.reason
    (gone,) = store(tmp_path / "store", refuse).clips([tmp_path / "gone.mp4"])
    assert isinstance(gone, BadClip)


def test_many_clips_are_decoded_in_processes_of_their_own_if_they_are_asked_for(tmp_path, monkeypatch):
    paths = [clip(tmp_path / f"{grey}", grey) for grey in (9, 50, 99, 150)]
    paths.insert(2, tmp_path / "text.mp4")
    paths[2].write_text("no video")
    asked = []
    real = clip_store.DecodePool
    monkeypatch.setattr(
        clip_store, "DecodePool", lambda load, *, n_workers: asked.append(n_workers) or real(load, n_workers=n_workers)
    )
    monkeypatch.setattr(clip_store, "MIN_VIDEOS_FOR_WORKERS", 5)
    encoder = FakeEncoder()
    here = store(tmp_path / "here", lambda source: encoder).clips(paths)
    there = store(tmp_path / "there", lambda source: encoder, n_workers=2).clips(paths)
    store(tmp_path / "few", lambda source: encoder, n_workers=2).clips(paths[:4])
    assert asked == [0, 2, 0]
    assert isinstance(here[2], BadClip)
    assert here[2] == there[2]
    for one, other in zip(here[:2] + here[3:], there[:2] + there[3:], strict=True):
        assert isinstance(one, ClipFeatures)
        assert one.key == other.key
        np.testing.assert_array_equal(one.features["rgb"], other.features["rgb"])
    assert len({part.features["rgb"].tobytes() for part in here if isinstance(part, ClipFeatures)}) == 4
