"""Extraction: interrupted, shared, with bad videos; always the same bytes."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import fake_extraction
import numpy as np
import pytest
import torch
from fake_extraction import (
    SOURCES,
    FakeEncoder,
    decoded,
    fake_load,
    fake_records,
    fake_settings,
    fake_views,
    run_extraction,
)
from processes import start_process

from mdmf.data.features import builder, extractor
from mdmf.data.features.builder import StoreBuilder
from mdmf.data.features.extractor import ExtractionSummary, extract_features
from mdmf.data.features.store import FeatureStore, StoreMismatch
from mdmf.structures import Preprocess, VideoRecord

N_VIDEOS = 60
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(extractor.__file__).parents[3])}
needs_sigkill = pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builder, "FRAMES_PER_CHUNK", 12)  # 2 videos of 2 variants of 3 frames


def extract(folder: Path, records: list[VideoRecord], **options: object) -> ExtractionSummary:
    store = StoreBuilder.create_or_open(folder, settings=fake_settings(), records=records)
    encoder = options.pop("encoder", FakeEncoder())
    encoders = {} if encoder is None else {"rgb": encoder}
    arguments = {"encoders": encoders, "n_workers": 0, "load": fake_load, "progress": False} | options
    return extract_features(records, {"rgb": store}, sources=SOURCES, **arguments)


def files(folder: Path) -> dict[str, bytes]:
    """All that is in a store, byte by byte."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("whole")
    run_extraction(folder / "store", folder / "log", N_VIDEOS, 0.0, 0)
    return files(folder / "store")


def test_stored_features_are_those_of_the_encoder(tmp_path: Path) -> None:
    records = fake_records(tmp_path / "log", 5)
    summary = extract(tmp_path / "store", records).sources["rgb"]
    assert (summary.n_ok, summary.n_bad, summary.n_reused, summary.n_frames) == (5, 0, 0, 5 * 2 * 3)
    store = FeatureStore.open(tmp_path / "store")
    views = fake_views("rgb", records[3].video_id, 2, 3)
    for variant in (0, 1):
        expected = FakeEncoder().encode_images(torch.from_numpy(views[variant]))
        stored = torch.from_numpy(store.read(3, variant)).float()
        torch.testing.assert_close(stored, expected, rtol=1e-3, atol=1e-3)  # float16
    norms = np.linalg.norm(store.read(np.arange(5)).astype(np.float64) * store.feature_scale, axis=-1)
    assert norms.mean() == pytest.approx(10, abs=1e-6)
    assert sorted(files(tmp_path / "store")) == ["features.npy", "manifest.json", "videos.csv"]


def test_a_batch_never_exceeds_batch_frames(tmp_path: Path) -> None:
    encoder = FakeEncoder()
    extract(tmp_path / "store", fake_records(tmp_path / "log", 5), encoder=encoder, batch_frames=5)
    assert encoder.batch_sizes == [5, 5, 2, 5, 5, 2, 5, 1]


def test_workers_and_batches_change_no_byte(tmp_path: Path, uninterrupted: dict[str, bytes]) -> None:
    run_extraction(tmp_path / "store", tmp_path / "log", N_VIDEOS, 0.0, 2)
    assert files(tmp_path / "store") == uninterrupted


def test_bad_videos_are_marked_and_counted_and_never_read(tmp_path: Path) -> None:
    records = fake_records(tmp_path / "log", 6, v1="bad", v4="nan")
    summary = extract(tmp_path / "store", records).sources["rgb"]
    assert (summary.n_ok, summary.n_bad) == (4, 2)
    assert summary.reasons == (
        ("kick/bad1.mp4", "no video stream in it"),
        ("kick/nan4.mp4", "the encoder's features of it are not finite"),
    )
    assert "  bad: kick/bad1.mp4: no video stream in it" in summary.bad_lines
    store = FeatureStore.open(tmp_path / "store")
    assert store.ok.tolist() == [True, False, True, True, False, True]
    assert store.table.n_frames.tolist() == [40, 0, 40, 40, 40, 40]
    assert not np.load(tmp_path / "store" / "features.npy")[[1, 4]].any()
    with pytest.raises(ValueError, match=r"'kick/nan4.mp4' is bad \(the encoder's features of it are not finite\)"):
        store.read(np.array([0, 4]))


def test_all_videos_bad_is_an_error_and_the_next_run_tries_again(tmp_path: Path) -> None:
    records = fake_records(tmp_path / "log", 3, v0="bad", v1="bad", v2="bad")
    for n_decoded in (3, 6):
        with pytest.raises(ValueError, match=r"every one of the 3 videos is bad(.|\n)*bad0.mp4: no video stream in it"):
            extract(tmp_path / "store", records)
        assert len(decoded(tmp_path / "log")) == n_decoded


def test_feature_too_large_for_float16_names_the_video(tmp_path: Path) -> None:
    records = fake_records(tmp_path / "log", 3, v2="huge")
    with pytest.raises(ValueError, match=r"'kick/huge2.mp4' is 100000, float16 holds up to 65504"):
        extract(tmp_path / "store", records)
    with pytest.raises(ValueError, match="not finished"):
        FeatureStore.open(tmp_path / "store")


def test_a_mistake_in_a_loader_is_an_error_not_a_bad_video(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"'kick/bug1.mp4' failed: TypeError: a mistake of ours"):
        extract(tmp_path / "store", fake_records(tmp_path / "log", 2, v1="bug"))


def test_wrong_encoder_is_refused_before_anything_is_decoded(tmp_path: Path) -> None:
    records = fake_records(tmp_path / "log", 2)
    wrong = FakeEncoder(identity=dict(fake_extraction.IDENTITY, model="large"))
    with pytest.raises(StoreMismatch, match=r"encoder.model: the store has 'tiny', asked for 'large'"):
        extract(tmp_path / "store", records, encoder=wrong)
    with pytest.raises(ValueError, match="an encoder of 'rgb' is needed"):
        extract(tmp_path / "store", records, encoder=None)
    assert decoded(tmp_path / "log") == []


def test_finished_store_needs_neither_encoder_nor_videos(tmp_path: Path) -> None:
    records = fake_records(tmp_path / "log", 4, v0="bad")
    extract(tmp_path / "store", records)
    before = files(tmp_path / "store")
    (tmp_path / "store" / "progress").mkdir()  # as left by a kill just after the end
    (tmp_path / "store" / "store.lock").touch()
    summary = extract(tmp_path / "store", records[::-1], encoder=None).sources["rgb"]
    assert (summary.n_ok, summary.n_bad, summary.n_reused, summary.n_frames) == (3, 1, 4, 0)
    assert len(decoded(tmp_path / "log")) == 4
    assert files(tmp_path / "store") == before


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize("n_workers", [0, 1])
def test_what_was_finished_before_an_interruption_is_not_decoded_again(
    tmp_path: Path, uninterrupted: dict[str, bytes], error: type[BaseException], n_workers: int
) -> None:
    records = fake_records(tmp_path / "log", N_VIDEOS, v5="bad", v11="nan", v17="still")

    class Interrupted(FakeEncoder):
        def encode_images(self, frames: torch.Tensor) -> torch.Tensor:
            if len(self.batch_sizes) == 10:
                raise error
            return super().encode_images(frames)

    with pytest.raises(error):
        extract(tmp_path / "store", records, encoder=Interrupted(), n_workers=n_workers)
    n_finished = 2 * len(list((tmp_path / "store" / "progress").glob("*.json")))
    assert n_finished == 20
    (tmp_path / "log").unlink()
    summary = extract(tmp_path / "store", records).sources["rgb"]
    assert summary.n_reused == n_finished
    assert decoded(tmp_path / "log") == [record.video_id for record in records[n_finished:]]
    assert files(tmp_path / "store") == uninterrupted


def test_a_video_that_crashes_its_decoder_is_bad_and_the_rest_goes_on(tmp_path: Path) -> None:
    records = fake_records(tmp_path / "log", 8, v2="crash", v3="crash", v6="bad")
    summary = extract(tmp_path / "store", records, n_workers=2).sources["rgb"]
    assert (summary.n_ok, summary.n_bad) == (5, 3)
    assert dict(summary.reasons) == {
        "kick/crash2.mp4": "it crashed the process that decoded it",
        "kick/crash3.mp4": "it crashed the process that decoded it",
        "kick/bad6.mp4": "no video stream in it",
    }


@needs_sigkill
def test_a_waiting_process_takes_over_from_a_dead_one(tmp_path: Path, uninterrupted: dict[str, bytes]) -> None:
    slow = start_process(run_extraction, tmp_path / "store", tmp_path / "log", N_VIDEOS, 60.0, 0)
    _wait_until(lambda: decoded(tmp_path / "log") != [])  # it holds the first chunk
    other = start_process(run_extraction, tmp_path / "store", tmp_path / "log", N_VIDEOS, 0.0, 0)
    _wait_until(lambda: len(list((tmp_path / "store" / "progress").glob("*.json"))) == N_VIDEOS // 2 - 1)
    time.sleep(0.05)
    assert other.is_alive()
    slow.kill()
    other.join(60)
    assert other.exitcode == 0
    assert files(tmp_path / "store") == uninterrupted


@pytest.mark.slow
@needs_sigkill
def test_sigkill_at_many_random_moments_with_workers_loses_nothing(
    tmp_path: Path, uninterrupted: dict[str, bytes], short_form: bool
) -> None:
    arguments = (tmp_path / "store", tmp_path / "log", N_VIDEOS, 0.2, 2)
    rng = random.Random(2)
    for n_kills in range(2 if short_form else 10):
        process = start_process(run_extraction, *arguments)
        n_seen = len(decoded(tmp_path / "log"))
        _wait_until(lambda n_seen=n_seen: len(decoded(tmp_path / "log")) > n_seen)
        time.sleep(rng.uniform(0.0, 0.6))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL, f"it ended before kill {n_kills}"
    run_extraction(tmp_path / "store", tmp_path / "log", N_VIDEOS, 0.0, 0)
    assert files(tmp_path / "store") == uninterrupted


def test_workers_die_with_a_killed_parent(tmp_path: Path) -> None:
    script = (
        "import os, sys, time\nfrom pathlib import Path\nfrom mdmf.data.features.decode_pool import _start\n"
        "if __name__ == '__main__':\n"
        "    pool = _start(1)\n    print(pool.submit(os.getpid).result(), flush=True)\n    time.sleep(60)\n"
    )
    (tmp_path / "parent.py").write_text(script)
    parent = subprocess.Popen([sys.executable, tmp_path / "parent.py"], stdout=subprocess.PIPE, env=ENVIRONMENT)
    assert parent.stdout is not None
    worker_pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    _wait_until(lambda: not _is_running(worker_pid))


def test_workers_that_cannot_start_are_not_blamed_on_the_videos(tmp_path: Path) -> None:
    script = (
        "from pathlib import Path\nfrom mdmf.data.features.decode_pool import DecodePool, DecodeTask\n"
        "with DecodePool(print, n_workers=1) as pool:\n"  # no `if __name__ == '__main__'`
        "    pool.collect(pool.submit([DecodeTask(Path('x'), 'x', {}, None)]))\n"
    )
    (tmp_path / "script.py").write_text(script)
    ended = subprocess.run([sys.executable, tmp_path / "script.py"], capture_output=True, text=True, env=ENVIRONMENT)
    assert ended.returncode != 0
    assert "decode workers die as soon as they start" in ended.stderr.splitlines()[-1]


def test_decode_workers_import_neither_torch_nor_pandas_nor_opencv() -> None:
    code = (
        "import sys, mdmf.data.features.decode_pool; print([m for m in ('torch', 'pandas', 'cv2') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=ENVIRONMENT)
    assert found.stdout.strip() == "[]"


def test_progress_bar_counts_all_videos(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    extract(tmp_path / "store", fake_records(tmp_path / "log", 5), progress=True)
    assert re.search(r"encoding: 100%.* 5/5 .*videos/s", capsys.readouterr().err)


def test_automatic_workers_are_none_for_a_few_videos() -> None:
    assert extractor._automatic_workers(31) == 0
    assert 1 <= extractor._automatic_workers(32) <= 16


def test_real_clips_with_the_real_loader(tmp_path: Path, shared_data: Path) -> None:
    clips = sorted((shared_data / "clips" / "fight_surv" / "fight").glob("*.mp4"))[:3]
    assert len(clips) == 3
    (tmp_path / "text.mp4").write_text("this is no video")
    records = [VideoRecord(f"fight/{path.name}", path, "fight", "test") for path in [*clips, tmp_path / "text.mp4"]]
    preprocess = Preprocess(crop_size=8, resize_size=8)
    settings = fake_settings(preprocess=preprocess)
    store = StoreBuilder.create_or_open(tmp_path / "store", settings=settings, records=records)
    encoder = FakeEncoder(preprocess=preprocess)
    stores = {"rgb": store}
    summary = extract_features(records, stores, sources=SOURCES, encoders={"rgb": encoder}, progress=False).sources[
        "rgb"
    ]
    assert (summary.n_ok, summary.n_bad) == (3, 1)
    assert summary.reasons[0][0] == "fight/text.mp4"
    assert summary.reasons[0][1]
    made = FeatureStore.open(tmp_path / "store")
    assert (made.table.n_frames[:3] >= 34).all()
    assert (made.table.fps[:3] > 0).all()
    assert json.loads((tmp_path / "store" / "manifest.json").read_text())["n_bad"] == 1


def _wait_until(condition: object, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def _is_running(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    try:
        return status.read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
