from itertools import pairwise

import numpy as np
import pytest
from small_world import D, MemoryStore, T

from mdmf.corruptions import parse_corruption
from mdmf.data.features.readers import CorruptedReader, ReorderedReader
from mdmf.data.views.corruption import corrupt_features, corruption_generator

BAD = (2, 30)


def corrupted(text: str, *, source: str = "rgb", seed: int = 0, store: MemoryStore | None = None) -> CorruptedReader:
    store = store or MemoryStore(bad=BAD)
    video_ids = [f"class/{row}.mp4" for row in range(len(store.features))]
    return CorruptedReader(store, parse_corruption(text), video_ids=video_ids, source=source, seed=seed)


def good_rows() -> np.ndarray:
    return np.flatnonzero(MemoryStore(bad=BAD).ok)


def read_all(reader: CorruptedReader, variant: int = 0) -> np.ndarray:
    rows = good_rows()
    return reader.read(rows, np.full_like(rows, variant))


class TestReordered:
    def test_rows_are_those_of_the_other_store(self):
        """Video i of the other store stands in row order[i] here; it may also know fewer videos."""
        store, order = MemoryStore(bad=(5,)), np.array([7, 5, 0, 11])
        reader = ReorderedReader(store, order)
        assert reader.ok.tolist() == [True, False, True, True]
        rows, variants = np.array([[3, 0], [2, 3]]), np.array([[0, 1], [1, 0]])
        expected = store.features[[[11, 7], [0, 11]], variants]
        np.testing.assert_array_equal(reader.read(rows, variants), expected)

    def test_sizes_and_scale_are_those_of_the_store(self):
        reader = ReorderedReader(MemoryStore(n_variants=3), np.array([1, 0]))
        assert (reader.n_variants, reader.n_frames, reader.feature_size) == (3, T, D)
        assert reader.feature_scale == MemoryStore.feature_scale


class TestCorrupted:
    @pytest.mark.parametrize("text", ["drop:0.5", "freeze:0.5", "feature_noise:1"])
    def test_each_video_as_if_it_were_alone(self, text):
        """One read is many reads; neither order, batch nor repetition matters."""
        reader = corrupted(text)
        rows = good_rows()
        together = read_all(reader)
        alone = np.stack([reader.read(np.array([row]), np.array([0]))[0] for row in rows])
        np.testing.assert_array_equal(together, alone)
        np.testing.assert_array_equal(together, read_all(reader))
        np.testing.assert_array_equal(together, read_all(corrupted(text)))
        mixed = np.random.default_rng(0).choice(len(rows), size=(4, 5))  # some come twice
        np.testing.assert_array_equal(reader.read(rows[mixed], np.zeros_like(mixed)), together[mixed])

    @pytest.mark.parametrize("text", ["drop:0.5", "freeze:0.5", "feature_noise:1"])
    def test_a_video_is_harmed_as_its_name_and_source_say(self, text):
        store, row = MemoryStore(bad=BAD), 13
        generator = corruption_generator(4, f"class/{row}.mp4", "flow")
        expected = corrupt_features(store.features[row, 1], parse_corruption(text), generator)
        read = corrupted(text, source="flow", seed=4, store=store).read(np.array(row), np.array(1))
        assert read.shape == (T, D)
        np.testing.assert_array_equal(read, expected)

    def test_dropped_frames_repeat_an_earlier_one_or_the_first_seen(self):
        plain, harmed = MemoryStore().features[good_rows(), 0], read_all(corrupted("drop:0.5"))
        same = (harmed[:, :, None] == plain[:, None]).all(axis=-1)  # (V, T, T): harmed frame is plain frame
        assert same.any(axis=2).all()  # every frame is one of the video's own
        shown = same.argmax(axis=2)
        assert (np.diff(shown, axis=1) >= 0).all()
        assert 0.2 < (shown != np.arange(T)).mean() < 0.8

    def test_frozen_frames_are_the_last_moving_one(self):
        plain, harmed = MemoryStore().features[good_rows(), 0], read_all(corrupted("freeze:0.5"))
        np.testing.assert_array_equal(harmed, plain[:, [0, 1, 1, 1]])

    def test_noise_is_as_long_as_it_is_said_to_be(self):
        plain, harmed = MemoryStore().features[good_rows(), 0], read_all(corrupted("feature_noise:0.5"))
        noise = (harmed.astype(np.float64) - plain.astype(np.float64)) / np.linalg.norm(plain, axis=-1, keepdims=True)
        assert np.sqrt(np.square(noise).sum(axis=-1).mean()) == pytest.approx(0.5, rel=0.1)
        assert harmed.dtype == np.float16

    @pytest.mark.parametrize("text", ["drop:0", "freeze:0", "feature_noise:0", "missing:0"])
    def test_no_strength_no_harm(self, text):
        reader = corrupted(text)
        np.testing.assert_array_equal(read_all(reader), MemoryStore().features[good_rows(), 0])
        np.testing.assert_array_equal(reader.ok, MemoryStore(bad=BAD).ok)

    @pytest.mark.parametrize("text", ["drop:0.5", "freeze:0.5", "feature_noise:1", "missing:0.5"])
    def test_nothing_but_the_features_changes_and_the_store_is_not_written_to(self, text):
        store = MemoryStore(bad=BAD)
        before, ok = store.features.copy(), store.ok.copy()
        reader = corrupted(text, store=store)
        read_all(reader)
        np.testing.assert_array_equal(store.features, before)
        np.testing.assert_array_equal(store.ok, ok)
        assert (reader.n_variants, reader.n_frames, reader.feature_size) == (2, T, D)
        assert reader.feature_scale == store.feature_scale
        if not text.startswith("missing"):
            np.testing.assert_array_equal(reader.ok, ok)

    def test_missing_takes_videos_away_and_leaves_the_features_of_the_others(self):
        reader = corrupted("missing:0.5")
        np.testing.assert_array_equal(read_all(reader), MemoryStore().features[good_rows(), 0])
        assert not reader.ok[list(BAD)].any()
        assert 0.2 < reader.ok.mean() < 0.8

    def test_a_larger_probability_loses_all_that_a_smaller_one_loses(self):
        lost = [~corrupted(f"missing:{share}").ok for share in (0, 0.2, 0.5, 0.8, 1)]
        for fewer, more in pairwise(lost):
            assert (fewer <= more).all()
            assert fewer.sum() < more.sum()
        assert lost[-1].all()

    @pytest.mark.parametrize("text", ["drop:0.5", "feature_noise:1", "missing:0.5"])
    @pytest.mark.parametrize("other", [{"source": "flow"}, {"seed": 1}])
    def test_another_source_or_seed_is_harmed_in_another_way(self, text, other):
        first, second = corrupted(text), corrupted(text, **other)
        if text.startswith("missing"):
            assert (first.ok != second.ok).any()
        else:
            assert (read_all(first) != read_all(second)).any()

    def test_it_goes_by_the_name_of_a_video_not_by_its_row(self):
        """The same videos in another order, as in a flow store that was made before the rgb store."""
        store = MemoryStore()
        order = np.random.default_rng(1).permutation(len(store.features))
        names = [f"class/{row}.mp4" for row in range(len(order))]
        straight = corrupted("feature_noise:1", store=store)
        turned = CorruptedReader(
            ReorderedReader(store, order),
            parse_corruption("feature_noise:1"),
            video_ids=[names[row] for row in order],
            source="rgb",
            seed=0,
        )
        places = np.arange(len(order))
        zeros = np.zeros_like(places)
        np.testing.assert_array_equal(turned.read(places, zeros), straight.read(order, zeros))

    def test_no_rows_is_no_error(self):
        assert corrupted("drop:0.5").read(np.array([], dtype=int), np.array([], dtype=int)).shape == (0, T, D)
