"""Features that another program made, from their files to stores; whatever interrupts it and whoever helps."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np
from tqdm import tqdm

from mdmf.data.features.builder import StoreBuilder, VideoOutcome
from mdmf.data.features.claims import claim_chunks, unfinished
from mdmf.data.features.extractor import POLL_SECONDS, SourceSummary, summary_of
from mdmf.data.sources.source import FeatureArrays, FeatureSource
from mdmf.data.views.view_plan import plan_views
from mdmf.structures import VideoRecord, ViewRule


def import_features(
    records: Sequence[VideoRecord],
    stores: Mapping[str, StoreBuilder],
    sources: Mapping[str, FeatureSource],
    *,
    progress: bool = True,
) -> dict[str, SourceSummary]:
    """Finish the feature stores of some videos. Interrupted at any moment, it goes on when it is called again.

    Args:
        records: the videos of the stores, in any order.
        stores: source -> from `StoreBuilder.create_or_open`.
        sources: source -> what reads its features.
        progress: show a bar.

    Returns:
        Source -> what its store ended with.

    Raises:
        ValueError: if every video is bad for a source, or a feature is too large for float16.
    """
    by_id = {record.video_id: record for record in records}
    summaries = {}
    for name, store in stores.items():
        n_videos, n_frames = 0, 0
        with (
            sources[name].open() as arrays,
            tqdm(total=len(store.table), desc=f"importing {name}", unit=" videos", disable=not progress) as bar,
        ):
            while unfinished({name: store}):
                n_before = n_videos
                for claim in claim_chunks({name: store}):
                    with claim:
                        videos = [by_id[store.table.video_id[row]] for row in claim.rows]
                        features, outcomes = _chunk(videos, arrays, store)
                        store.write(claim.claims[name], features, outcomes)
                    n_videos += len(videos)
                    n_frames += sum(not outcome.reason for outcome in outcomes) * features[0, ..., 0].size
                    bar.update(store.n_finished - bar.n)
                if n_videos == n_before:  # others hold all that is left; should one die, its chunks come free
                    time.sleep(POLL_SECONDS)
        summaries[name] = summary_of(store, n_videos, n_frames)
    return summaries


def _chunk(
    videos: Sequence[VideoRecord], arrays: FeatureArrays, store: StoreBuilder
) -> tuple[np.ndarray, list[VideoOutcome]]:
    """Features (videos, A, T, D) float32, zeros for bad videos, and what became of each."""
    rule, feature_size = store.settings.rule, store.settings.feature_size
    features = np.zeros((len(videos), rule.n_variants, rule.n_frames, feature_size or 0), dtype=np.float32)
    outcomes = []
    for place, video in enumerate(videos):
        try:
            rows = arrays.read(video)
            if rows.shape[1] != feature_size:
                raise ValueError(f"its features have size {rows.shape[1]}, those of most videos {feature_size}")
            features[place] = rows[_chosen_rows(len(rows), rule, video.video_id)]
        except ValueError as error:
            outcomes.append(VideoOutcome(" ".join(str(error).split())))
        else:
            outcomes.append(VideoOutcome(n_frames=len(rows)))
    return features, outcomes


def _chosen_rows(n_available: int, rule: ViewRule, video_id: str) -> np.ndarray:
    """(A, T) the rows of each view, as the view rule chooses frames; all of them where there are T."""
    if n_available == rule.n_frames:
        return np.broadcast_to(np.arange(n_available), (rule.n_variants, n_available))
    return plan_views(rule, n_available, video_id).numbers
