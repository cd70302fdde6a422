"""Opening of files with PyAV: missing video streams and damaged packets."""

import av
import numpy as np
import pytest
from example_videos import N_FRAMES, example
from video_files import frame_number, frame_numbers, numbered_frame, write_audio_only, write_video

from mdmf.data.video.opening import VideoError, open_video


def test_an_audio_track_and_other_streams_do_not_matter(tmp_path, decoder):
    path = tmp_path / "with_sound.mp4"
    with av.open(str(path), "w") as container:
        sound = container.add_stream("aac", rate=16000, layout="mono")
        pictures = container.add_stream("libx264", rate=25)
        pictures.width, pictures.height, pictures.pix_fmt = 128, 64, "yuv420p"
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
        samples.sample_rate = 16000
        container.mux(sound.encode(samples))
        container.mux(sound.encode(None))
        for number in range(10):
            container.mux(pictures.encode(av.VideoFrame.from_ndarray(numbered_frame(number), format="rgb24")))
        container.mux(pictures.encode(None))
    with open_video(path, decoder=decoder) as reader:
        assert frame_numbers(reader.read([9, 0, 4])) == [9, 0, 4]


def test_files_that_hold_no_video_say_why(tmp_path, decoder, capfd):
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_text("This is not a video.\n" * 100)
    write_audio_only(tmp_path / "sound.mp4")
    whole = write_video(tmp_path / "whole.mp4", 20).read_bytes()
    (tmp_path / "no_index.mp4").write_bytes(whole[: whole.index(b"moov") - 4])
    (tmp_path / "half_an_index.mp4").write_bytes(whole[: (whole.index(b"moov") + len(whole)) // 2])
    expected = {
        "empty.mp4": r"empty\.mp4: the file is empty \(0 bytes\)",
        "text.mp4": "this is no video file, or its beginning is damaged",
        "sound.mp4": "the file has no video stream",
        "no_index.mp4": r"the file is incomplete: the index of the MP4 \(its 'moov' box\) is missing",
        "half_an_index.mp4": r"the file is incomplete: the index of the MP4 \(its 'moov' box\) is missing",
        "absent.mp4": "there is no such file or folder",
    }
    for name, message in expected.items():
        with pytest.raises(VideoError, match=message):
            open_video(tmp_path / name, decoder=decoder)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("damaged_packet", [0, 1, 20, 39])
def test_a_damaged_packet_gives_an_error_or_the_right_frame(videos, tmp_path, decoder, damaged_packet):
    source = example(videos, "h264_b_frames.mp4")
    with av.open(str(source)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    start, n_bytes = places[damaged_packet]
    content = bytearray(source.read_bytes())
    content[start : start + n_bytes] = bytes(n_bytes)
    path = tmp_path / "damaged.mp4"
    path.write_bytes(content)
    failed = []
    for number in range(N_FRAMES):
        try:
            with open_video(path, decoder=decoder) as reader:
                assert frame_number(reader.read([number])[0]) == number
        except VideoError as error:
            failed.append((number, error.reason))
    assert failed
    assert all("the file is damaged" in reason for _, reason in failed)
    if decoder != "decord" and damaged_packet > 0:
        assert len(failed) <= 12  # its group of pictures
