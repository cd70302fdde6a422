from pathlib import Path

import numpy as np
import pytest

from mdmf.recognition.clip_listing import SupportListing
from mdmf.recognition.clip_store import BadClip, ClipFeatures
from mdmf.recognition.support import feature_scales, unused_source_notes, usable_clips


def clip(key: str = "key", *, sources: tuple[str, ...] = ("rgb",), frames: tuple[float, ...] = (1.0,)) -> ClipFeatures:
    """Frames of size 2 whose norms are given."""
    features = np.array([[norm, 0.0] for norm in frames], dtype=np.float16)[None]
    return ClipFeatures(key, dict.fromkeys(sources, features), {})


def listing(**clips: str) -> SupportListing:
    return SupportListing({name: tuple(Path(word) for word in words.split()) for name, words in clips.items()})


class TestUsableClips:
    def read(self, paths):
        bad = {"broken.mp4": BadClip("it is cut")}
        return [bad.get(path.name, clip(path.stem.rstrip("_"))) for path in paths]

    def test_bad_clips_and_copies_are_left_out_and_noted(self):
        usable, notes = usable_clips(listing(kick="a.mp4 a_.mp4 broken.mp4 a.mp4", jump="b.mp4"), self.read)
        keys = {name: [one.key for one in of_class] for name, of_class in usable.items()}
        assert keys == {"kick": ["a"], "jump": ["b"]}
        assert notes == [
            "LEFT OUT of kick: a_.mp4: it is the same clip as a.mp4",
            "LEFT OUT of kick: broken.mp4: it is cut",
            "LEFT OUT of kick: a.mp4: it is the same clip as a.mp4",
        ]

    def test_what_a_clip_lacks_is_noted_after_the_clips_that_are_left_out(self):
        still = ClipFeatures("a", clip().features, {"flow": "it has one frame"})
        _, notes = usable_clips(listing(kick="a.mp4", jump="b.mp4 c.mp4"), lambda _: [still, clip("b"), BadClip("cut")])
        assert notes == ["LEFT OUT of jump: c.mp4: cut", "a.mp4 of kick has no flow: it has one frame"]

    def test_one_clip_in_two_classes_is_refused(self):
        with pytest.raises(ValueError, match=r"a\.mp4 of class 'kick' and a_\.mp4 of class 'jump' are the same clip"):
            usable_clips(listing(kick="a.mp4", jump="a_.mp4"), self.read)

    def test_a_class_without_a_usable_clip_is_refused_with_the_reason(self):
        with pytest.raises(ValueError, match=r"no clip of class 'jump' can be used.*\n.*broken\.mp4: it is cut"):
            usable_clips(listing(kick="a.mp4", jump="broken.mp4"), self.read)


def test_the_scale_brings_the_mean_norm_of_the_clips_to_10_unless_the_model_was_trained_with_another():
    """A clip counts once, however many frames it has: (4 + (1 + 1) / 2 + 1) / 3 = 2."""
    clips = {"a": [clip(frames=(4,))], "b": [clip(frames=(1, 1)), clip(frames=(1,), sources=("rgb", "flow"))]}
    assert feature_scales(clips, ["rgb", "flow"], trained={}) == {"rgb": 5.0, "flow": 10.0}
    assert feature_scales(clips, ["rgb", "flow"], trained={"flow": 0.25}) == {"rgb": 5.0, "flow": 0.25}


def test_a_source_without_features_has_no_scale():
    with pytest.raises(ValueError, match="no support clip has features of flow"):
        feature_scales({"a": [clip()], "b": [clip()]}, ["rgb", "flow"], trained={})
    with pytest.raises(ValueError, match="the encoder of rgb gave nothing but zeros"):
        feature_scales({"a": [clip(frames=(0,))]}, ["rgb"], trained={})


def test_a_source_that_a_class_lacks_is_not_used():
    clips = {"a": [clip(sources=("rgb", "flow")), clip()], "b": [clip()]}
    notes = unused_source_notes(clips, ["rgb", "flow"], of_model=["rgb", "flow"])
    assert notes == ["flow is not looked at: no clip of 'b' has features of it"]
    with pytest.raises(ValueError, match="looks at flow, and no clip of 'b' has it"):
        unused_source_notes(clips, ["rgb", "flow"], of_model=["flow"])
