import numpy as np
import pytest

from mdmf.data.episodes import EpisodeRows, EpisodeSampler, _below_outside


def make(sizes=(6, 9, 4, 7), *, groups=None, **settings) -> EpisodeSampler:
    """Classes of these sizes, their rows interleaved, with a few rows of other splits between them."""
    class_ids = np.concatenate([np.full(size, number) for number, size in enumerate(sizes)] + [np.full(5, -1)])
    order = np.random.default_rng(0).permutation(len(class_ids))
    defaults = {"n_way": 3, "n_shot": 2, "n_query": 2, "seed": 0, "split": "train"}
    sampler = EpisodeSampler(
        class_ids[order],
        class_names=[f"class {number}" for number in range(len(sizes))],
        groups=None if groups is None else groups[order],
        **(defaults | settings),
    )
    sampler.truth = class_ids[order]  # type: ignore[attr-defined]
    return sampler


def same(a: EpisodeRows, b: EpisodeRows) -> bool:
    return all(np.array_equal(value, getattr(b, name)) for name, value in vars(a).items())


def test_episode_i_is_the_same_alone_in_any_batch_and_after_any_history():
    sampler, fresh = make(), make()
    whole = sampler.batch(0, 50)
    for start, count in ((0, 1), (7, 5), (43, 7), (49, 1)):
        part = fresh.batch(start, count)
        assert same(part, EpisodeRows(**{name: value[start : start + count] for name, value in vars(whole).items()}))
    assert same(fresh[31], sampler.batch(31, 1))


def test_seed_split_and_index_all_matter():
    first = make().batch(0, 20)
    assert not same(first, make(seed=1).batch(0, 20))
    assert not same(first, make(split="val").batch(0, 20))
    assert not same(first, make().batch(1, 20))


def test_the_stream_never_changes():
    """Frozen: episode 3 of (seed 7, test). A change here changes every published number."""
    rows = make(seed=7, split="test")[3]
    assert rows.class_ids.tolist() == FROZEN["class_ids"]
    assert rows.support_rows.tolist() == FROZEN["support_rows"]
    assert rows.query_rows.tolist() == FROZEN["query_rows"]
    np.testing.assert_allclose(rows.query_draws, FROZEN["query_draws"], atol=1e-6)


def test_classes_and_videos_are_what_they_should_be():
    sampler = make()
    rows = sampler.batch(0, 500)
    for e in range(500):
        assert len(set(rows.class_ids[e])) == 3
        used = [*rows.support_rows[e].ravel(), *rows.query_rows[e]]
        assert len(set(used)) == len(used)
        for n in range(3):
            assert (sampler.truth[rows.support_rows[e, n]] == rows.class_ids[e, n]).all()
    true_class = np.take_along_axis(rows.class_ids, rows.query_labels, axis=1)
    assert (sampler.truth[rows.query_rows] == true_class).all()


@pytest.mark.parametrize("role", ["support_rows", "query_rows", "class_ids"])
def test_draws_are_uniform(role):
    """Chi-square against equal shares: within each class for videos, over all for classes."""
    sampler = make(n_query=1, n_shot=1)
    rows = sampler.batch(0, 30_000)
    drawn = getattr(rows, role).ravel()
    pools = [np.arange(4)] if role == "class_ids" else [np.flatnonzero(sampler.truth == number) for number in range(4)]
    for pool in pools:
        counts = np.array([(drawn == member).sum() for member in pool])
        chi_square = ((counts - counts.mean()) ** 2 / counts.mean()).sum()
        assert chi_square < len(pool) - 1 + 5 * np.sqrt(2 * (len(pool) - 1))


def test_support_and_query_are_independent_of_each_other():
    """Every ordered pair of different videos of a class is equally likely."""
    sampler = make(sizes=(4, 4, 4), n_shot=1, n_query=1)
    rows = sampler.batch(0, 24_000)
    pool = np.flatnonzero(sampler.truth == 0)
    queries = rows.query_rows.reshape(-1, 3)[rows.class_ids == 0]
    supports = rows.support_rows[..., 0][rows.class_ids == 0]
    counts = np.array([((supports == a) & (queries == b)).sum() for a in pool for b in pool if a != b])
    assert counts.sum() == len(queries)
    assert ((counts - counts.mean()) ** 2 / counts.mean()).sum() < 11 + 5 * np.sqrt(22)


def test_groups_never_meet_in_support_and_query():
    sizes = (8, 9, 12)
    groups = np.concatenate([np.arange(size) // 2 for size in sizes] + [np.zeros(5, dtype=int)])
    sampler = make(sizes, groups=groups)
    group_of = np.empty(len(sampler.truth), dtype=int)
    order = np.random.default_rng(0).permutation(len(group_of))
    group_of[:] = groups[order]
    rows = sampler.batch(0, 1000)
    shared_within_support = 0
    for e in range(1000):
        queries = rows.query_rows[e].reshape(3, 2)
        for n in range(3):
            support_groups = set(group_of[rows.support_rows[e, n]])
            shared_within_support += len(support_groups) == 1
            assert not support_groups & set(group_of[queries[n]])
            assert len({*rows.support_rows[e, n], *queries[n]}) == 4
    assert shared_within_support > 0


def test_every_query_of_other_groups_is_equally_likely():
    groups = np.array([0, 0, 0, 1, 2, 2] + [5, 6, 7, 8, 9, 10] + [0] * 5)
    sampler = make((6, 6), groups=groups, n_way=2, n_shot=1, n_query=1)
    order = np.random.default_rng(0).permutation(len(groups))
    position = np.empty(len(groups), dtype=int)
    position[order] = np.arange(len(groups))
    rows = sampler.batch(0, 30_000)
    of_class = rows.class_ids == 0
    chosen = rows.query_rows.reshape(-1, 2)[of_class & (rows.support_rows[..., 0] == position[3])]
    counts = np.array([(chosen == position[video]).sum() for video in (0, 1, 2, 4, 5)])
    assert counts.sum() == len(chosen)
    assert abs(counts / counts.mean() - 1).max() < 0.12


def test_variants_cover_all_that_are_stored_and_draws_lie_in_the_unit_interval():
    rows = make(n_variants=3).batch(0, 400)
    assert set(rows.support_variants.ravel()) == set(rows.query_variants.ravel()) == {0, 1, 2}
    assert not make().batch(0, 400).support_variants.any()
    assert rows.query_draws.dtype == np.float32
    assert 0 <= rows.query_draws.min() < 0.01
    assert 0.99 < rows.query_draws.max() < 1


def test_excluded_ranges_are_never_drawn_and_all_else_is():
    words = np.random.Philox(3).random_raw(4000)
    starts, lengths = np.array([[7, 0, 4]] * 4000), np.array([[2, 1, 0]] * 4000)
    assert set(_below_outside(words, 10, starts, lengths)) == {1, 2, 3, 4, 5, 6, 9}


def test_names_every_class_that_is_too_small():
    with pytest.raises(
        ValueError, match="class 'class 2' of split 'train' has 4 usable videos, needs n_shot"
    ) as caught:
        make(n_query=4)
    assert "n_shot + n_query = 6" in str(caught.value)
    assert "class 0" not in str(caught.value)


def test_refuses_impossible_episodes():
    with pytest.raises(ValueError, match="has 4 classes, needs n_way = 5"):
        make(n_way=5)
    with pytest.raises(ValueError, match="expected start >= 0"):
        make().batch(-1, 2)
    groups = np.concatenate([np.zeros(6, int), np.arange(9), np.arange(4), np.arange(7), np.zeros(5, int)])
    with pytest.raises(ValueError, match="class 'class 0' of split 'train' has 6 videos in 1 groups"):
        make(groups=groups)


FROZEN: dict[str, list] = {
    "class_ids": [[1, 2, 0]],
    "support_rows": [[[23, 9], [7, 30], [0, 12]]],
    "query_rows": [[1, 20, 22, 10, 5, 29]],
    "query_draws": [[0.79394, 0.369843, 0.950379, 0.888899, 0.874932, 0.26903]],
}
