"""Rows of `benchmarks/speed.py` about data and commands: sampling, start, extraction, help."""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.feature_world import FeatureWorld, make_feature_world
from benchmarks.model_rows import N_EPISODES
from benchmarks.timing import Row, Timed, timed
from mdmf.config import load_settings
from mdmf.encoders.frozen import FrozenEncoder
from mdmf.engine.workspace import Workspace

ROOT = Path(__file__).resolve().parents[1]


def sampling_row(world: FeatureWorld) -> Row:
    """Time to sample 10,000 episodes at once."""
    ours = timed(lambda: world.sampler().batch(0, N_EPISODES), repeats=9)
    return Row(f"sampling {N_EPISODES:,} episodes", ours, "<= 0.2 s", ours.median <= 0.2)


def help_row() -> Row:
    """Time of `--help` of the slowest script."""
    scripts = sorted((ROOT / "tools").glob("*.py"))
    answers = {
        script.name: timed(
            lambda script=script: subprocess.run([sys.executable, script, "--help"], check=True, capture_output=True),
            repeats=3,
        )
        for script in scripts
    }
    name, slowest = max(answers.items(), key=lambda item: item[1].median)
    what = f"tools/*.py --help, the slowest of {len(scripts)} ({name})"
    return Row(what, slowest, "<= 1 s", slowest.median <= 1)


_START = """
import json, sys, time
sys.path.insert(0, {root!r})
from pathlib import Path
import numpy as np, torch
from mdmf.data.listing.formats import ListingSettings
from mdmf.data.listing.index import build_index
from mdmf.data.episodes import EpisodeSampler
from mdmf.data.features.store import FeatureStore
from mdmf.data.features.bank import FeatureBank
def peak():  # of this process only; getrusage includes the parent process
    return int(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
before = peak()
started = time.perf_counter()
listing = ListingSettings("large", Path({videos!r}), class_split="random", split_fractions=(1, 0, 0))
index = build_index(listing)
records = [record for record in index.records if record.split == "train"]
store = FeatureStore.open(Path({store!r}))
rows = store.rows_of([record.video_id for record in records])
number = {{name: place for place, name in enumerate(index.classes["train"])}}
class_ids = np.full(len(store), -1, dtype=np.int64)
class_ids[rows] = [number[record.class_name] for record in records]
bank = FeatureBank({{"rgb": store}}, rows, class_text=None)
sampler = EpisodeSampler(class_ids, class_names=list(number), n_way=5, n_shot=1, n_query=1, seed=0, split="train")
episode = bank.episode(sampler.batch(0, 16))
seconds = time.perf_counter() - started
after = peak()
assert len(rows) == {n_videos}, len(rows)
print(json.dumps([seconds, (after - before) / 1024]))
"""


def start_row(folder: Path, *, n_videos: int = 100_000, n_classes: int = 100) -> Row:
    """Time and memory of a new process that lists 100,000 videos, opens their store and gathers the first episodes."""
    world = make_feature_world(folder / "large", n_classes=n_classes, n_videos=n_videos // n_classes, D=512, T=8)
    videos = folder / "videos"
    for video_id in world.open().table.video_id:
        path = videos / video_id
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    code = _START.format(root=str(ROOT), videos=str(videos), store=str(world.folder), n_videos=n_videos)
    measured = []
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True)
        measured.append(json.loads(done.stdout))
    ours, memory = Timed([seconds for seconds, _ in measured]), statistics.median(memory for _, memory in measured)
    return Row(
        f"index, store and sampler of {n_videos:,} videos, to the first 16 episodes ({memory:.0f} MB more memory)",
        ours,
        "<= 3 s, <= 300 MB",
        ours.median <= 3 and memory <= 300,
        more={"megabytes": memory},
    )


class _NoEncoder:
    """An encoder that returns the same feature for every frame, to measure decoding alone."""

    def __init__(self, encoder: FrozenEncoder) -> None:
        self._encoder = encoder

    def __getattr__(self, name: str) -> object:
        return getattr(self._encoder, name)

    def encode_images(self, frames: torch.Tensor) -> torch.Tensor:
        """(B, S, S, 3) -> (B, D)."""
        return torch.ones(len(frames), self._encoder.feature_size)


def extraction_row(folder: Path, *, n_videos_per_class: int = 12) -> Row:
    """Time to extract the embedded world with the tiny encoder; decoding and encoding alone each use all cores."""
    overrides = [f"data.root={folder / 'videos'}", f"data.shapes.n_videos_per_class={n_videos_per_class}"]
    settings = load_settings("demo", [*overrides, "model.name=otam", "evaluation.baselines=[]"])
    first = Workspace(settings, progress=False)
    encoder, n_frames = first.encoder("rgb"), len(first.index.records) * settings.frames.n_frames
    size = encoder.preprocess.crop_size
    frames = torch.randint(256, (n_frames, size, size, 3), dtype=torch.uint8)

    def extraction(instead: _NoEncoder | None = None) -> float:
        """Seconds of an extraction, without the time for the index and the encoder."""
        with tempfile.TemporaryDirectory() as store:
            data = settings.data.model_copy(update={"store": Path(store) / "rgb"})
            workspace = Workspace(settings.model_copy(update={"data": data}), progress=False)
            _ = workspace.index, workspace.encoder("rgb")
            if instead is not None:
                workspace.encoder = lambda source="rgb": instead  # type: ignore[method-assign]
            started = time.perf_counter()
            workspace.extract()
            return time.perf_counter() - started

    @torch.inference_mode()
    def encoding() -> None:
        for batch in frames.split(settings.encoder.batch_frames):
            encoder.encode_images(batch)

    extraction()
    ours, decoding = Timed([extraction() for _ in range(3)]), Timed([extraction(_NoEncoder(encoder)) for _ in range(3)])
    alone = timed(encoding, repeats=3)
    ratio = ours.median / (decoding.median + alone.median)
    return Row(
        f"extraction, {len(first.index.records)} videos, tiny encoder (alone: decoding {decoding.median:.2f} s, "
        f"encoding {alone.median:.2f} s)",
        ours,
        "<= 1.1x (decoding + encoding alone)",
        ratio <= 1.1,
        ratio=ratio,
        more={"decoding_seconds": decoding.median, "encoding_seconds": alone.median},
    )
