"""How many frames a video file holds and where decoding may start, from its packets: almost nothing is decoded.

The rule: a frame is what the decoder gives, numbered from 0 in presentation order. Containers do not say how many there
are: DivX AVIs (HMDB51) hold placeholders that give no frame, MP4s hold frames that their edit list hides, a header may
promise what a cut file lacks. Where packets alone cannot tell, the frames are counted by decoding the file once.

Every decoder works from this one table, so all agree on the number of frames, and none is asked for a frame that is
not there or sent to a key frame that is none.
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
# Each packet gives one frame. Elsewhere (VP8, VC-1, H.263) a packet may give none.
_PACKET_IS_FRAME = _ONLY_KEY_FRAMES | {"av1", "h264", "hevc", "mpeg1video", "mpeg2video", "mpeg4", "vp9"}
_H264_IDR = 5  # type of a unit that resets the decoder
# An MPEG-4 packet below this size may be a placeholder in a packed stream, or stand for a frame that is not coded.
_SMALLEST_MPEG4_PICTURE_BYTES = 32
# No codec shows more frames than these after one that comes later in the file.
_LONGEST_REORDERING = 16
# Containers whose times and key frames can be trusted, in an AVI with care.
INDEXED_FORMATS = ("mov", "matroska", "avi")


@dataclass(frozen=True, eq=False)
class PacketTable:
    """What the packets of a video file say of its frames.

    Attributes:
        n_frames: frames the file should hold: those that can be decoded, and those that were cut off.
        n_readable: the first so many of them can be decoded.
        fps: average frames per second, if the file says.
        codec: FFmpeg's name of it.
        format: FFmpeg's name of the container (`mov` for MP4).
        times: (n_frames,) presentation time of each frame in the stream's unit, ascending; None where times cannot be
            trusted or the file is cut, and frames are counted from the beginning of the file.
        starts: ascending numbers of the key frames at which decoding may start: every frame before one in presentation
            order is before it in the file too, every other one after it. The first is 0.
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
        """What is wrong with a cut file."""
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
    """The packets of the video stream in file order; `n_declared` frames should be there (0: the file is whole)."""

    packets: list[_Packet]
    n_declared: int
    fps: float | None
    codec: str
    format: str


def read_packet_table(path: Path) -> PacketTable:
    """Read through a video file once without decoding; a second time, decoding, only where packets cannot tell.

    Raises:
        VideoError: if the file cannot be opened or read, or holds no frames.
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
        if packet.dts is None and packet.pts is None and packet.size == 0:  # PyAV's mark of a stream's end
            continue
        if not packet.is_corrupt:  # else the file was cut in it
            marks = (packet.is_keyframe, packet.is_keyframe and is_key(packet), packet.is_discard)
            packets.append(_Packet(packet.pts, packet.dts, packet.size, *marks))
    return packets


def _key_packet_test(stream: VideoStream) -> Callable[[Packet], bool]:
    """Whether a packet marked as a key frame needs nothing before it.

    H.264 frames are also marked so from which a decoder recovers little by little: only an IDR slice is taken for one.
    """
    if stream.codec_context.name != "h264":
        return lambda packet: True
    header = stream.codec_context.extradata or b""
    n_length_bytes = (header[4] & 3) + 1 if len(header) > 4 and header[0] == 1 else 0  # 0: start codes, as in AVI
    return lambda packet: _H264_IDR in h264_unit_types(bytes(packet), n_length_bytes)


def _n_declared(container: InputContainer, stream: VideoStream, n_packets: int) -> int:
    """Frames that a cut file should hold; Matroska states no number, it is known from the duration."""
    if stream.frames:
        return stream.frames
    n_in_duration = (container.duration or 0) / av.time_base * float(stream.average_rate or 0)
    return round(n_in_duration) or n_packets + 1


def _packets_are_frames(contents: _Contents) -> bool:
    """Whether each packet gives one frame, as far as packets can tell."""
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
    """How many first frames of a cut file are there without a gap: reordered ones may be missing before the last."""
    last_decoded = contents.packets[-1].decoding_time
    if times is None or last_decoded is None:
        return max(n_decodable - _LONGEST_REORDERING, 0)
    return int(np.searchsorted(times, last_decoded, side="right"))  # whatever was cut off is shown after that time


def _times(contents: _Contents) -> np.ndarray | None:
    """Presentation times in ascending order, if they are known, differ, and can be trusted."""
    packets = contents.packets
    if contents.format not in INDEXED_FORMATS or any(packet.time is None for packet in packets):
        return None
    # AVI stores no times: where frames are reordered they are a guess, on which FFmpeg's versions differ.
    if contents.format == "avi" and any(packet.time != packet.decoding_time for packet in packets):
        return None
    times = np.unique(_file_order_times(contents))
    return times if len(times) == len(packets) else None


def _starts(contents: _Contents, times: np.ndarray) -> np.ndarray:
    """Numbers of key frames whose place in the file is their place in presentation order, with none out of place."""
    is_key = np.array([packet.is_key for packet in contents.packets])
    if is_key.all() and contents.codec not in _ONLY_KEY_FRAMES:  # some AVIs call every frame a key frame
        return np.zeros(1, np.int64)
    numbers = np.searchsorted(times, _file_order_times(contents))
    latest_before = np.concatenate([[-1], np.maximum.accumulate(numbers)[:-1]])
    return np.flatnonzero(is_key & (numbers == np.arange(len(numbers))) & (latest_before < numbers))


def _file_order_times(contents: _Contents) -> np.ndarray:
    return np.array([packet.time for packet in contents.packets], np.int64)
