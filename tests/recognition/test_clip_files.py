import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
from fake_extraction import FakeEncoder, fake_flow_settings, fake_settings

from mdmf.data.features.store import StoreMismatch
from mdmf.recognition.clip_files import ClipFiles, content_key


def test_a_clip_is_named_by_its_content(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"one")
    (tmp_path / "b.avi").write_bytes(b"one")
    (tmp_path / "c.mp4").write_bytes(b"two")
    assert content_key(tmp_path / "a.mp4") == content_key(tmp_path / "b.avi") != content_key(tmp_path / "c.mp4")


def test_frames_are_named_by_their_content_and_order(tmp_path):
    def folder(name, **frames):
        (tmp_path / name).mkdir()
        for number, content in frames.items():
            (tmp_path / name / f"{number}.jpg").write_text(content)
        return content_key(tmp_path / name)

    first = folder("first", a="1", b="2")
    assert folder("turned", a="2", b="1") != first
    assert folder("joined", a="12") != first
    assert folder("up", **{"2": "x", "10": "y"}) != folder("down", **{"1": "y", "2": "x"})  # x comes first in one only
    (tmp_path / "first" / "notes.txt").write_text("no frame")
    assert content_key(tmp_path / "first") == first
    shutil.copytree(tmp_path / "first", tmp_path / "copy")
    assert content_key(tmp_path / "copy") == first


def test_what_cannot_be_read_is_an_error_of_the_system(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        content_key(tmp_path / "nothing.mp4")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(OSError, match=r"pipe\.mp4 is neither a file nor a folder"):
        content_key(tmp_path / "pipe.mp4")


def test_arrays_come_back_and_a_damaged_file_counts_as_none(tmp_path):
    files = ClipFiles(tmp_path, fake_settings())
    assert files.read("key", "clip") is None
    arrays = {"features": np.arange(12, dtype=np.float16).reshape(3, 4).T, "rows": np.array([2, 0])}
    files.write("key", "clip", arrays)
    back = files.read("key", "clip")
    assert back is not None
    for name, array in arrays.items():
        np.testing.assert_array_equal(back[name], array)
    assert files.read("key", "2s-1s") is None
    (path,) = files.folder.glob("*.safetensors")
    path.write_bytes(path.read_bytes()[:20])
    assert files.read("key", "clip") is None


def test_a_folder_is_named_by_what_decides_the_test_view_alone(tmp_path):
    def folder(settings):
        return ClipFiles(tmp_path, settings).folder

    plain = fake_settings(n_variants=1)
    assert folder(fake_settings(n_variants=4, seed=9, jitter=False)) == folder(plain)
    others = [
        fake_settings(n_frames=5),
        fake_settings(frame_rule="linspace_inner"),
        fake_settings(decoder="pyav"),
        fake_settings(encoder={"library": "fake", "requested": "b"}),
        fake_flow_settings(),
    ]
    assert len({folder(settings) for settings in [plain, *others]}) == 6


def test_the_encoder_is_remembered_and_another_one_refused(tmp_path):
    asked = fake_settings(preprocess=None, feature_size=None, encoder={"library": "fake", "requested": "tiny a"})
    files = ClipFiles(tmp_path, asked)
    assert files.settings() is None
    encoder = FakeEncoder()
    files.check_encoder(encoder)
    known = ClipFiles(tmp_path, asked).settings()
    assert known is not None
    assert (known.preprocess, known.feature_size) == (encoder.preprocess, encoder.feature_size)
    files.check_encoder(encoder)
    other = FakeEncoder(identity=encoder.identity | {"weights_hash": "0000"})
    with pytest.raises(StoreMismatch, match=r"encoder\.weights_hash: the store has 'ab12', asked for '0000'"):
        files.check_encoder(other)
    wider = FakeEncoder()
    wider.preprocess = replace(wider.preprocess, resize_size=9)
    with pytest.raises(StoreMismatch, match=r"preprocess\.resize_size"):
        files.check_encoder(wider)


def test_a_damaged_manifest_is_told(tmp_path):
    files = ClipFiles(tmp_path, fake_settings())
    files.folder.mkdir()
    (files.folder / "manifest.json").write_text("{")
    with pytest.raises(ValueError, match=r"is damaged .*; delete .* to encode again"):
        files.settings()
