"""A video file opened with PyAV: its video stream, and the frames decoded from it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import av.error
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from mdmf.data.video.container_bytes import lacks_mp4_index
from mdmf.data.video.reader import VideoError

# Titles in HMDB51 are not UTF-8. From PyAV 19 on no text can fail to decode, and the argument does not exist.
_OPEN_ARGUMENTS: dict[str, Any] = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}


@contextmanager
def open_video_stream(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The opened file and its best video stream, which decodes in one thread (processes decode different videos).

    Raises:
        VideoError: if the file does not exist, or has no video that PyAV can open.
    """
    _check_is_filled_file(path)
    try:
        container = av.open(str(path), **_OPEN_ARGUMENTS)
    except av.error.FFmpegError as error:
        raise VideoError(path, _why_not_opened(path, error)) from error
    with container:
        stream = container.streams.best("video")
        if stream is None:
            raise VideoError(path, _CUT_INDEX if lacks_mp4_index(path) else "the file has no video stream")
        if stream.codec_context is None:
            raise VideoError(path, "this PyAV has no decoder for the file's video codec")
        stream.thread_count = 1
        yield container, stream


def decoded_frames(
    path: Path, container: InputContainer, stream: VideoStream, *, pass_leading_damage: bool
) -> Iterator[VideoFrame]:
    """Frames in presentation order, from the position of the container to its end.

    Args:
        pass_leading_damage: skip packets that cannot be decoded before the first frame, as in a recording that starts
            between two key frames.

    Raises:
        VideoError: at a damaged packet; frames that refer to it would be damaged too, without an error.
    """
    n_decoded = 0
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
            if packet is None:
                return
            if packet.is_corrupt:  # the last packet of an incomplete file
                continue
            frames = packet.decode()
        except av.error.FFmpegError as error:
            if n_decoded == 0 and pass_leading_damage:
                continue
            raise VideoError(path, f"the file is damaged, decoding fails ({error.strerror})") from error
        n_decoded += len(frames)
        yield from frames


_CUT_INDEX = "the file is incomplete: the index of the MP4 (its 'moov' box) is missing; copy or download it again"


def _check_is_filled_file(path: Path) -> None:
    if not path.is_file():
        raise VideoError(path, f"there is no such file or folder ({path})")
    if path.stat().st_size == 0:
        raise VideoError(path, "the file is empty (0 bytes)")


def _why_not_opened(path: Path, error: av.error.FFmpegError) -> str:
    if isinstance(error, PermissionError):
        return "no permission to read the file"
    if lacks_mp4_index(path):
        return _CUT_INDEX
    return f"this is no video file, or its beginning is damaged ({error.strerror})"
