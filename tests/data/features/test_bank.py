import numpy as np
import pytest
import torch
from small_world import (
    FLOW_D,
    N_CLASSES,
    N_VIDEOS,
    D,
    MemoryStore,
    T,
    class_text,
    small_bank,
    small_sampler,
    two_source_bank,
)

from mdmf.data.features.bank import FeatureBank

BAD_FLOW = (0, 9, 10, 47)


def test_episodes_hold_the_features_of_their_rows_scaled():
    store = MemoryStore()
    rows = small_sampler(store, n_variants=2).batch(0, 5)
    episode = small_bank(store, n_variants=2).episode(rows)
    expected = store.features[rows.support_rows, rows.support_variants].astype(np.float32) * 2.0
    torch.testing.assert_close(episode.support["rgb"], torch.from_numpy(expected), atol=0, rtol=0)
    expected = store.features[rows.query_rows, rows.query_variants].astype(np.float32) * 2.0
    torch.testing.assert_close(episode.query["rgb"], torch.from_numpy(expected), atol=0, rtol=0)
    assert episode.query["rgb"].dtype == torch.float32
    torch.testing.assert_close(episode.class_text[2, 1], class_text()[rows.class_ids[2, 1]], atol=0, rtol=0)


def test_resident_and_read_on_demand_are_the_same():
    store = MemoryStore()
    rows = small_sampler(store, n_variants=2).batch(3, 4)
    resident, on_demand = small_bank(store, n_variants=2), small_bank(store, n_variants=2, resident_bytes=0)
    store.n_reads = 0
    there = resident.episode(rows)
    assert store.n_reads == 0
    torch.testing.assert_close(there.query["rgb"], on_demand.episode(rows).query["rgb"], atol=0, rtol=0)
    assert store.n_reads > 0


@pytest.mark.parametrize("resident_bytes", [2**30, 0])
def test_a_video_without_a_source_has_zeros_there_and_is_marked(resident_bytes):
    bank = two_source_bank(bad_flow=BAD_FLOW, n_variants=2, resident_bytes=resident_bytes)
    flow = bank.sources["flow"].store
    rows = small_sampler(flow, n_variants=2, n_shot=2).batch(0, 20)
    episode = bank.episode(rows)
    assert episode.support["rgb"].shape[3:] == (T, D)
    assert episode.support["flow"].shape[3:] == (T, FLOW_D)
    assert set(episode.support_present) == set(episode.query_present) == {"flow"}  # every video has rgb
    for part, videos, variants, present in (
        (episode.support, rows.support_rows, rows.support_variants, episode.support_present),
        (episode.query, rows.query_rows, rows.query_variants, episode.query_present),
    ):
        there = ~np.isin(videos, BAD_FLOW)
        assert there.any()
        assert not there.all()
        assert torch.equal(present["flow"], torch.from_numpy(there))
        expected = flow.features[videos, variants].astype(np.float32) * 2.0 * there[..., None, None]
        torch.testing.assert_close(part["flow"], torch.from_numpy(expected), atol=0, rtol=0)
        rgb = bank.sources["rgb"].store.features[videos, variants].astype(np.float32) * 2.0
        torch.testing.assert_close(part["rgb"], torch.from_numpy(rgb), atol=0, rtol=0)


def test_resident_and_on_demand_are_the_same_with_bad_videos():
    resident, on_demand = (
        two_source_bank(bad_rgb=(3, 20), bad_flow=BAD_FLOW, n_variants=2, resident_bytes=size) for size in (2**30, 0)
    )
    rows = small_sampler(MemoryStore(), n_variants=2).batch(0, 30)
    kept, read = resident.episode(rows), on_demand.episode(rows)
    for name in ("support", "query", "support_present", "query_present"):
        first, second = getattr(kept, name), getattr(read, name)
        assert set(first) == set(second) == {"rgb", "flow"}
        assert all(torch.equal(first[source], second[source]) for source in first)
    positions = np.arange(resident.n_videos)
    for source, features in resident.features_at(positions).items():
        assert torch.equal(features, on_demand.features_at(positions)[source])


def test_a_split_whose_videos_are_all_there_has_no_masks():
    """Bad videos of another split do not matter."""
    store = MemoryStore(bad=(0, 1))
    rows = np.arange(N_VIDEOS, N_CLASSES * N_VIDEOS)
    bank = FeatureBank({"rgb": store}, rows, class_text=None)
    assert bank.presence(rows) == {}
    assert bank.positions(rows).tolist() == list(range(len(rows)))


def test_all_videos_of_a_source_may_be_missing():
    bank = two_source_bank(bad_flow=range(N_CLASSES * N_VIDEOS))
    episode = bank.episode(small_sampler(MemoryStore()).batch(0, 2))
    assert not episode.query["flow"].any()
    assert not episode.query_present["flow"].any()
