"""`mdmf extract` on sound and bad videos."""

import shutil
import time

from small_commands import FLOW, error_of, small

from mdmf.cli import main


def test_extract_says_where_both_stores_are(world, trained_on_both, place, capsys):
    arguments = small(world, *trained_on_both.stores, *FLOW, "model.name=amfar")
    assert main(["extract", "--cfg", "clips", "--quiet", *arguments]) == 0
    said = capsys.readouterr().out
    assert "80 were there already" in said
    for source, where in zip(("rgb", "flow"), trained_on_both.stores, strict=True):
        assert f"feature store of {source}: {where.split('=')[1]}" in said


def test_bad_videos_are_marked_with_their_reason_and_counted(world, place, capsys):
    shutil.copytree(world, place / "videos")
    good = (place / "videos/grow/000.mp4").read_bytes()
    (place / "videos/grow/text.mp4").write_text("this is no video")
    (place / "videos/grow/cut.mp4").write_bytes(good[: len(good) // 2])
    (place / "videos/grow/empty.mp4").write_bytes(b"")
    assert main(["extract", "--cfg", "clips", "--quiet", *small(place / "videos")]) == 0
    said = capsys.readouterr().out
    assert "3 bad" in said
    for name in ("text", "cut", "empty"):
        assert f"bad: grow/{name}.mp4: " in said


def test_encoder_weights_that_cannot_be_had(world, place, capsys):
    started = time.perf_counter()
    online = ["encoder.library=open_clip", "encoder.model=ViT-B-32", "encoder.weights=openai"]
    said = error_of(capsys, "extract", "--cfg", "clips", *small(world, *online))
    assert "ViT-B-32" in said
    assert "openai" in said
    assert time.perf_counter() - started < 30


def test_a_dangling_link_is_a_bad_video_not_the_end(world, place, capsys):
    shutil.copytree(world, place / "videos")
    (place / "videos/grow/link.mp4").symlink_to(place / "nowhere.mp4")
    assert main(["extract", "--cfg", "clips", "--quiet", *small(place / "videos")]) == 0
    assert "bad: grow/link.mp4: " in capsys.readouterr().out


def test_own_code_only_when_allowed(world, place, capsys):
    own = ["encoder.library=module", "encoder.model=my_code:make"]
    assert "--allow-code" in error_of(capsys, "extract", "--cfg", "clips", *small(world, *own))
