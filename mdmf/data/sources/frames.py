"""The kind `frames`: the video's own frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from mdmf.data.sources.source import PictureSource
from mdmf.registry import SOURCE_KINDS
from mdmf.structures import Preprocess

if TYPE_CHECKING:
    import numpy as np

    from mdmf.data.views.view_plan import Footage, ViewPlan


class FramesSource(PictureSource):
    """The frames of the video."""

    kind: Literal["frames"] = Field("frames", description="the frames of the video")

    @property
    def uses_frames(self) -> bool:
        """It is the frames."""
        return True

    def needed_frames(self, plan: ViewPlan) -> np.ndarray:
        """The frames of the views."""
        return plan.numbers.ravel()

    def views(self, footage: Footage, preprocess: Preprocess) -> np.ndarray:
        """The frames, cropped: (A, T, S, S, 3)."""
        from mdmf.data.views.preprocess import cut_views

        frames, plan = footage.frames, footage.plan
        places = footage.numbers.searchsorted(plan.numbers)  # (A, T)
        return cut_views(frames, places, plan.crops(frames.shape[1], frames.shape[2], preprocess), preprocess)


SOURCE_KINDS.add("frames", FramesSource, module=__name__)
