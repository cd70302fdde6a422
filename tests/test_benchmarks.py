"""The benchmarks measure what they say, in a form small enough for every day; docs/performance.md has the numbers."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.arithmetic import episode_multiply_adds, matrix_rate, video_multiply_adds
from benchmarks.feature_world import FeatureWorld, make_feature_world
from benchmarks.model_rows import bank_of, baseline_row, m2df, plain_protocol, protocol
from benchmarks.sizes import cost, growth_table
from benchmarks.timing import Row, Timed, table


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> FeatureWorld:
    return make_feature_world(tmp_path_factory.mktemp("benchmark") / "world", n_classes=6, n_videos=8)


def test_ours_is_far_ahead_of_plain_on_the_same_episodes(world):
    """A tenth of the target at full size: this detects an unused cache, not a slow machine."""
    ours, predictions = protocol(world, n_episodes=400, repeats=1)
    assert predictions.shape == (400, 5)
    assert plain_protocol(world, n_shot=1, n_episodes=3).median * 400 / ours.median > 5


def test_half_precision_answers_alike(world):
    _, predictions = protocol(world, n_episodes=400, repeats=1)
    _, half = protocol(world, n_episodes=400, repeats=1, precision="bfloat16")
    assert (predictions == half).mean() >= 0.99


def test_the_selector_is_right_for_about_nine_queries_in_ten(tmp_path):
    """If it were always right, or never, a test would need far fewer pairs of video and prompt than on real data."""
    world = make_feature_world(tmp_path / "full", n_videos=10)
    selector = m2df(world).selector
    episode = bank_of(world).episode(world.sampler().batch(0, 500))
    chosen = selector.choose(selector.posterior(episode.class_text, episode.query["rgb"]))
    assert 0.85 <= (chosen == episode.query_labels).float().mean() <= 0.93


@pytest.mark.parametrize("T", [1, 3, 8])
def test_no_more_multiply_adds_are_counted_than_are_done(world, T):
    """PyTorch's own counter sees padding and unused steps as well, so that it is an upper bound, and not a far one."""
    model = m2df(world).eval()
    with FlopCounterMode(display=False) as counter:
        for view in model.branches.values():
            view.embed({"rgb": torch.randn(1, T, 512)}, torch.randn(1, 512))
    ours = video_multiply_adds(T=T, D=512, hidden=2048, trains=False)
    assert 0.5 < ours / (counter.get_total_flops() / 2) <= 1


def test_multiply_adds_by_hand():
    assert episode_multiply_adds(N=2, Q=3, T=4, D=5) == 2 * 3 * 2 * 17 * 5
    forward, trained = (video_multiply_adds(T=8, D=512, hidden=2048, trains=trains) for trains in (False, True))
    assert 2 * forward < trained < 3 * forward
    assert matrix_rate(rows=64, repeats=3) > 1e8


def test_a_row_that_is_not_reached_says_so(world):
    timed = Timed([0.5, 0.25, 1.0])
    said = table([Row("this", timed, "<= 0.2 s", reached=False, plain=Timed([2.0]), ratio=4.0)])
    assert "500 ms (250-1e+03)" in said
    assert "4x" in said
    assert "NO" in said
    assert baseline_row(world, n_episodes=100).ratio > 1


def test_growth_is_seen_from_the_size_before(tmp_path, monkeypatch):
    def short(world, *, n_episodes, **asked):
        assert (len(world.class_ids), n_episodes) == (144, 2000)
        return protocol(world, n_episodes=20, repeats=1, **asked)

    monkeypatch.setattr("benchmarks.sizes.protocol", short)
    assert cost("videos", 144, tmp_path).median > 0
    numbers = [{"what": "T", "size": 2, "seconds": [1.0, 9.0, 2.0]}, {"what": "T", "size": 6, "seconds": [4.0]}]
    *_, first, second, other = growth_table([*numbers, {"what": "way", "size": 9, "seconds": [4.0]}]).splitlines()
    assert first.split("|")[-2].strip() == other.split("|")[-2].strip() == ""
    assert second.split("|")[-2].strip() == "500 ms"
