"""Videos to features: decode, encode, store; every video once, whatever interrupts it and whoever helps."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from tqdm import tqdm

from mdmf.data.clip_loader import ClipViews, load_clip_views
from mdmf.data.store import FeatureStore, StoreSettings, check_settings, read_manifest
from mdmf.data.store_builder import Claim, StoreBuilder, VideoOutcome
from mdmf.engine.decode_pool import BadVideo, ClipLoader, Decoded, DecodePool, DecodeTask, Submitted
from mdmf.structures import VideoRecord

if TYPE_CHECKING:
    from mdmf.encoders.frozen import FrozenEncoder

POLL_SECONDS = 0.2  # between looks at what other processes have finished
MIN_VIDEOS_FOR_WORKERS = 32  # for fewer, starting processes takes longer than it saves
MAX_AUTOMATIC_WORKERS = 16
N_REASONS = 5

Encode = Callable[[Sequence[Decoded]], tuple[np.ndarray, list[VideoOutcome]]]


@dataclass(frozen=True)
class ExtractionSummary:
    """What an extraction ended with.

    Attributes:
        n_ok: videos in the store with features.
        n_bad: videos in the store without.
        n_reused: videos of both kinds that this call did not have to look at.
        n_frames: frames that this call encoded.
        seconds: that it took.
        reasons: (video id, reason) of the first bad videos.
    """

    n_ok: int
    n_bad: int
    n_reused: int
    n_frames: int
    seconds: float
    reasons: tuple[tuple[str, str], ...]

    @property
    def frames_per_second(self) -> float:
        """Encoded frames a second; 0 where all was there already."""
        return self.n_frames / self.seconds if self.seconds > 0 else 0.0

    def __str__(self) -> str:
        lines = [
            f"{self.n_ok} videos with features, {self.n_bad} bad; {self.n_reused} were there already; "
            f"{self.n_frames} frames in {self.seconds:.1f} s ({self.frames_per_second:.0f} frames/s)"
        ]
        lines += [f"  bad: {video_id}: {reason}" for video_id, reason in self.reasons]
        if self.n_bad > len(self.reasons):
            lines.append(f"  … and {self.n_bad - len(self.reasons)} more; see the column `reason` of videos.csv")
        return "\n".join(lines)


def extract_features(
    records: Sequence[VideoRecord],
    store: StoreBuilder,
    *,
    encoder: FrozenEncoder | None,
    n_workers: int | None = None,
    batch_frames: int = 256,
    load: ClipLoader = load_clip_views,
    progress: bool = True,
) -> ExtractionSummary:
    """Finish a feature store. Interrupted at any moment, it goes on when it is called again.

    What is stored does not depend on the workers or on the order in which they finish: frames are encoded chunk by
    chunk, so a batch always holds the same frames.

    Args:
        records: the videos of the store, in any order.
        store: from `StoreBuilder.create_or_open`.
        encoder: may be None where the store is finished already.
        n_workers: processes that decode; 0 decodes in this one; None chooses by the number of videos and cores.
        batch_frames: most frames the encoder is given at once.
        load: called as `load_clip_views` is; importable, for the workers.
        progress: show a bar.

    Raises:
        StoreMismatch: if the encoder is not the one of the store.
        ValueError: if every video is bad, or a feature is too large for float16.
    """
    started = time.perf_counter()
    n_own, n_frames = 0, 0
    if not store.finish():
        encoder = _checked_encoder(store, encoder)
        n_workers = _automatic_workers(len(records) - store.n_finished) if n_workers is None else n_workers
        encode = partial(encode_clips, encoder=encoder, settings=store.settings, batch_frames=batch_frames)
        with DecodePool(load, n_workers=n_workers) as pool, _bar(store, progress) as bar:
            n_own, n_frames = _run(store, _tasks(store, records), pool, encode, _look_ahead(store, n_workers), bar)
    seconds = time.perf_counter() - started
    table = FeatureStore.open(store.folder).table
    n_bad = int((table.status == "bad").sum())
    reasons = tuple(table.bad_examples(N_REASONS))
    return ExtractionSummary(len(table) - n_bad, n_bad, len(table) - n_own, n_frames, seconds, reasons)


def encode_clips(
    clips: Sequence[Decoded], *, encoder: FrozenEncoder, settings: StoreSettings, batch_frames: int
) -> tuple[np.ndarray, list[VideoOutcome]]:
    """Features (videos, A, T, D) float32 of decoded videos, zeros for bad ones, and what became of each.

    Raises:
        ValueError: if a loader gave views of another shape than the settings ask for.
    """
    features = np.zeros((len(clips), settings.n_variants, settings.n_frames, encoder.feature_size), dtype=np.float32)
    good = {place: clip for place, clip in enumerate(clips) if not isinstance(clip, BadVideo)}
    if good:
        frames = np.concatenate([_flat_frames(clip, settings) for clip in good.values()])
        batches = [frames[start : start + batch_frames] for start in range(0, len(frames), batch_frames)]
        with torch.inference_mode():
            encoded = torch.cat([encoder.encode_images(torch.from_numpy(batch)).float().cpu() for batch in batches])
        features[list(good)] = encoded.numpy().reshape(len(good), *features.shape[1:])  # (B*A*T, D) -> (B, A, T, D)
    return features, [_outcome(clip) for clip in clips]


def _run(
    store: StoreBuilder, tasks: Sequence[DecodeTask], pool: DecodePool, encode: Encode, look_ahead: int, bar: tqdm
) -> tuple[int, int]:
    """Work until the store is finished, by us or by others; returns how many videos and frames were ours."""
    n_videos, n_frames = 0, 0
    while not store.finish():
        n_before = n_videos
        with contextlib.closing(_decoded_claims(store, tasks, pool, look_ahead)) as decoded_claims:
            for claim, clips in decoded_claims:
                with claim:
                    features, outcomes = encode(clips)
                    store.write(claim, features, outcomes)
                n_videos += len(claim.rows)
                n_frames += sum(not outcome.reason for outcome in outcomes) * math.prod(features.shape[1:3])
                bar.update(store.n_finished - bar.n)
        if n_videos == n_before:  # others hold all that is left; should one of them die, its chunks come free
            time.sleep(POLL_SECONDS)
            bar.update(store.n_finished - bar.n)
    bar.update(store.n_finished - bar.n)
    return n_videos, n_frames


def _decoded_claims(
    store: StoreBuilder, tasks: Sequence[DecodeTask], pool: DecodePool, look_ahead: int
) -> Generator[tuple[Claim, list[Decoded]], None, None]:
    """Claimed chunks with their decoded videos; up to `look_ahead` more are being decoded meanwhile."""
    queue: deque[tuple[Claim, Submitted]] = deque()
    try:
        for claim in store.claims():
            queue.append((claim, pool.submit([tasks[row] for row in claim.rows])))
            if len(queue) > look_ahead:
                yield _collected(queue, pool)
        while queue:
            yield _collected(queue, pool)
    finally:
        for claim, _ in queue:
            claim.release()


def _collected(queue: deque[tuple[Claim, Submitted]], pool: DecodePool) -> tuple[Claim, list[Decoded]]:
    claim, submitted = queue[0]
    clips = pool.collect(submitted)
    queue.popleft()  # only now: should decoding fail, the claim is still in the queue to be released
    return claim, clips


def _tasks(store: StoreBuilder, records: Sequence[VideoRecord]) -> list[DecodeTask]:
    """What to decode, row by row."""
    paths = {record.video_id: record.path for record in records}
    arguments = store.settings.loader_arguments()
    return [DecodeTask(Path(paths[video_id]), video_id, arguments) for video_id in store.table.video_id]


def _flat_frames(clip: ClipViews, settings: StoreSettings) -> np.ndarray:
    """(A, T, S, S, 3) -> (A*T, S, S, 3), checked."""
    views = clip.views
    if views.ndim != 5 or views.shape[:2] != (settings.n_variants, settings.n_frames) or views.dtype != np.uint8:
        raise ValueError(
            f"expected views uint8 ({settings.n_variants}, {settings.n_frames}, S, S, 3) from the loader, "
            f"got {views.dtype} {views.shape}"
        )
    return views.reshape(-1, *views.shape[2:])


def _outcome(clip: Decoded) -> VideoOutcome:
    if isinstance(clip, BadVideo):
        return VideoOutcome(clip.reason)
    return VideoOutcome(n_frames=clip.n_frames, fps=clip.fps)


def _checked_encoder(store: StoreBuilder, encoder: FrozenEncoder | None) -> FrozenEncoder:
    if encoder is None:
        raise ValueError(f"the feature store {store.folder} is not finished: an encoder is needed to go on")
    settings = replace(
        store.settings,
        encoder=encoder.identity,
        preprocess=encoder.preprocess,
        feature_size=encoder.feature_size,
    )
    check_settings(store.folder, read_manifest(store.folder), settings)
    return encoder


def _automatic_workers(n_pending: int) -> int:
    if n_pending < MIN_VIDEOS_FOR_WORKERS:
        return 0
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(MAX_AUTOMATIC_WORKERS, n_cores)


def _look_ahead(store: StoreBuilder, n_workers: int) -> int:
    """Chunks to decode ahead: two videos a worker, a chunk at least; none without workers."""
    return math.ceil(2 * n_workers / store.rows_per_chunk)


def _bar(store: StoreBuilder, progress: bool) -> tqdm:
    return tqdm(total=len(store.table), initial=store.n_finished, desc="encoding", unit=" videos", disable=not progress)
