"""Videos to features: decode once for all sources, encode, store; whatever interrupts it and whoever helps."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections import Counter, deque
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from mdmf.data.features.builder import StoreBuilder, VideoOutcome
from mdmf.data.features.claims import JointClaim, claim_chunks, joint_groups, unfinished
from mdmf.data.features.decode_pool import BadVideo, ClipLoader, Decoded, DecodePool, DecodeTask, Submitted
from mdmf.data.features.store import FeatureStore, StoreSettings, check_same_settings, read_manifest
from mdmf.data.sources.source import PictureSource
from mdmf.data.views.loader import SourceView, load_clip_views
from mdmf.structures import ImageEncoder, VideoRecord, ViewRule

POLL_SECONDS = 0.2  # between looks at what other processes have finished
MIN_VIDEOS_FOR_WORKERS = 32  # for fewer, starting processes takes longer than it saves
MAX_AUTOMATIC_WORKERS = 16
N_REASONS = 5


@dataclass(frozen=True)
class SourceSummary:
    """What the store of one source ended with.

    Attributes:
        n_ok: videos in the store with features.
        n_bad: videos in the store without.
        n_reused: videos of both kinds that this call did not have to look at.
        n_frames: frames that this call encoded.
        reasons: (video id, reason) of the first bad videos.
    """

    n_ok: int
    n_bad: int
    n_reused: int
    n_frames: int
    reasons: tuple[tuple[str, str], ...]

    @property
    def counts(self) -> str:
        """The videos, in words."""
        return f"{self.n_ok} videos with features, {self.n_bad} bad; {self.n_reused} were there already"

    @property
    def bad_lines(self) -> list[str]:
        """The first bad videos, a line each."""
        lines = [f"  bad: {video_id}: {reason}" for video_id, reason in self.reasons]
        if self.n_bad > len(self.reasons):
            lines.append(f"  … and {self.n_bad - len(self.reasons)} more; see the column `reason` of videos.csv")
        return lines


@dataclass(frozen=True)
class ExtractionSummary:
    """What an extraction ended with.

    Attributes:
        sources: source -> what its store ended with.
        seconds: that it took.
    """

    sources: dict[str, SourceSummary]
    seconds: float

    @property
    def n_frames(self) -> int:
        """Frames of all sources that this call encoded."""
        return sum(source.n_frames for source in self.sources.values())

    @property
    def frames_per_second(self) -> float:
        """Encoded frames a second; 0 where all was there already."""
        return self.n_frames / self.seconds if self.seconds > 0 else 0.0

    def __str__(self) -> str:
        speed = f"{self.n_frames} frames in {self.seconds:.1f} s ({self.frames_per_second:.0f} frames/s)"
        if len(self.sources) == 1:
            (only,) = self.sources.values()
            return "\n".join([f"{only.counts}; {speed}", *only.bad_lines])
        lines = [
            line
            for source, summary in self.sources.items()
            for line in (f"{source}: {summary.counts}; {summary.n_frames} frames", *summary.bad_lines)
        ]
        return "\n".join([*lines, f"together: {speed}"])


def extract_features(
    records: Sequence[VideoRecord],
    stores: Mapping[str, StoreBuilder],
    *,
    sources: Mapping[str, PictureSource],
    encoders: Mapping[str, ImageEncoder],
    n_workers: int | None = None,
    batch_frames: int = 256,
    encodes_on_cpu: bool = False,
    load: ClipLoader = load_clip_views,
    progress: bool = True,
) -> ExtractionSummary:
    """Finish the feature stores of some videos. Interrupted at any moment, it goes on when it is called again.

    Each video is decoded once for all sources that lack it (stores that list the videos in different orders are filled
    one after the other). What is stored does not depend on the other sources, on the workers or on the order in which
    they finish: frames are encoded chunk by chunk, so a batch always holds the same frames.

    Args:
        records: the videos of the stores, in any order.
        stores: source -> from `StoreBuilder.create_or_open`.
        sources: source -> what makes its pictures.
        encoders: source -> its encoder; those of finished stores may be missing.
        n_workers: processes that decode; 0 decodes in this one; None chooses by the number of videos and cores.
        batch_frames: most frames an encoder is given at once.
        encodes_on_cpu: the encoders compute on the cores that the workers decode on.
        load: called as `load_clip_views` is; importable, for the workers.
        progress: show a bar.

    Raises:
        StoreMismatch: if an encoder is not the one of its store.
        ValueError: if every video is bad for a source, or a feature is too large for float16.
    """
    started = time.perf_counter()
    left = unfinished(stores)
    work = _Work(
        paths={record.video_id: record.path for record in records},
        encoders={source: _checked_encoder(source, store, encoders) for source, store in left.items()},
        views={source: _source_view(sources[source], store.settings) for source, store in left.items()},
        batch_frames=batch_frames,
        encodes_on_cpu=encodes_on_cpu,
    )
    if left:
        n_pending = len(records) - min(store.n_finished for store in left.values())
        n_workers = _automatic_workers(n_pending) if n_workers is None else n_workers
        with DecodePool(load, n_workers=n_workers) as pool:
            for group in joint_groups(left):
                with _bar(group, progress) as bar:
                    work.fill(group, pool, look_ahead=work.look_ahead(group, n_workers), bar=bar)
    summaries = {
        source: summary_of(store, work.n_videos[source], work.n_frames[source]) for source, store in stores.items()
    }
    return ExtractionSummary(summaries, time.perf_counter() - started)


def encode_views(
    clips: Sequence[Decoded], *, source: str, encoder: ImageEncoder, rule: ViewRule, batch_frames: int
) -> tuple[np.ndarray, list[VideoOutcome]]:
    """Features (videos, A, T, D) float32 of one source, zeros for bad videos, and the outcome of each video."""
    features = np.zeros((len(clips), rule.n_variants, rule.n_frames, encoder.feature_size), dtype=np.float32)
    outcomes = [_outcome(clip, source) for clip in clips]
    frames = {
        place: clip.views[source].reshape(-1, *clip.views[source].shape[2:])  # (A, T, S, S, 3) -> (A*T, S, S, 3)
        for place, (clip, outcome) in enumerate(zip(clips, outcomes, strict=True))
        if not isinstance(clip, BadVideo) and not outcome.reason
    }
    if frames:
        together = np.concatenate(list(frames.values()))
        batches = [together[start : start + batch_frames] for start in range(0, len(together), batch_frames)]
        with torch.inference_mode():
            encoded = torch.cat([encoder.encode_images(torch.from_numpy(batch)).float().cpu() for batch in batches])
        features[list(frames)] = encoded.numpy().reshape(len(frames), *features.shape[1:])  # (B*A*T, D) -> (B, A, T, D)
    return features, outcomes


@dataclass(frozen=True)
class _Work:
    """What this call does for the unfinished stores, and how much it has done.

    Attributes:
        paths: video id -> where it lies.
        encoders: source -> its encoder.
        views: source -> what it asks of the loader.
        n_videos: source -> videos that were this call's.
        n_frames: source -> frames that this call encoded.
    """

    paths: Mapping[str, Path]
    encoders: Mapping[str, ImageEncoder]
    views: Mapping[str, SourceView]
    batch_frames: int
    encodes_on_cpu: bool
    n_videos: Counter[str] = field(default_factory=Counter)
    n_frames: Counter[str] = field(default_factory=Counter)

    def fill(self, stores: Mapping[str, StoreBuilder], pool: DecodePool, *, look_ahead: int, bar: tqdm) -> None:
        """Work until the stores (alike in rows) are finished, by us or by others."""
        while left := unfinished(stores):
            n_before = self.n_videos.total()
            with contextlib.closing(self._decoded_claims(left, pool, look_ahead)) as decoded_claims:
                for claim, clips in decoded_claims:
                    with claim:
                        self._store(left, claim, clips)
                    _advance(bar, stores)
            if self.n_videos.total() == n_before:  # others hold all that is left; should one die, its chunks come free
                time.sleep(POLL_SECONDS)
                _advance(bar, stores)
        _advance(bar, stores)

    def look_ahead(self, stores: Mapping[str, StoreBuilder], n_workers: int) -> int:
        """Chunks to decode while others are encoded: two videos a worker, a chunk at least; none without workers.

        None either where the encoder computes on the cores that the workers fill: one after the other, each with all
        cores, takes no longer, and threads that wait for each other by spinning are not in each other's way.
        """
        if self.encodes_on_cpu and n_workers >= _n_cores():
            return 0
        return math.ceil(2 * n_workers / next(iter(stores.values())).rows_per_chunk)

    def _store(self, stores: Mapping[str, StoreBuilder], joint_claim: JointClaim, clips: Sequence[Decoded]) -> None:
        for source, claim in joint_claim.claims.items():
            encoder, rule = self.encoders[source], stores[source].settings.rule
            features, outcomes = encode_views(
                clips, source=source, encoder=encoder, rule=rule, batch_frames=self.batch_frames
            )
            stores[source].write(claim, features, outcomes)
            n_good = sum(not outcome.reason for outcome in outcomes)
            self.n_videos[source] += len(clips)
            self.n_frames[source] += n_good * rule.n_variants * rule.n_frames

    def _decoded_claims(
        self, stores: Mapping[str, StoreBuilder], pool: DecodePool, look_ahead: int
    ) -> Generator[tuple[JointClaim, list[Decoded]], None, None]:
        """Claimed chunks with their decoded videos; up to `look_ahead` more are being decoded meanwhile."""
        queue: deque[tuple[JointClaim, Submitted]] = deque()
        try:
            for claim in claim_chunks(stores):
                queue.append((claim, pool.submit(self._tasks(stores, claim))))
                if len(queue) > look_ahead:
                    yield _collected(queue, pool)
            while queue:
                yield _collected(queue, pool)
        finally:
            for claim, _ in queue:
                claim.release()

    def _tasks(self, stores: Mapping[str, StoreBuilder], claim: JointClaim) -> list[DecodeTask]:
        """What to decode of a chunk: for the sources that lack it alone."""
        store = stores[next(iter(claim.claims))]
        views = {source: self.views[source] for source in claim.claims}
        video_ids = [store.table.video_id[row] for row in claim.rows]
        return [DecodeTask(self.paths[video_id], video_id, views, store.settings.rule) for video_id in video_ids]


def _collected(queue: deque[tuple[JointClaim, Submitted]], pool: DecodePool) -> tuple[JointClaim, list[Decoded]]:
    claim, submitted = queue[0]
    clips = pool.collect(submitted)
    queue.popleft()  # only now: should decoding fail, the claim is still in the queue to be released
    return claim, clips


def _outcome(clip: Decoded, source: str) -> VideoOutcome:
    if source in clip.problems:
        return VideoOutcome(clip.problems[source])  # as if the source had been alone
    if isinstance(clip, BadVideo):
        return VideoOutcome(clip.reason)
    return VideoOutcome(n_frames=clip.n_frames, fps=clip.fps)


def _checked_encoder(source: str, store: StoreBuilder, encoders: Mapping[str, ImageEncoder]) -> ImageEncoder:
    if source not in encoders:
        raise ValueError(
            f"the feature store {store.folder} is not finished: an encoder of {source!r} is needed to go on"
        )
    encoder = encoders[source]
    check_same_settings(store.folder, read_manifest(store.folder), store.settings.with_encoder(encoder))
    return encoder


def _source_view(source: PictureSource, settings: StoreSettings) -> SourceView:
    if settings.preprocess is None:
        raise ValueError("the settings of a feature store without preprocess cannot be decoded for")
    return SourceView(source, settings.preprocess, settings.corruption)


def summary_of(store: StoreBuilder, n_own: int, n_frames: int) -> SourceSummary:
    """What a finished store ended with, after a call that did `n_own` of its videos and made `n_frames` frames."""
    table = FeatureStore.open(store.folder).table
    n_bad = int((table.status == "bad").sum())
    return SourceSummary(
        n_ok=len(table) - n_bad,
        n_bad=n_bad,
        n_reused=len(table) - n_own,
        n_frames=n_frames,
        reasons=tuple(table.bad_examples(N_REASONS)),
    )


def _automatic_workers(n_pending: int) -> int:
    if n_pending < MIN_VIDEOS_FOR_WORKERS:
        return 0
    return min(MAX_AUTOMATIC_WORKERS, _n_cores())


def _n_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _bar(stores: Mapping[str, StoreBuilder], progress: bool) -> tqdm:
    names = f"encoding {' and '.join(stores)}" if len(stores) > 1 else "encoding"
    total = len(next(iter(stores.values())).table)
    return tqdm(total=total, initial=_n_finished(stores), desc=names, unit=" videos", disable=not progress)


def _advance(bar: tqdm, stores: Mapping[str, StoreBuilder]) -> None:
    bar.update(_n_finished(stores) - bar.n)


def _n_finished(stores: Mapping[str, StoreBuilder]) -> int:
    """Videos that all of the stores have."""
    return min(store.n_finished for store in stores.values())
