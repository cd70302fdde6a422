"""Opening of video files, with decord or PyAV, and of folders of frame images.

decord and PyAV return the same frames for the same numbers. Their pixels are equal on the H.264 clips measured
(Kinetics, NTU, surveillance) and on HMDB51; on UCF101 they differ in one pixel of 100,000, by at most 2 grey levels.
Colours at sharp edges differ more in 10-bit video and in pictures of odd size. A feature store records its `decoder`.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from mdmf.data.video.decord_reader import DecordReader, decord_is_installed
from mdmf.data.video.frame_folder import FRAME_SUFFIXES, FrameFolderReader
from mdmf.data.video.packets import PacketTable, read_packet_table
from mdmf.data.video.pyav_reader import PyavReader
from mdmf.data.video.reader import VideoError, VideoReader

__all__ = ["DECODERS", "FRAME_SUFFIXES", "VIDEO_SUFFIXES", "VideoError", "VideoReader", "open_video"]

logger = logging.getLogger(__name__)

DECODERS = ("auto", "decord", "pyav")
VIDEO_SUFFIXES = (
    ".3gp", ".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ogv", ".ts", ".webm", ".wmv",
)  # fmt: skip


def open_video(path: Path, *, decoder: str = "auto") -> VideoReader:
    """A reader of a video file or of a folder of frame images; close it, or use it as a context manager.

    A reader works only in the process that opened it.

    Args:
        path: the file or folder.
        decoder: `decord` or `pyav`; `auto` is decord if it is installed, and PyAV for files that decord cannot read.

    Raises:
        VideoError: with the reason, if the video cannot be read.
        ValueError: for an unknown decoder.
        ImportError: for `decord` if it is not installed.
    """
    if decoder not in DECODERS:
        raise ValueError(f"unknown decoder {decoder!r}; expected one of {DECODERS}")
    if path.is_dir():
        return FrameFolderReader(path)
    table = read_packet_table(path)
    if decoder == "pyav":
        return PyavReader(path, table)
    if decoder == "decord":
        return DecordReader(path, table)
    return _AutoReader(path, table) if decord_is_installed() else PyavReader(path, table)


class _AutoReader(VideoReader):
    """decord, and after its first failure PyAV, which decodes more files and has better error messages."""

    def __init__(self, path: Path, table: PacketTable) -> None:
        super().__init__(path, n_frames=table.n_frames, fps=table.fps)
        self._table = table
        self._reader: VideoReader
        try:
            self._reader = DecordReader(path, table)
        except VideoError as error:
            self._fall_back(error)

    def close(self) -> None:
        super().close()
        self._reader.close()

    def _read_sorted(self, numbers: list[int]) -> list[np.ndarray]:
        try:
            return self._reader._read_sorted(numbers)
        except VideoError as error:
            if isinstance(self._reader, PyavReader):
                raise
            self._fall_back(error)
            return self._reader._read_sorted(numbers)

    def _fall_back(self, error: VideoError) -> None:
        logger.debug("PyAV replaces decord: %s", error)
        self._reader = PyavReader(self.path, self._table)
