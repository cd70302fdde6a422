"""The kind `images`: a picture per frame in a folder per video, such as depth maps or rendered skeletons."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from mdmf.data.sources.source import PictureSource, files_key
from mdmf.files import content_size
from mdmf.registry import SOURCE_KINDS
from mdmf.structures import Preprocess, VideoRecord

if TYPE_CHECKING:
    import numpy as np

    from mdmf.data.views.image_views import ImageFolder
    from mdmf.data.views.view_plan import Footage, ViewPlan


class ImagesSource(PictureSource):
    """Pictures beside the frames: picture i stands for frame i."""

    kind: Literal["images"] = Field("images", description="a picture per frame, such as depth maps")
    folder: Path = Field(description="folder of the pictures: <video id without suffix>/00001.png")
    pattern: str = Field("*", description="which files of a video's folder are pictures, as in depth_*.png")
    scale: float | None = Field(None, gt=0, description="pixel value drawn as 255; default: 255, or 65535 of 16 bits")

    def check(self, name: str) -> None:
        """See whether the folder exists."""
        if not self.folder.is_dir():
            raise ValueError(f"{self.folder} is no folder; check the setting sources.{name}.folder")

    def contents(self, records: Sequence[VideoRecord]) -> dict[str, Any]:
        """How pictures are read, and which there are: those that were repaired are others."""
        sizes = ((record.video_id, content_size(self._place_of(record.video_id))) for record in records)
        return {"images": {"pattern": self.pattern, "scale": self.scale or 0.0}, "image_files": files_key(sizes)}

    def needed_frames(self, plan: ViewPlan) -> np.ndarray:
        """One frame of the video, whose size the random boxes go by."""
        return plan.first_if_random

    def n_frames_of(self, video_id: str) -> int:
        """As many as there are pictures."""
        return len(self._images(video_id))

    def views(self, footage: Footage, preprocess: Preprocess) -> np.ndarray:
        """The pictures, cropped as the frames are: (A, T, S, S, 3)."""
        from mdmf.data.views.image_views import image_views

        return image_views(footage, self._images(footage.video_id), preprocess)

    def _images(self, video_id: str) -> ImageFolder:
        from mdmf.data.views.image_views import ImageFolder

        return ImageFolder(self._place_of(video_id), pattern=self.pattern, scale=self.scale)

    def _place_of(self, video_id: str) -> Path:
        from mdmf.data.listing.disk import name_stem

        places = [self.folder / name_stem(video_id), self.folder / video_id]
        return next((place for place in places if place.is_dir()), places[0])


SOURCE_KINDS.add("images", ImagesSource, module=__name__)
