"""The skeleton, and the rules that every method follows."""

import math
from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from method_cases import (
    SELECTING,
    TRAINED,
    TRAINING_FREE,
    mapped,
    partly_missing,
    random_episode,
    single,
    small_method,
    with_classes_in_order,
    without,
)
from torch import Tensor, nn

from mdmf.models.branch import Branch, Task, Tokens
from mdmf.models.method import LossWeights, Method, TrainingFree
from mdmf.mutual.selection import Selection
from mdmf.structures import BranchOutput, Episode

SOURCES = ("rgb", "flow")

EVERY_METHOD = [*TRAINED, *TRAINING_FREE]
ONE_SOURCE_A_BRANCH = [name for name in EVERY_METHOD if not name.startswith("early_")]


def assert_same_losses(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, atol=1e-4, rtol=1e-4)


class TestEveryMethod:
    """Named by their registration: a method that is added is tested without an edit here."""

    @pytest.mark.parametrize("name", EVERY_METHOD)
    def test_a_batch_equals_its_episodes_one_by_one(self, name):
        model, episode = small_method(name), partly_missing(random_episode(E=3))
        whole, singles = model(episode), [model(single(episode, e)) for e in range(3)]
        torch.testing.assert_close(torch.cat([one.logits for one in singles]), whole.logits, atol=1e-4, rtol=1e-5)
        for loss, value in whole.losses.items():
            mean = torch.stack([one.losses[loss] for one in singles]).mean()
            torch.testing.assert_close(mean, value, atol=1e-4, rtol=1e-4)
        if whole.teacher is not None:
            assert torch.equal(torch.cat([one.teacher for one in singles]), whole.teacher)

    @pytest.mark.parametrize("name", EVERY_METHOD)
    def test_swapping_classes_swaps_logits_and_changes_no_loss(self, name):
        model, episode, order = small_method(name), partly_missing(random_episode(E=3)), [2, 0, 1]
        episode = replace(episode, class_ids=None)  # losses over all training classes are of complete videos
        there, back = model(episode), model(with_classes_in_order(episode, order))
        torch.testing.assert_close(back.logits, there.logits[..., order], atol=1e-4, rtol=1e-5)
        assert_same_losses(there.losses, back.losses)

    @pytest.mark.parametrize("name", EVERY_METHOD)
    def test_order_of_shots_and_queries_does_not_matter(self, name):
        model, episode = small_method(name), partly_missing(random_episode(E=3))
        turned = mapped(episode, support=lambda value: value.flip(2), query=lambda value: value.flip(1))
        there, back = model(episode), model(turned)
        torch.testing.assert_close(back.logits.flip(1), there.logits, atol=1e-4, rtol=1e-5)
        assert_same_losses(there.losses, back.losses)

    @pytest.mark.parametrize("name", EVERY_METHOD)
    def test_evaluation_has_no_randomness(self, name):
        model, episode = small_method(name), random_episode()
        torch.testing.assert_close(model(episode).logits, model(episode).logits, atol=0, rtol=0)

    @pytest.mark.parametrize("name", EVERY_METHOD)
    def test_labels_change_no_answer(self, name):
        model, episode = small_method(name), random_episode()
        blind, labelled = model(replace(episode, query_labels=None, class_ids=None)), model(episode)
        torch.testing.assert_close(blind.logits, labelled.logits, atol=0, rtol=0)
        assert "cross_entropy_loss" not in blind.losses
        if name in TRAINED:
            assert {"distill_loss", "cross_entropy_loss"} <= labelled.losses.keys()

    @pytest.mark.parametrize("name", EVERY_METHOD)
    def test_all_present_is_the_same_as_nothing_said(self, name):
        model, episode = small_method(name), random_episode()
        named = without(without(episode, "flow"), "rgb")
        torch.testing.assert_close(model(named).logits, model(episode).logits, atol=1e-5, rtol=0)

    @pytest.mark.parametrize("name", EVERY_METHOD)
    def test_a_shot_that_is_missing_altogether_is_as_if_never_given(self, name):
        """Every source of the shot is gone: K = 3 with a hole is K = 2, evidence and all."""
        model, episode = small_method(name), replace(random_episode(K=3), class_ids=None)
        hole = [(e, n, 1) for e in range(2) for n in range(3)]
        lacking = without(without(episode, "flow", shots=hole), "rgb", shots=hole)
        there, back = model(lacking), model(mapped(episode, support=lambda value: value[:, :, [0, 2]]))
        torch.testing.assert_close(there.logits, back.logits, atol=1e-5, rtol=1e-6)
        assert_same_losses(there.losses, back.losses)

    @pytest.mark.parametrize("name", ONE_SOURCE_A_BRANCH)
    def test_what_stands_for_a_missing_video_is_never_looked_at(self, name):
        lacking = replace(partly_missing(random_episode(E=3, K=3)), class_ids=None)
        filled = replace(
            lacking,
            support={s: v + 7 * ~lacking.support_present[s][..., None, None] for s, v in lacking.support.items()},
            query={s: v + 7 * ~lacking.query_present[s][..., None, None] for s, v in lacking.query.items()},
        )
        there, back = small_method(name)(lacking), small_method(name)(filled)
        torch.testing.assert_close(there.logits, back.logits, atol=1e-5, rtol=1e-6)
        assert_same_losses(there.losses, back.losses)

    @pytest.mark.parametrize("name", EVERY_METHOD)
    def test_nobody_present_gives_even_answers_and_finite_losses_and_gradients(self, name):
        model = small_method(name)
        episode = random_episode(E=1)
        shots, queries = [(0, n, k) for n in range(3) for k in range(2)], [(0, q) for q in range(6)]
        for source in SOURCES:
            episode = without(episode, source, shots=shots, queries=queries)
        output = model(episode)
        assert not output.logits.any()
        if name in TRAINED:
            model.total_loss(output).backward()
            assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)

    @pytest.mark.parametrize("name", TRAINED)
    def test_partly_missing_trains_every_weight_with_finite_gradients(self, name):
        model = (
            small_method(name, cross_entropy="all", detach_teacher=False) if name in SELECTING else small_method(name)
        )
        output = model.train()(partly_missing(random_episode(E=3)))
        model.total_loss(output).backward()
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())

    @pytest.mark.parametrize("name", EVERY_METHOD)
    def test_says_which_source_an_episode_lacks(self, name):
        model, episode = small_method(name), random_episode()
        (*_, lacking) = model.sources
        kept = "rgb" if lacking == "flow" else "flow"
        other = replace(episode, support={kept: episode.support[kept]}, query={kept: episode.query[kept]})
        expected = ", ".join(f"'{source}'" for source in sorted(model.sources))
        with pytest.raises(ValueError, match=rf"expected features of \[{expected}\], got \['{kept}'\]"):
            model(other)

    @pytest.mark.parametrize("name", TRAINED)
    def test_training_draws_dropout(self, name):
        model, episode = small_method(name).train(), random_episode()
        assert not torch.equal(model(episode).logits, model(episode).logits)


class Answering(Branch):
    """A branch that gives the answer that it is made with."""

    def __init__(self, answer, *, source: str = "rgb") -> None:
        super().__init__(sources=[source])
        self.answer = answer
        self.weight = nn.Parameter(torch.ones(()))

    def compare(self, support: Tokens, query: Tokens, task: Task) -> BranchOutput:
        return self.answer


def answering(*logits: list, **parts) -> Method:
    """Of one episode and one query, as many branches as there are logits: a, b, c."""
    branches = {name: Answering(BranchOutput(torch.tensor([[row]]))) for name, row in zip("abc", logits, strict=False)}
    return Method(branches, **parts)


def tiny_episode(N: int, Q: int = 1, label: int | None = None) -> Episode:
    labels = None if label is None else torch.full((1, Q), label)
    return Episode({"rgb": torch.zeros(1, N, 1, 4, 5)}, {"rgb": torch.zeros(1, Q, 4, 5)}, query_labels=labels)


class TestSkeleton:
    @pytest.mark.parametrize(
        ("answer", "message"),
        [
            (
                BranchOutput(logits=torch.zeros(1, 3, 3)),
                r"logits of branch 'one' of shape \(E=1, Q=3, N=2\), got \(1, 3, 3\)",
            ),
            (BranchOutput(logits=torch.zeros(3, 2)), r"got \(3, 2\)"),
            (torch.zeros(1, 3, 2), "branch 'one' gave a Tensor; expected a BranchOutput"),
        ],
    )
    def test_an_answer_of_another_shape_is_refused(self, answer, message):
        """One class too many would pass for logits, and every accuracy be wrong."""
        with pytest.raises(ValueError, match=message):
            Method({"one": Answering(answer)})(tiny_episode(N=2, Q=3))

    def test_refuses_what_is_no_method(self):
        with pytest.raises(ValueError, match="needs at least one branch"):
            Method({})
        with pytest.raises(ValueError, match=r"branch 'a' is a Linear; expected an mdmf\.models\.branch\.Branch"):
            Method({"a": nn.Linear(2, 2)})
        with pytest.raises(ValueError, match=r"cross_entropy must be one of .*got 'views'"):
            answering([0.0, 0.0], cross_entropy="views")

    def test_without_a_fusion_the_answer_is_the_sum(self):
        output = answering([1.0, 2.0], [0.5, -1.0])(tiny_episode(N=2))
        assert output.logits.tolist() == [[[1.5, 1.0]]]
        assert (output.teacher, output.fusion_weight, output.losses["distill_loss"].item()) == (None, {}, 0)

    def test_the_sources_are_those_of_the_branches_each_once(self):
        answer = BranchOutput(torch.zeros(1, 1, 2))
        branches = {
            name: Answering(answer, source=source) for name, source in zip("abc", ("flow", "rgb", "flow"), strict=True)
        }
        assert Method(branches).sources == ("flow", "rgb")

    @pytest.mark.parametrize(
        ("cross_entropy", "expected"),
        [
            ("fused", [[1.5, 1.0]]),
            ("branches", [[1.0, 2.0], [0.5, -1.0]]),
            ("all", [[1.5, 1.0], [1.0, 2.0], [0.5, -1.0]]),
        ],
    )
    def test_cross_entropy_is_of_the_answers_named(self, cross_entropy, expected):
        output = answering([1.0, 2.0], [0.5, -1.0], cross_entropy=cross_entropy)(tiny_episode(N=2, label=1))
        by_hand = sum(math.log(1 + math.exp(first - second)) for first, second in expected)
        assert output.losses["cross_entropy_loss"].item() == pytest.approx(by_hand, abs=1e-6)

    def test_a_single_branch_is_shown_to_no_selection(self):
        def selection(outputs):
            raise AssertionError("there is nothing to select")

        method = answering([1.0, 2.0])
        method.selection = selection
        assert method(tiny_episode(N=2)).teacher is None

    def test_total_loss_weighs_each_part(self):
        """1·CE + ramp·λ_kd / Q·KD + λ_vt·VT, of 2 queries."""
        weights = LossWeights(distill=3.0, video_text=0.5, distill_per_query=True)
        method = answering([1.0, 2.0], loss_weights=weights)
        losses = {"cross_entropy_loss": torch.tensor(1.0), "distill_loss": torch.tensor(10.0)}
        output = replace(method(tiny_episode(N=2)), logits=torch.zeros(1, 2, 2), losses=losses)
        assert method.total_loss(output, distill_ramp=0.5).item() == pytest.approx(1 + 0.5 * 3 / 2 * 10)
        spoken = replace(output, losses={**losses, "video_text_loss": torch.tensor(4.0)})
        assert method.total_loss(spoken, distill_ramp=0.0).item() == pytest.approx(1 + 0.5 * 4)
        plain = answering([1.0, 2.0])
        assert plain.total_loss(output).item() == pytest.approx(11)

    def test_a_selection_decides_who_teaches_and_with_what_share(self):
        class FirstTeaches(nn.Module):
            def forward(self, outputs):
                everything = torch.ones(1, 1, dtype=torch.bool)
                shares = {"a": torch.full((1, 1), 0.25), "b": torch.full((1, 1), 0.75)}
                return Selection({("a", "b"): everything}, {("a", "b"): torch.ones(1, 1)}, shares)

        class Weighing(nn.Module):
            uses_shares = True

            def forward(self, logits, shares):
                return sum(shares[name][..., None] * value for name, value in logits.items())

        output = answering([1.0, 2.0], [0.0, 4.0], selection=FirstTeaches(), fusion=Weighing())(tiny_episode(N=2))
        assert output.logits.tolist() == [[[0.25, 3.5]]]
        assert output.teacher.tolist() == [[0]]
        assert output.fusion_weight["b"].item() == 0.75
        teacher, student = (torch.tensor(row).log_softmax(-1) for row in ([1.0, 2.0], [0.0, 4.0]))
        expected = (teacher.exp() * (teacher - student)).sum()
        torch.testing.assert_close(output.losses["distill_loss"], expected, atol=1e-6, rtol=0)

    def test_training_free_names_no_branch(self):
        output = TrainingFree({"rgb": Answering(BranchOutput(torch.tensor([[[1.0, 3.0]]])))})(
            tiny_episode(N=2, label=0)
        )
        assert output.logits.tolist() == [[[1.0, 3.0]]]
        assert (output.branch_logits, output.losses, output.teacher) == ({}, {}, None)
        assert output.certainty["all"].item() == pytest.approx(1 / (1 + math.exp(-2)))

    def test_text_is_needed_by_a_method_with_prompts_alone(self):
        silent = replace(random_episode(), class_text=None)
        with pytest.raises(ValueError, match="needs the class text of an episode"):
            small_method("m2df")(silent)
        assert small_method("amfar")(silent).logits.shape == (2, 6, 3)
