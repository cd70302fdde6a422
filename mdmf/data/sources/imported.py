"""The kind `imported`: features that another program wrote to disk, such as DINOv2, VideoMAE or I3D; no encoder runs.

A video has one array of floats: (n, D) with a row per frame or clip, (n, P, D) with P tokens per frame, or (D,), which
counts as (1, D). The view rule chooses T of the n rows as it chooses the frames of a video: with `frames.rule=uniform`
the centres of T equal segments, and rows are repeated where n < T. Where n = T, all rows are taken as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from mdmf.data.sources.source import FeatureSource, files_key
from mdmf.files import content_sample
from mdmf.registry import SOURCE_KINDS
from mdmf.source_settings import EncoderOverrides
from mdmf.structures import VideoRecord

if TYPE_CHECKING:
    from mdmf.data.features.video_arrays import VideoArrays


class ImportedSource(FeatureSource):
    """Features made by another program.

    Without `folder` and `files` they are in the files that the listing `data.kind=imported` names.
    """

    kind: Literal["imported"] = Field("imported", description="features made by another program")
    folder: Path | None = Field(None, description="folder of the arrays: <video id without suffix>.npy")
    files: tuple[Path, ...] = Field((), description="safetensors or HDF5 files; key: the video id without suffix")
    tokens: Literal["first", "mean"] | None = Field(None, description="what stands for a frame of an array (n, P, D)")
    made_by: str = Field("", description="program and weights that made them, for the notes of a result")

    @model_validator(mode="after")
    def _one_place_and_no_encoder(self) -> ImportedSource:
        if self.folder is not None and self.files:
            raise ValueError("give folder or files, not both")
        if self.encoder != EncoderOverrides():
            raise ValueError("imported features have no encoder; remove the setting encoder")
        return self

    @property
    def origin(self) -> str:
        """The program that the settings name."""
        return self.made_by or "another program"

    def check(self, name: str) -> None:
        """See whether the folder or the files exist."""
        if self.folder is not None and not self.folder.is_dir():
            raise ValueError(f"{self.folder} is no folder; check the setting sources.{name}.folder")
        for file in self.files:
            if not file.is_file():
                raise ValueError(f"{file} is no file; check the setting sources.{name}.files")

    def contents(self, records: Sequence[VideoRecord]) -> dict[str, Any]:
        """Which files there are, known by samples of their content: features made again often have the same sizes."""
        with self.open() as arrays:
            places = {record.video_id: arrays.place(record)[0] for record in records}
        samples = {path: content_sample(path) for path in set(places.values())}
        files = {
            "n_files": len(samples),
            "names": ", ".join(sorted({path.name for path in samples if path.suffix != ".npy"})),
            "samples": files_key((video_id, samples[path]) for video_id, path in places.items()),
        }
        return {"imported": {"tokens": self.tokens or "", "made_by": self.made_by}, "feature_files": files}

    def open(self) -> VideoArrays:
        """What reads the arrays; a context manager."""
        from mdmf.data.features.video_arrays import VideoArrays

        return VideoArrays(folder=self.folder, files=self.files, tokens=self.tokens)


SOURCE_KINDS.add("imported", ImportedSource, module=__name__)
