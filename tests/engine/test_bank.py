import numpy as np
import torch
from small_world import MemoryStore, class_text, small_bank, small_sampler


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
