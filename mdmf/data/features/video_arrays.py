"""One array of features per video, in files that another program wrote."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from mdmf.data.arrays import ARRAY_SUFFIX, KeyedArrays, open_keyed, open_npy
from mdmf.data.listing.disk import name_stem
from mdmf.structures import VideoRecord


class VideoArrays:
    """The arrays of videos; files with keys stay open until the context ends.

    Args:
        folder: of `<video id without suffix>.npy`.
        files: with the video ids without suffix as keys; without `folder` and `files`, the files of the records.
        tokens: what stands for a frame of an array (n, P, D): its `first` token or their `mean`; None: it is refused.
    """

    def __init__(self, *, folder: Path | None, files: Sequence[Path], tokens: str | None) -> None:
        self._folder, self._files, self._tokens = folder, files, tokens
        self._stack = ExitStack()
        self._opened: dict[Path, KeyedArrays] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def feature_size(self, records: Sequence[VideoRecord]) -> int:
        """D of most of the videos.

        Raises:
            ValueError: if none of them has an array.
        """
        sizes: Counter[int] = Counter()
        reasons: list[str] = []
        for record in records:
            try:
                sizes[self._shape(record)[-1]] += 1
            except ValueError as error:
                reasons.append(f"{record.video_id}: {error}")
        if not sizes:
            raise ValueError(f"none of the {len(records)} videos has features; the first is {reasons[0]}")
        return sizes.most_common(1)[0][0]

    def read(self, record: VideoRecord) -> np.ndarray:
        """The features (n, D) of a video, float32.

        Raises:
            ValueError: with the reason, if there is no array of the right form, or it holds NaN or infinite values.
        """
        (path, key), shape = self.place(record), self._shape(record)
        array = self._keyed(path).read(key) if key else open_npy(path)
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused
            array = np.array(array, dtype=np.float32)
        if not np.isfinite(array).all():
            raise ValueError("the array holds NaN or infinite values")
        if len(shape) < 3:
            return array.reshape(-1, shape[-1])  # (D,) -> (1, D)
        return array[:, 0] if self._tokens == "first" else array.mean(axis=1)  # (n, P, D) -> (n, D)

    def place(self, record: VideoRecord) -> tuple[Path, str]:
        """The file of a video, and its key there; "" for a file of its own."""
        names = dict.fromkeys([name_stem(record.video_id), record.video_id])
        if self._folder is not None:
            paths = [self._folder / f"{name}{ARRAY_SUFFIX}" for name in names]
            return next((path for path in paths if path.is_file()), paths[0]), ""
        for file in self._files:
            if key := next((name for name in names if self._keyed(file).has(name)), ""):
                return file, key
        path = self._files[0] if self._files else record.path
        return path, "" if path.suffix.lower() == ARRAY_SUFFIX else next(iter(names))

    def _shape(self, record: VideoRecord) -> tuple[int, ...]:
        """The shape of an array, checked: (D,), (n, D) or (n, P, D)."""
        path, key = self.place(record)
        shape = self._keyed(path).shape(key) if key else open_npy(path).shape
        if len(shape) not in (1, 2, 3) or 0 in shape:
            raise ValueError(f"the array has shape {shape}; expected (frames, D), (frames, tokens, D) or (D,)")
        if len(shape) == 3 and self._tokens is None:
            raise ValueError(
                f"the array has shape {shape}, {shape[1]} tokens per frame; choose what stands for a frame with the "
                f"setting tokens of its source: first (the class token) or mean"
            )
        return shape

    def _keyed(self, path: Path) -> KeyedArrays:
        if path not in self._opened:
            self._opened[path] = self._stack.enter_context(open_keyed(path))
        return self._opened[path]
