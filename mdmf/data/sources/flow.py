"""The kind `flow`: optical flow, computed from the video or read from disk, drawn as pictures and cut as frames are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from pydantic import Field, model_validator

from mdmf.data.sources.source import PictureSource, files_key
from mdmf.files import content_size
from mdmf.registry import SOURCE_KINDS
from mdmf.source_settings import SourceSettings
from mdmf.structures import Preprocess, VideoRecord

if TYPE_CHECKING:
    import numpy as np

    from mdmf.data.views.flow_files import FlowFolder
    from mdmf.data.views.view_plan import Footage, ViewPlan


class FlowSource(PictureSource):
    """Optical flow."""

    kind: Literal["flow"] = Field("flow", description="optical flow, drawn as pictures")
    method: Literal["dis", "farneback", "tvl1", "disk"] = Field("dis", description="who computes it; disk: read it")
    folder: Path | None = Field(None, description="folder of the flows, one folder per video (method: disk)")
    step: int = Field(1, ge=1, description="frames to the neighbour that a frame's flow points to")
    camera: Literal["keep", "median", "homography"] = Field(
        "keep", description="the camera's motion: kept or taken off"
    )
    clip: float = Field(20.0, gt=0, description="pixels; longer displacements are drawn as this long")
    drawing: Literal["wheel", "channels"] = Field("wheel", description="Middlebury colours, or x, y, magnitude")
    short_side: int = Field(256, ge=8, description="frames are shrunk to this shortest side first")
    disk_bound: float = Field(20.0, gt=0, description="pixels that 0 and 255 stand for in flow images on disk")

    @model_validator(mode="after")
    def _folder_goes_with_disk(self) -> FlowSource:
        if self.method == "disk" and self.folder is None:
            raise ValueError("method 'disk' needs folder, the folder of the flows")
        if self.method != "disk" and self.folder is not None:
            raise ValueError(f"folder is read with method=disk only, and method is {self.method!r}; set folder=null")
        return self

    @property
    def uses_frames(self) -> bool:
        """Whether it is computed."""
        return self.method != "disk"

    def check(self, name: str) -> None:
        """See whether OpenCV has the method, or the folder exists."""
        if self.folder is None:
            from mdmf.data.views.optical_flow import check_flow_method

            check_flow_method(self.method)
        elif not self.folder.is_dir():
            raise ValueError(f"{self.folder} is no folder; check the setting sources.{name}.folder")

    def contents(self, records: Sequence[VideoRecord]) -> dict[str, Any]:
        """How flow is computed and drawn, and which files it is read from: flow that was repaired is other flow."""
        rule = self.model_dump(exclude={*SourceSettings.model_fields, "folder"})
        if self.folder is None:
            return {"flow": rule}
        sizes = ((record.video_id, self._size_on_disk(record.video_id)) for record in records)
        return {"flow": rule, "flow_files": files_key(sizes)}

    @property
    def unused_contents(self) -> frozenset[str]:
        """What decides computed flow decides nothing of flow on disk, and the other way round."""
        return frozenset({"flow.disk_bound"} if self.uses_frames else {"flow.step", "flow.short_side"})

    def needed_frames(self, plan: ViewPlan) -> np.ndarray:
        """The two frames of each flow; of flow on disk one frame, whose size the random boxes go by."""
        if not self.uses_frames:
            return plan.first_if_random
        from mdmf.data.views.flow_views import frame_pairs

        return frame_pairs(plan, self.step).ravel()

    def n_frames_of(self, video_id: str) -> int:
        """One more than flows on disk."""
        return self._flow_folder(video_id).n_flows + 1

    def views(self, footage: Footage, preprocess: Preprocess) -> np.ndarray:
        """Pictures of flow: (A, T, S, S, 3)."""
        from mdmf.data.views.flow_views import computed_flow_views, disk_flow_views

        if self.uses_frames:
            return computed_flow_views(footage, self, preprocess)
        return disk_flow_views(footage, self._flow_folder(footage.video_id), self, preprocess)

    def _flow_folder(self, video_id: str) -> FlowFolder:
        from mdmf.data.views.flow_files import FlowFolder

        return FlowFolder(self._place_of(video_id), bound=self.disk_bound)

    def _size_on_disk(self, video_id: str) -> int:
        """Bytes of a video's flows; -1 where there are none."""
        try:
            return content_size(self._place_of(video_id))
        except ValueError:
            return -1

    def _place_of(self, video_id: str) -> Path:
        from mdmf.data.views.flow_files import find_flow_folder

        return find_flow_folder(cast(Path, self.folder), video_id)  # method 'disk' has a folder


SOURCE_KINDS.add("flow", FlowSource, module=__name__)
