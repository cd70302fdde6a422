"""Two sources filled in one pass: each video decoded once, and each store as if it had been alone."""

from __future__ import annotations

import logging
import random
import signal
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import fake_extraction
import numpy as np
import pytest
import torch
from fake_extraction import (
    SOURCES,
    FakeEncoder,
    decoded,
    decoded_sources,
    fake_builder,
    fake_flow_settings,
    fake_load,
    fake_records,
    fake_settings,
    run_extraction,
)
from PIL import Image
from processes import start_process

from mdmf.data.features import builder
from mdmf.data.features.builder import StoreBuilder
from mdmf.data.features.claims import claim_chunks, joint_groups
from mdmf.data.features.extractor import ExtractionSummary, extract_features
from mdmf.data.features.store import FeatureStore, StoreMismatch
from mdmf.structures import Preprocess, VideoRecord

N_VIDEOS = 30
BOTH = ("rgb", "flow")
needs_sigkill = pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builder, "FRAMES_PER_CHUNK", 12)  # 2 videos of 2 variants of 3 frames


def extract(
    folder: Path, records: Sequence[VideoRecord], sources: Sequence[str] = BOTH, **options: Any
) -> ExtractionSummary:
    stores = {source: fake_builder(folder, source, records) for source in sources}
    encoders = {source: FakeEncoder() for source in sources}
    arguments = {"sources": SOURCES, "encoders": encoders, "n_workers": 0, "load": fake_load}
    return extract_features(records, stores, **arguments | {"progress": False} | options)


def files(folder: Path) -> dict[str, bytes]:
    """All that is in the stores of both sources, byte by byte."""
    return {
        f"{place.name}/{path.name}": path.read_bytes()
        for place in (folder, folder.with_name(folder.name + "_flow"))
        for path in (place.iterdir() if place.is_dir() else [])
    }


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The stores, each extracted by itself."""
    folder = tmp_path_factory.mktemp("alone")
    for source in BOTH:
        run_extraction(folder / "store", folder / "log", N_VIDEOS, 0.0, 0, (source,))
    assert len(decoded(folder / "log")) == 2 * N_VIDEOS
    return files(folder / "store")


@pytest.mark.parametrize("n_workers", [0, 2])
def test_one_pass_decodes_once_and_gives_the_bytes_of_two(
    tmp_path: Path, alone: dict[str, bytes], n_workers: int
) -> None:
    run_extraction(tmp_path / "store", tmp_path / "log", N_VIDEOS, 0.0, n_workers, BOTH)
    assert len(alone) == 6
    assert files(tmp_path / "store") == alone
    assert len(decoded(tmp_path / "log")) == len(set(decoded(tmp_path / "log"))) == N_VIDEOS
    assert set(decoded_sources(tmp_path / "log")[1::2]) == {"rgb+flow"}


def test_a_video_may_be_bad_for_one_source_alone(tmp_path: Path) -> None:
    records = fake_records(tmp_path / "log", 6, v1="still", v4="bad")
    summary = extract(tmp_path / "store", records)
    rgb, flow = summary.sources["rgb"], summary.sources["flow"]
    assert (rgb.n_ok, rgb.n_bad, rgb.n_frames) == (5, 1, 5 * 6)
    assert (flow.n_ok, flow.n_bad, flow.n_frames) == (4, 2, 4 * 6)
    assert flow.reasons == (("kick/still1.mp4", "only one frame"), ("kick/bad4.mp4", "no video stream in it"))
    table = FeatureStore.open(tmp_path / "store_flow").table
    assert table.n_frames.tolist() == [40, 0, 40, 40, 0, 40]
    assert FeatureStore.open(tmp_path / "store").table.n_frames.tolist() == [40, 40, 40, 40, 0, 40]
    assert summary.n_frames == 9 * 6


def test_the_summary_has_a_line_for_each_source(tmp_path: Path) -> None:
    records = fake_records(tmp_path / "log", 3, v1="still")
    lines = str(extract(tmp_path / "store", records)).splitlines()
    assert lines[:3] == [
        "rgb: 3 videos with features, 0 bad; 0 were there already; 18 frames",
        "flow: 2 videos with features, 1 bad; 0 were there already; 12 frames",
        "  bad: kick/still1.mp4: only one frame",
    ]
    assert lines[3].startswith("together: 30 frames in ")
    (line,) = str(extract(tmp_path / "store", records, ("rgb",))).splitlines()
    assert line.startswith("3 videos with features, 0 bad; 3 were there already; 0 frames in ")


def test_a_killed_run_goes_on_for_the_source_that_lacks_a_chunk(tmp_path: Path, alone: dict[str, bytes]) -> None:
    """Killed when the chunk of rgb was recorded and that of flow was not."""

    class Killed(FakeEncoder):
        def encode_images(self, frames: torch.Tensor) -> torch.Tensor:
            if len(self.batch_sizes) == 4:
                raise KeyboardInterrupt
            return super().encode_images(frames)

    records = fake_records(tmp_path / "log", N_VIDEOS, v5="bad", v11="nan", v17="still")
    with pytest.raises(KeyboardInterrupt):
        extract(tmp_path / "store", records, encoders={"rgb": FakeEncoder(), "flow": Killed()})
    assert [len(list(path.glob("progress/*.json"))) for path in stores_in(tmp_path)] == [5, 4]
    (tmp_path / "log").unlink()
    summary = extract(tmp_path / "store", records)
    assert decoded_sources(tmp_path / "log")[1::2] == ["flow"] * 2 + ["rgb+flow"] * (N_VIDEOS - 10)
    assert [summary.sources[source].n_reused for source in BOTH] == [10, 8]
    assert files(tmp_path / "store") == alone


def stores_in(folder: Path) -> list[Path]:
    return [folder / "store", folder / "store_flow"]


def test_a_finished_source_is_neither_decoded_nor_encoded_again(tmp_path: Path, alone: dict[str, bytes]) -> None:
    run_extraction(tmp_path / "store", tmp_path / "log", N_VIDEOS, 0.0, 0, ("rgb",))
    (tmp_path / "log").unlink()
    records = fake_records(tmp_path / "log", N_VIDEOS, v5="bad", v11="nan", v17="still")
    summary = extract(tmp_path / "store", records, encoders={"flow": FakeEncoder()})
    assert decoded_sources(tmp_path / "log")[1::2] == ["flow"] * N_VIDEOS
    assert (summary.sources["rgb"].n_reused, summary.sources["rgb"].n_frames) == (N_VIDEOS, 0)
    assert files(tmp_path / "store") == alone
    assert extract(tmp_path / "store", records, encoders=None).n_frames == 0


def test_each_unfinished_source_needs_its_own_encoder(tmp_path: Path) -> None:
    records = fake_records(tmp_path / "log", 2)
    with pytest.raises(ValueError, match="an encoder of 'flow' is needed"):
        extract(tmp_path / "store", records, encoders={"rgb": FakeEncoder()})
    wrong = FakeEncoder(identity=dict(fake_extraction.IDENTITY, model="large"))
    with pytest.raises(StoreMismatch, match=r"store_flow .*(.|\n)*encoder.model: the store has 'tiny'"):
        extract(tmp_path / "store", records, encoders={"rgb": FakeEncoder(), "flow": wrong})
    assert not decoded(tmp_path / "log")


def test_stores_in_other_orders_are_filled_one_after_the_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    records = fake_records(tmp_path / "log", 6, v1="still", v4="bad")
    stores = {"rgb": fake_builder(tmp_path / "store", "rgb", records)}
    stores["flow"] = fake_builder(tmp_path / "store", "flow", records[::-1])
    encoders = {source: FakeEncoder() for source in BOTH}
    with caplog.at_level(logging.WARNING):
        extract_features(
            records, stores, sources=SOURCES, encoders=encoders, n_workers=0, load=fake_load, progress=False
        )
    assert "differ in order of the videos: they are filled one after the other" in caplog.text
    assert decoded_sources(tmp_path / "log")[1::2] == ["rgb"] * 6 + ["flow"] * 6
    for source, ordered in (("rgb", records), ("flow", records[::-1])):
        run_extraction_alone(tmp_path / "alone", source, ordered)
    assert list(files(tmp_path / "store").values()) == list(files(tmp_path / "alone").values())


def run_extraction_alone(folder: Path, source: str, records: Sequence[VideoRecord]) -> None:
    stores = {source: fake_builder(folder, source, records)}
    encoders = {source: FakeEncoder()}
    extract_features(records, stores, sources=SOURCES, encoders=encoders, n_workers=0, load=fake_load, progress=False)


@pytest.mark.parametrize(("changes", "what"), [({"seed": 1}, "seed"), ({"n_frames": 1}, "n_frames, rows per chunk")])
def test_stores_of_other_settings_are_filled_one_after_the_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, changes: dict[str, Any], what: str
) -> None:
    records = fake_records(tmp_path / "log", 3)
    settings = {"rgb": fake_settings(), "flow": fake_flow_settings(**changes)}
    stores = {
        source: StoreBuilder.create_or_open(tmp_path / source, settings=asked, records=records)
        for source, asked in settings.items()
    }
    assert joint_groups(stores) == [{source: store} for source, store in stores.items()]
    assert f"differ in {what}:" in caplog.text


def test_where_one_source_is_always_bad_the_other_is_finished_first(tmp_path: Path) -> None:
    records = fake_records(tmp_path / "log", 3, v0="still", v1="still", v2="still")
    for n_decoded in (3, 6):
        with pytest.raises(ValueError, match=r"every one of the 3 videos is bad for 'flow'(.|\n)*only one frame"):
            extract(tmp_path / "store", records)
        assert FeatureStore.open(tmp_path / "store").ok.all()
        assert len(decoded(tmp_path / "log")) == n_decoded


def test_a_chunk_is_claimed_for_all_that_lack_it_or_not_at_all(tmp_path: Path) -> None:
    records = fake_records(tmp_path / "log", 4)
    mine, theirs = ({source: fake_builder(tmp_path / "s", source, records) for source in BOTH} for _ in range(2))
    held = theirs["flow"].try_claim(0)
    assert held is not None
    claims = list(claim_chunks(mine))
    assert [(list(claim.claims), claim.rows) for claim in claims] == [(["rgb", "flow"], range(2, 4))]
    other = theirs["rgb"].try_claim(0)  # what was claimed of the chunk in vain is free again
    assert other is not None
    assert list(claim_chunks(theirs)) == []
    for claim in (held, other, *claims):
        claim.release()
    assert len(list(claim_chunks(theirs))) == 2


def test_what_another_process_finished_is_left_out(tmp_path: Path) -> None:
    records = fake_records(tmp_path / "log", 2)
    mine = {source: fake_builder(tmp_path / "s", source, records) for source in BOTH}
    extract(tmp_path / "s", records, ("rgb",))
    (claim,) = claim_chunks(mine)
    assert list(claim.claims) == ["flow"]
    claim.release()
    assert not mine["rgb"].lacks(0)


@needs_sigkill
@pytest.mark.parametrize("others", [[("rgb",), ("flow",)], [("flow", "rgb"), BOTH]])
def test_processes_share_the_work_whatever_each_works_on(
    tmp_path: Path, alone: dict[str, bytes], others: list[Sequence[str]]
) -> None:
    workers = [_started(tmp_path, 0.01, sources) for sources in others]
    for worker in workers:
        worker.join(120)
        assert worker.exitcode == 0
    run_extraction(tmp_path / "store", tmp_path / "log", N_VIDEOS, 0.0, 0, BOTH)
    assert files(tmp_path / "store") == alone
    sources = [source for text in decoded_sources(tmp_path / "log")[1::2] for source in text.split("+")]
    assert sorted(sources) == ["flow"] * N_VIDEOS + ["rgb"] * N_VIDEOS


@needs_sigkill
def test_sigkill_at_random_moments_loses_nothing(tmp_path: Path, alone: dict[str, bytes]) -> None:
    _kill_and_resume(tmp_path, [0.0, *(random.Random(seed).uniform(0.02, 0.2) for seed in range(2))])
    assert files(tmp_path / "store") == alone


@pytest.mark.slow
@needs_sigkill
def test_sigkill_at_many_random_moments_loses_nothing(
    tmp_path: Path, alone: dict[str, bytes], short_form: bool
) -> None:
    if short_form:
        pytest.skip("the test above is the short form")
    n_kills = 12
    _kill_and_resume(tmp_path, [random.Random(10 + seed).uniform(0.0, 0.3) for seed in range(n_kills)], n_workers=2)
    assert files(tmp_path / "store") == alone


def test_real_frames_with_the_real_loader(tmp_path: Path) -> None:
    """A moving video, a still of one frame and a text that is none, extracted together and alone, with workers."""
    records = real_records(tmp_path)
    preprocess = Preprocess(crop_size=8, resize_size=8)
    changes = {"preprocess": preprocess, "flip": True}
    settings = {
        "rgb": fake_settings(**changes),
        "flow": fake_flow_settings(**changes | {"corruption": "noise:0.05"}),
    }

    def run(folder: Path, sources: Sequence[str], n_workers: int) -> ExtractionSummary:
        stores = {
            source: StoreBuilder.create_or_open(folder / source, settings=settings[source], records=records)
            for source in sources
        }
        encoders = {source: FakeEncoder(preprocess=preprocess) for source in sources}
        return extract_features(
            records, stores, sources=SOURCES, encoders=encoders, n_workers=n_workers, progress=False
        )

    together = run(tmp_path / "both", BOTH, 2)
    for source, n_ok in (("rgb", 3), ("flow", 2)):
        summary = run(tmp_path / "alone", (source,), 0).sources[source]
        assert summary.reasons == together.sources[source].reasons
        assert (summary.n_ok, together.sources[source].n_ok) == (n_ok, n_ok)
        names = sorted(path.name for path in (tmp_path / "both" / source).iterdir())
        assert names == ["features.npy", "manifest.json", "videos.csv"]
        for name in names:
            own, joint = (tmp_path / place / source / name for place in ("alone", "both"))
            assert own.read_bytes() == joint.read_bytes()


def real_records(folder: Path) -> list[VideoRecord]:
    rng = np.random.default_rng(0)
    ground = np.asarray(Image.fromarray(rng.integers(0, 256, (8, 12, 3), dtype=np.uint8)).resize((48, 32)))
    for name, n_frames in (("right", 9), ("down", 7), ("still", 1)):
        (folder / name).mkdir()
        for number in range(n_frames):
            frame = np.roll(ground, number, axis=1 if name == "right" else 0)
            Image.fromarray(frame).save(folder / name / f"{number}.png")
    (folder / "text.mp4").write_text("this is no video")
    return [VideoRecord(name, folder / name, "kick", "train") for name in ("right", "still", "text.mp4", "down")]


def _started(folder: Path, seconds_per_batch: float, sources: Sequence[str], n_workers: int = 0) -> BaseProcess:
    arguments = (folder / "store", folder / "log", N_VIDEOS, seconds_per_batch, n_workers, sources)
    return start_process(run_extraction, *arguments)


def _kill_and_resume(folder: Path, seconds: Sequence[float], n_workers: int = 0) -> None:
    """Kill extractions that long after they began to decode, then let one finish."""
    for pause in seconds:
        process = _started(folder, 0.1, BOTH, n_workers)
        n_seen = len(decoded(folder / "log"))
        _wait_until(lambda n_seen=n_seen: len(decoded(folder / "log")) > n_seen)
        time.sleep(pause)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL, "it ended before it was killed"
    run_extraction(folder / "store", folder / "log", N_VIDEOS, 0.0, 0, BOTH)


def _wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)
