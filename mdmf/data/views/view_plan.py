"""Which frames, and which part of them, the views of a video show: the same for all its sources."""

from __future__ import annotations

import copy
import hashlib
from dataclasses import dataclass

import numpy as np

from mdmf.data.views.frame_choice import choose_frames, jitter_frames
from mdmf.data.views.preprocess import CropBox, draw_box
from mdmf.structures import Preprocess, ViewRule


@dataclass(frozen=True, eq=False)
class ViewPlan:
    """All that is chosen for the views of a video before a pixel of it is known.

    Attributes:
        n_available: frames of the video.
        numbers: (A, T) frame numbers; row 0 is the test view.
        generators: one for each of views 1…, after it drew the frame numbers.
        crop_scale_min: smallest side of a random square, as a part of the shortest side.
        flip: mirror half of the random views.
    """

    n_available: int
    numbers: np.ndarray
    generators: tuple[np.random.Generator, ...] = ()
    crop_scale_min: float = 1.0
    flip: bool = False

    @property
    def first_if_random(self) -> np.ndarray:
        """(1,) the number of the first frame, whose size random boxes go by; (0,) for the test view alone."""
        return self.numbers[0, : 1 if self.generators else 0]

    def crops(self, height: int, width: int, preprocess: Preprocess) -> list[tuple[CropBox, bool]]:
        """The box of each of views 1…, and whether it is mirrored; however often and for whatever source it is asked.

        Args:
            height: of the video's frames, of which the boxes are fractions.
            width: of the same.
        """
        crops = []
        for after_numbers in self.generators:
            rng = copy.deepcopy(after_numbers)
            box = draw_box(height, width, preprocess, scale_min=self.crop_scale_min, rng=rng)
            crops.append((box, self.flip and bool(rng.random() < 0.5)))
        return crops


@dataclass(frozen=True, eq=False)
class Footage:
    """What a source is given of one video.

    Attributes:
        video_id: the same on every machine.
        plan: the views to be made.
        numbers: (n,) ascending, the frames that were read: those of `needed_frames`, or none where that failed.
        frames: (n, H, W, 3) uint8, RGB.
    """

    video_id: str
    plan: ViewPlan
    numbers: np.ndarray
    frames: np.ndarray

    @property
    def frame_size(self) -> tuple[int, int] | None:
        """Height and width of the video's frames; None where none was read."""
        return (self.frames.shape[1], self.frames.shape[2]) if len(self.frames) else None


def plan_views(rule: ViewRule, n_available: int, video_id: str) -> ViewPlan:
    """The views of a video of `n_available` frames; `video_id` decides the random ones, the same on every machine.

    Raises:
        ValueError: for a video without frames, an unknown frame rule, or a short video under `refuse`.
    """
    generators = tuple(_generator(rule.seed, video_id, variant) for variant in range(1, rule.n_variants))
    test_numbers = choose_frames(n_available, rule.n_frames, rule=rule.frame_rule, short=rule.short)
    numbers = [test_numbers]
    for rng in generators:
        numbers.append(jitter_frames(n_available, rule.n_frames, rng=rng) if rule.jitter else test_numbers)
    return ViewPlan(n_available, np.stack(numbers), generators, rule.crop_scale_min, rule.flip)


def _generator(seed: int, video_id: str, variant: int) -> np.random.Generator:
    """Random numbers that depend on these three alone, on every machine and in every process."""
    digest = hashlib.sha256(f"{seed}\n{variant}\n{video_id}".encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))
