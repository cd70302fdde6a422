"""The number of frames of a video file and the places where decoding can start, from its packets.

Frames are the pictures that the decoder returns, numbered from 0 in presentation order. Containers do not state their
number: DivX AVIs (HMDB51) contain placeholders without a frame, MP4s contain frames hidden by an edit list, and the
header of an incomplete file counts missing frames. If packets are not sufficient, the file is decoded once to count.

All decoders use this table, so they agree on the number of frames and on the key frames.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import av
import av.error
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from mdmf.data.video.av_stream import decoded_frames, open_video_stream
from mdmf.data.video.container_bytes import h264_unit_types, is_cut
from mdmf.data.video.reader import VideoError

_ONLY_KEY_FRAMES = frozenset({"ffv1", "mjpeg", "png", "prores", "rawvideo"})
# Codecs with one frame per packet. In others (VP8, VC-1, H.263) a packet may have none.
_PACKET_IS_FRAME = _ONLY_KEY_FRAMES | {"av1", "h264", "hevc", "mpeg1video", "mpeg2video", "mpeg4", "vp9"}
_H264_IDR = 5  # type of the unit that resets the decoder
# A smaller MPEG-4 packet may be a placeholder in a packed stream, or a frame that is not coded.
_SMALLEST_MPEG4_PICTURE_BYTES = 32
# The largest number of frames by which a codec may delay a frame for reordering.
_LONGEST_REORDERING = 16
# Containers with reliable times and key frames (AVI: see _times and _starts).
INDEXED_FORMATS = ("mov", "matroska", "avi")


@dataclass(frozen=True, eq=False)
class PacketTable:
    """Properties of the frames of a video file, from its packets.

    Attributes:
        n_frames: number of frames of the complete file: those that can be decoded and those that are missing.
        n_readable: number of frames, from the first, that can be decoded.
        fps: average frames per second; None if the file does not state it.
        codec: FFmpeg's name of the codec.
        format: FFmpeg's name of the container (`mov` for MP4).
        times: (n_frames,) presentation time of each frame in the unit of the stream, ascending; None if times are
            unreliable or the file is incomplete: frames are then counted from the beginning of the file.
        starts: ascending numbers of the key frames at which decoding can start: all earlier frames in presentation
            order are before it in the file, all later ones after it. The first is 0.
        is_seekable: whether every frame that the file marks as a key frame is such a start.
    """

    n_frames: int
    n_readable: int
    fps: float | None
    codec: str
    format: str
    times: np.ndarray | None
    starts: np.ndarray
    is_seekable: bool

    @property
    def is_cut(self) -> bool:
        """Whether the end of the file is missing."""
        return self.n_readable < self.n_frames

    def cut_reason(self) -> str:
        """The error message for an incomplete file."""
        return (
            f"the file is incomplete: the first {self.n_readable} of {self.n_frames} frames can be decoded; "
            "copy or download it again"
        )


@dataclass(frozen=True)
class _Packet:
    time: int | None
    decoding_time: int | None
    size: int
    is_marked_key: bool
    is_key: bool
    is_hidden: bool


@dataclass(frozen=True)
class _Contents:
    """The packets of the video stream in file order; `n_declared` is 0, or the frame count of an incomplete file."""

    packets: list[_Packet]
    n_declared: int
    fps: float | None
    codec: str
    format: str


def read_packet_table(path: Path) -> PacketTable:
    """The packet table of a video file, read without decoding if possible.

    Raises:
        VideoError: if the file cannot be opened or read, or has no frames.
    """
    contents = _read_contents(path)
    one_frame_each = _packets_are_frames(contents)
    n_decodable = len(contents.packets) if one_frame_each else _count_by_decoding(path, contents.format)
    if n_decodable == 0:
        cut = f"the file is incomplete: none of its {contents.n_declared} frames is there; copy or download it again"
        raise VideoError(path, cut if contents.n_declared else "the file's video stream holds no frames")
    times = _times(contents) if one_frame_each else None
    n_cut_off = max(contents.n_declared - len(contents.packets), 0)
    n_readable = n_decodable
    if n_cut_off > 0:
        n_readable = _n_before_gaps(contents, n_decodable, times)
        times = None
    starts = np.zeros(1, np.int64) if times is None else _starts(contents, times)
    return PacketTable(
        n_frames=n_decodable + n_cut_off,
        n_readable=n_readable,
        fps=contents.fps,
        codec=contents.codec,
        format=contents.format,
        times=times,
        starts=starts,
        is_seekable=times is not None and len(starts) == sum(packet.is_marked_key for packet in contents.packets),
    )


def _read_contents(path: Path) -> _Contents:
    with open_video_stream(path) as (container, stream):
        try:
            packets = _read_packets(container, stream)
        except av.error.FFmpegError as error:
            raise VideoError(path, f"the file is damaged, it cannot be read to its end ({error.strerror})") from error
        format_name = container.format.name.split(",")[0]
        return _Contents(
            packets=packets,
            n_declared=_n_declared(container, stream, len(packets)) if is_cut(path, format_name) else 0,
            fps=float(stream.average_rate) if stream.average_rate else None,
            codec=stream.codec_context.codec.canonical_name,
            format=format_name,
        )


def _read_packets(container: InputContainer, stream: VideoStream) -> list[_Packet]:
    packets = []
    is_key = _key_packet_test(stream)
    for packet in container.demux(stream):
        if packet.dts is None and packet.pts is None and packet.size == 0:  # the end of the stream in PyAV
            continue
        if not packet.is_corrupt:  # otherwise the file ends in this packet
            marks = (packet.is_keyframe, packet.is_keyframe and is_key(packet), packet.is_discard)
            packets.append(_Packet(packet.pts, packet.dts, packet.size, *marks))
    return packets


def _key_packet_test(stream: VideoStream) -> Callable[[Packet], bool]:
    """A test of whether a packet that is marked as a key frame can be decoded without earlier ones.

    H.264 files also mark frames from which a decoder recovers gradually: only an IDR slice passes.
    """
    if stream.codec_context.name != "h264":
        return lambda packet: True
    header = stream.codec_context.extradata or b""
    n_length_bytes = (header[4] & 3) + 1 if len(header) > 4 and header[0] == 1 else 0  # 0: start codes, as in AVI
    return lambda packet: _H264_IDR in h264_unit_types(bytes(packet), n_length_bytes)


def _n_declared(container: InputContainer, stream: VideoStream, n_packets: int) -> int:
    """Number of frames of the complete file; Matroska does not state it, so it is estimated from the duration."""
    if stream.frames:
        return stream.frames
    n_in_duration = (container.duration or 0) / av.time_base * float(stream.average_rate or 0)
    return round(n_in_duration) or n_packets + 1


def _packets_are_frames(contents: _Contents) -> bool:
    """Whether each packet is known to contain one frame."""
    packets, codec = contents.packets, contents.codec
    smallest = _SMALLEST_MPEG4_PICTURE_BYTES if codec == "mpeg4" else 1
    if codec not in _PACKET_IS_FRAME or not packets or not packets[0].is_key:
        return False
    if any(packet.is_hidden or packet.size < smallest for packet in packets):
        return False
    times = [packet.time for packet in packets if packet.time is not None]
    return min(times, default=packets[0].time) == packets[0].time  # frames before the first key frame are dropped


def _count_by_decoding(path: Path, format_name: str) -> int:
    with open_video_stream(path) as (container, stream):
        pass_damage = format_name not in INDEXED_FORMATS
        return sum(1 for _ in decoded_frames(path, container, stream, pass_leading_damage=pass_damage))


def _n_before_gaps(contents: _Contents, n_decodable: int, times: np.ndarray | None) -> int:
    """Number of frames of an incomplete file before the first gap, which reordering may move before the last packet."""
    last_decoded = contents.packets[-1].decoding_time
    if times is None or last_decoded is None:
        return max(n_decodable - _LONGEST_REORDERING, 0)
    return int(np.searchsorted(times, last_decoded, side="right"))  # missing frames have later times


def _times(contents: _Contents) -> np.ndarray | None:
    """Presentation times in ascending order; None if they are unknown, repeated or unreliable."""
    packets = contents.packets
    if contents.format not in INDEXED_FORMATS or any(packet.time is None for packet in packets):
        return None
    # AVI stores no times: for reordered frames they are a guess, which differs between versions of FFmpeg.
    if contents.format == "avi" and any(packet.time != packet.decoding_time for packet in packets):
        return None
    times = np.unique(_file_order_times(contents))
    return times if len(times) == len(packets) else None


def _starts(contents: _Contents, times: np.ndarray) -> np.ndarray:
    """Numbers of key frames with the same place in the file as in presentation order, and no frame across them."""
    is_key = np.array([packet.is_key for packet in contents.packets])
    if is_key.all() and contents.codec not in _ONLY_KEY_FRAMES:  # some AVIs mark every frame as a key frame
        return np.zeros(1, np.int64)
    numbers = np.searchsorted(times, _file_order_times(contents))
    latest_before = np.concatenate([[-1], np.maximum.accumulate(numbers)[:-1]])
    return np.flatnonzero(is_key & (numbers == np.arange(len(numbers))) & (latest_before < numbers))


def _file_order_times(contents: _Contents) -> np.ndarray:
    return np.array([packet.time for packet in contents.packets], np.int64)
