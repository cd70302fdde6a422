from types import SimpleNamespace

import numpy as np
import pytest
import torch
from method_cases import adapting_method, small_method
from small_world import FLOW_D, D, MemoryStore, small_sampler, two_source_bank

from mdmf.config import check_settings
from mdmf.distances.alignment import bi_mhm_distance, frame_wise_distance, otam_distance
from mdmf.evidence.opened_test import DoesNotApply, OpenedTest
from mdmf.evidence.story_boards import (
    Choice,
    _board,
    _complete,
    alignment_share,
    branch_costs,
    choose_queries,
    story_boards,
)
from mdmf.models.build import build_model


def test_best_and_worst_by_the_posterior_of_the_truth_one_of_each_class():
    labels = np.array([[0, 1], [0, 1], [0, 1]])
    truth = np.array([[0.9, 0.2], [0.95, 0.4], [0.1, 0.8]])
    posterior = np.stack([np.where(labels == n, truth, 1 - truth) for n in range(2)], axis=-1)
    true_class = np.array([[7, 8], [7, 8], [9, 8]])
    usable = np.ones((3, 2), dtype=bool)
    best = [Choice("best", 1, 0), Choice("best", 2, 1)]  # (0, 0) is of class 7 too
    worst = [Choice("worst", 2, 0), Choice("worst", 0, 1)]  # (1, 1) is of class 8 too
    assert choose_queries(posterior, labels, true_class, usable) == best + worst
    assert choose_queries(posterior, labels, true_class, usable, n_of_each=1) == [best[0], worst[0]]
    usable[1, 0] = False
    assert choose_queries(posterior, labels, true_class, usable)[:2] == [Choice("best", 0, 0), Choice("best", 2, 1)]


def test_all_right_leaves_no_worst():
    posterior = np.array([[[0.6, 0.4]]])
    assert [c.kind for c in choose_queries(posterior, np.array([[0]]), np.array([[3]]), np.ones((1, 1), bool))] == [
        "best"
    ]


def every_path(T: int, S: int) -> list[list[tuple[int, int]]]:
    """Cells of every path through OTAM's table (docs/methods.md, section 2) without padding; rows are query frames."""
    last, paths = S + 1, []

    def walk(row: int, column: int, cells: list[tuple[int, int]]) -> None:
        inside = [(row, column - 1), *cells] if 1 <= column <= S else cells
        if row == 0:
            paths.append([*((0, c - 1) for c in range(1, min(column, S + 1))), *inside] if column else inside)
            return
        if column == 0:
            paths.append(cells)
            return
        walk(row - 1, column - 1, inside)
        walk(row, column - 1, inside)
        if column in (1, last):
            walk(row - 1, column, inside)

    walk(T - 1, last, [])
    return paths


def test_share_of_otam_is_the_expected_path():
    """Over all paths, weighted by exp(-cost / λ): how many of them pass a cell."""
    cost = torch.rand(3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    share = alignment_share(cost, lambda c: otam_distance(c, temperature=0.5, directions="query_to_support"))
    expected, total = np.zeros((3, 3)), 0.0
    for path in every_path(3, 3):
        weight = np.exp(-sum(float(cost[cell]) for cell in path) / 0.5)
        total += weight
        for cell in path:
            expected[cell] += weight
    np.testing.assert_allclose(share.numpy(), expected / total, atol=1e-6)


def test_both_directions_share_alike_when_costs_are_symmetric():
    cost = torch.rand(4, 4, generator=torch.Generator().manual_seed(1))
    share = alignment_share(cost + cost.T, lambda c: otam_distance(c, temperature=0.5, directions="both"))
    torch.testing.assert_close(share, share.T, atol=1e-5, rtol=0)


def test_shares_of_other_distances_by_hand():
    cost = torch.tensor([[0.1, 0.5], [0.6, 0.2]])
    torch.testing.assert_close(alignment_share(cost, frame_wise_distance), torch.eye(2) / 2)
    torch.testing.assert_close(alignment_share(cost, bi_mhm_distance), 2 * torch.eye(2))


def test_shares_come_through_when_nothing_else_keeps_gradients():
    with torch.no_grad():
        share = alignment_share(torch.rand(2, 3, 3), frame_wise_distance)
    assert share.shape == (2, 3, 3)
    assert not share.requires_grad


COMPARING_FRAMES = [
    *({"name": name} for name in ("m2df", "amfar", "late_fusion", "early_concat", "temporal_head")),
    *({"name": name, "otam_temperature": 0.3} for name in ("otam", "bi_mhm", "frame_wise", "flow_otam", "late_bi_mhm")),
    {"name": "early_concat", "of": "otam"},
    {"name": "amfar", "distance": "bi_mhm", "cosine_eps": 0.1},
]


@pytest.mark.parametrize("values", COMPARING_FRAMES, ids=lambda values: " ".join(map(str, values.values())))
@pytest.mark.parametrize("n_shot", [1, 2])
def test_distances_on_a_board_are_those_that_the_model_answers_by(values, n_shot):
    """-distance of the costs shown is each branch's logit, for every kind of model."""
    model = small_method(**values, sizes={"rgb": D, "flow": FLOW_D})
    with torch.no_grad():
        episode = two_source_bank().episode(small_sampler(MemoryStore(), n_shot=n_shot).batch(0, 4))
        output, costs = model(episode), branch_costs(model, episode)
    logits = output.branch_logits or dict.fromkeys(model.branches, output.logits)
    assert costs.keys() == logits.keys()
    for branch, part in costs.items():
        torch.testing.assert_close(-part.align(part.costs), logits[branch], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("values", [{"name": "prototype"}, {"name": "late_prototype"}, {"name": "zero_shot"}])
def test_a_method_that_compares_no_frames_has_no_alignment(values):
    episode = two_source_bank().episode(small_sampler(MemoryStore()).batch(0, 1))
    assert branch_costs(small_method(**values, sizes={"rgb": D, "flow": FLOW_D}), episode) == {}
    amfar = small_method("amfar", distance="prototype", sizes={"rgb": D, "flow": FLOW_D})
    assert branch_costs(amfar, episode) == {}


def opened_small(**bad) -> OpenedTest:
    """CLIP-M2DF, untrained, with the answers that it gives to 20 episodes."""
    settings = check_settings({"model": {"name": "m2df", "n_heads": 1, "hidden_size": 8}}, source="test")
    torch.manual_seed(0)
    model = build_model(settings.model, feature_sizes={"rgb": D}, logit_scale=10.0).eval()
    bank, sampler = two_source_bank(**bad), small_sampler(MemoryStore(), split="test")
    rows = sampler.batch(0, 20)
    with torch.no_grad():
        posterior = model(bank.episode(rows)).logits.softmax(dim=-1).numpy()
    names = tuple(f"class {number}" for number in range(6))
    return OpenedTest(
        settings=settings,
        result=SimpleNamespace(protocol=SimpleNamespace(n_episodes=20, split="test"), text_weight=0),
        saved=SimpleNamespace(answers={"m2df": SimpleNamespace(posterior=posterior.astype(np.float16))}),
        workspace=SimpleNamespace(
            index=SimpleNamespace(classes={"test": names}), video_ids=np.array([f"video {row}" for row in range(48)])
        ),
        model=model,
        bank=bank,
        sampler=sampler,
    )


@pytest.mark.parametrize("place", [(episode, query) for episode in range(3) for query in range(6)])
def test_a_board_shows_what_the_model_says_of_this_query(place):
    """Its class and the answer first, then the nearest; posterior, distance and alignment are those of each class."""
    opened, (episode, q) = opened_small(), place
    board, shares = _board(opened, Choice("worst", episode, q))
    rows = opened.rows.part(episode, episode + 1)
    asked = opened.bank.episode(rows)
    with torch.no_grad():
        output = opened.model(asked)
        costs = branch_costs(opened.model, asked)
    posterior = output.logits[0, q].softmax(dim=-1)
    label, of_class = int(rows.query_labels[0, q]), [f"class {number}" for number in rows.class_ids[0]]
    assert board["true_class"] == of_class[label] == board["rows"][0]["class"]
    assert board["answer"] == of_class[int(posterior.argmax())]
    assert board["query_video"] == f"video {rows.query_rows[0, q]}"
    order = [of_class.index(row["class"]) for row in board["rows"]]
    assert order == [label, *(n for n in posterior.argsort(descending=True).tolist() if n != label)]
    for place, (n, row) in enumerate(zip(order, board["rows"], strict=True)):
        assert row["posterior"] == pytest.approx(float(posterior[n]))
        assert row["video"] == f"video {rows.support_rows[0, n, 0]}"
        for branch in ("local", "global"):
            assert row["distances"][branch] == pytest.approx(-float(output.branch_logits[branch][0, q, n]), abs=1e-4)
            expected = alignment_share(costs[branch].costs[0, q, n], costs[branch].align).numpy()
            np.testing.assert_allclose(shares[branch][place], expected, atol=2e-3)


def test_a_method_that_adapts_to_an_episode_is_shown_as_it_answers():
    opened = opened_small()
    opened.model = adapting_method()
    posterior = opened.model(opened.bank.episode(opened.rows)).logits.softmax(-1)
    opened.saved.answers["m2df"].posterior[:] = posterior.detach().numpy()
    board, shares = _board(opened, Choice("best", 2, 1))
    assert shares == {}
    assert len(board["rows"]) == 3


def test_an_answer_that_was_another_in_the_test_is_not_shown():
    opened = opened_small()
    opened.saved.answers["m2df"].posterior[2, 1] = [1, 0, 0]
    with pytest.raises(ValueError, match="the answers of the model differ from those of the test"):
        _board(opened, Choice("best", 2, 1))


def test_queries_without_features_or_with_such_support_are_not_chosen():
    bad = (4, 12, 30)
    opened = opened_small(bad_rgb=bad)
    whole = ~np.isin(opened.rows.support_rows, bad).any(axis=(1, 2))
    np.testing.assert_array_equal(_complete(opened), whole[:, None] & ~np.isin(opened.rows.query_rows, bad))
    assert 0 < _complete(opened).sum() < opened.rows.query_rows.size


def test_a_model_that_looks_at_no_support_video_has_no_boards():
    opened = opened_small()
    opened.model = small_method("zero_shot")
    with pytest.raises(DoesNotApply, match="m2df does not compare a query with support"):
        story_boards(opened)
