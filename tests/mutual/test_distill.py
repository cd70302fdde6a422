import math

import torch

from mdmf.mutual.distill import mutual_distillation, taught_divergence

PAIRS = [("a", "b"), ("b", "a")]  # teacher, student


def log(*values: float) -> list[float]:
    return [math.log(value) for value in values]


def test_by_hand():
    """Two queries, two classes: KL((.8,.2)‖(.5,.5)) with weight 1.5 and KL((.6,.4)‖(.9,.1)) with weight 0.5."""
    teacher = torch.tensor([[log(0.8, 0.2), log(0.6, 0.4)]])
    student = torch.tensor([[log(0.5, 0.5), log(0.9, 0.1)]])
    first = 0.8 * math.log(0.8 / 0.5) + 0.2 * math.log(0.2 / 0.5)
    second = 0.6 * math.log(0.6 / 0.9) + 0.4 * math.log(0.4 / 0.1)
    weight = torch.tensor([[1.5, 0.5]])
    both = taught_divergence(teacher, student, torch.tensor([[True, True]]), weight)
    one = taught_divergence(teacher, student, torch.tensor([[False, True]]), weight)
    torch.testing.assert_close(both, torch.tensor((1.5 * first + 0.5 * second) / 2), atol=1e-6, rtol=0)
    torch.testing.assert_close(one, torch.tensor(second), atol=1e-6, rtol=0)


def test_no_query_taught_is_exactly_zero_with_finite_gradients():
    logits = {name: torch.randn(2, 3, 4, requires_grad=True) for name in ("a", "b")}
    nobody = {pair: torch.zeros(2, 3, dtype=torch.bool) for pair in PAIRS}
    loss = mutual_distillation(logits, nobody, {pair: torch.ones(2, 3) for pair in PAIRS})
    assert loss.item() == 0
    loss.backward()
    assert all(not value.grad.any() for value in logits.values())


def test_gradient_reaches_the_student_alone_unless_asked_otherwise():
    torch.manual_seed(0)
    for detach in (True, False):
        logits = {name: torch.randn(1, 3, 4, requires_grad=True) for name in ("a", "b")}
        taught = {("a", "b"): torch.ones(1, 3, dtype=torch.bool)}
        mutual_distillation(logits, taught, {("a", "b"): torch.ones(1, 3)}, detach_teacher=detach).backward()
        assert logits["b"].grad.any()
        assert (logits["a"].grad is None) == detach


def test_batch_is_the_mean_over_episodes():
    torch.manual_seed(0)
    logits = {name: torch.randn(3, 4, 5) for name in ("a", "b")}
    taught = {pair: torch.rand(3, 4) > 0.5 for pair in PAIRS}
    weight = {pair: torch.rand(3, 4) for pair in PAIRS}

    def part(values: dict, e: int) -> dict:
        return {name: value[e : e + 1] for name, value in values.items()}

    singles = [mutual_distillation(part(logits, e), part(taught, e), part(weight, e)) for e in range(3)]
    torch.testing.assert_close(
        mutual_distillation(logits, taught, weight), torch.stack(singles).mean(), atol=1e-6, rtol=1e-6
    )


def test_swapping_the_branches_swaps_teacher_and_student():
    torch.manual_seed(0)
    a, b = torch.randn(1, 4, 5), torch.randn(1, 4, 5)
    mask, weight = torch.tensor([[True, False, True, True]]), torch.rand(1, 4)
    there = mutual_distillation({"a": a, "b": b}, {("a", "b"): mask}, {("a", "b"): weight})
    back = mutual_distillation({"a": b, "b": a}, {("b", "a"): mask}, {("b", "a"): weight})
    torch.testing.assert_close(there, back, atol=0, rtol=0)
    assert not torch.isclose(there, mutual_distillation({"a": a, "b": b}, {("b", "a"): mask}, {("b", "a"): weight}))


def test_a_student_is_asked_the_mean_over_its_possible_teachers():
    """Three branches, one query, weights 1: the sum of the divergences of all six pairs, halved."""
    torch.manual_seed(0)
    logits = {name: torch.randn(1, 1, 4) for name in "abc"}
    pairs = [(teacher, student) for teacher in "abc" for student in "abc" if teacher != student]
    taught = {pair: torch.ones(1, 1, dtype=torch.bool) for pair in pairs}
    logs = {name: value[0, 0].log_softmax(-1) for name, value in logits.items()}
    expected = sum((logs[m].exp() * (logs[m] - logs[n])).sum() for m, n in pairs) / 2
    loss = mutual_distillation(logits, taught, {pair: torch.ones(1, 1) for pair in pairs})
    torch.testing.assert_close(loss, expected, atol=1e-6, rtol=0)
