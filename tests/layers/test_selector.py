import math

import pytest
import torch

from mdmf.layers.selector import PromptSelector, top_frames_similarity

TEXT = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])  # (E=1, N=2, D=2)
# Two frames like class 0, then two like class 1; the second query is the other way round with one frame more certain.
QUERY = torch.tensor([[[[1.0, 0.0], [0.9, 0.1], [0.2, 1.0]], [[0.0, 2.0], [0.1, 1.0], [1.0, 0.0]]]])


def test_scores_by_hand():
    def cos(x: float, y: float) -> tuple[float, float]:
        norm = math.hypot(x, y) + 0.01
        return x / norm, y / norm

    frames = [cos(1.0, 0.0), cos(0.9, 0.1), cos(0.2, 1.0)]
    expected = [sum(sorted((f[c] for f in frames), reverse=True)[:2]) / 2 for c in (0, 1)]
    scores = top_frames_similarity(TEXT, QUERY, top_k=2)
    torch.testing.assert_close(scores[0, 0], torch.tensor(expected), atol=1e-6, rtol=0)


def test_short_videos_use_all_their_frames():
    torch.testing.assert_close(
        top_frames_similarity(TEXT, QUERY, top_k=4), top_frames_similarity(TEXT, QUERY, top_k=3), atol=0, rtol=0
    )


def test_argmax_takes_the_fitting_prompt():
    selector = PromptSelector(top_k=2).eval()
    torch.testing.assert_close(selector(TEXT, QUERY), TEXT[:, [0, 1]], atol=0, rtol=0)


def test_expect_is_the_weighted_mean():
    selector = PromptSelector(test_mode="expect", top_k=2, scale=3.0).eval()
    posterior = (3.0 * top_frames_similarity(TEXT, QUERY, top_k=2)).softmax(dim=-1)
    torch.testing.assert_close(selector(TEXT, QUERY), posterior @ TEXT, atol=1e-6, rtol=0)


def test_off_is_a_zero_vector():
    selector = PromptSelector(train_mode="off", test_mode="off")
    assert not selector(TEXT, QUERY).any()


def test_sample_follows_the_posterior():
    """The share of draws below p is p: sampling by inverse distribution, checked at the borders."""
    selector = PromptSelector(train_mode="sample")
    posterior = torch.tensor([[[0.25, 0.5, 0.25]]]).expand(1, 6, 3)
    draws = torch.tensor([[0.0, 0.2499, 0.2501, 0.7499, 0.7501, 0.99999]])
    assert selector.choose(posterior, draws).tolist() == [[0, 0, 1, 1, 2, 2]]


def test_a_draw_beyond_a_rounded_sum_takes_the_last_class():
    selector = PromptSelector(train_mode="sample")
    posterior = torch.tensor([[[0.5, 0.4999999]]])
    assert selector.choose(posterior, torch.tensor([[0.99999999]])).tolist() == [[1]]


def test_sample_without_draws_uses_the_generator():
    posterior = torch.full((1, 50, 4), 0.25)
    choices = [
        PromptSelector(generator=torch.Generator().manual_seed(seed)).choose(posterior).tolist() for seed in (0, 0, 1)
    ]
    assert choices[0] == choices[1] != choices[2]
    assert set(choices[0][0]) == {0, 1, 2, 3}


def test_training_samples_and_evaluation_does_not():
    selector = PromptSelector()
    assert (selector.train().mode, selector.eval().mode) == ("sample", "argmax")


def test_refuses_an_unknown_mode():
    with pytest.raises(ValueError, match="selector mode must be one of"):
        PromptSelector(test_mode="best")
