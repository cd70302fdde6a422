import math

import torch

from mdmf.mutual.distill import mutual_distillation, taught_divergence


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
    nobody = {name: torch.zeros(2, 3, dtype=torch.bool) for name in logits}
    loss = mutual_distillation(logits, nobody, {name: torch.ones(2, 3) for name in logits})
    assert loss.item() == 0
    loss.backward()
    assert all(not value.grad.any() for value in logits.values())


def test_gradient_reaches_the_student_alone_unless_asked_otherwise():
    torch.manual_seed(0)
    for detach in (True, False):
        logits = {name: torch.randn(1, 3, 4, requires_grad=True) for name in ("a", "b")}
        taught = {"a": torch.ones(1, 3, dtype=torch.bool)}
        mutual_distillation(logits, taught, {"a": torch.ones(1, 3)}, detach_teacher=detach).backward()
        assert logits["b"].grad.any()
        assert (logits["a"].grad is None) == detach


def test_batch_is_the_mean_over_episodes():
    torch.manual_seed(0)
    logits = {name: torch.randn(3, 4, 5) for name in ("a", "b")}
    taught = {name: torch.rand(3, 4) > 0.5 for name in ("a", "b")}
    weight = {name: torch.rand(3, 4) for name in ("a", "b")}

    def part(values: dict[str, torch.Tensor], e: int) -> dict[str, torch.Tensor]:
        return {name: value[e : e + 1] for name, value in values.items()}

    singles = [mutual_distillation(part(logits, e), part(taught, e), part(weight, e)) for e in range(3)]
    torch.testing.assert_close(
        mutual_distillation(logits, taught, weight), torch.stack(singles).mean(), atol=1e-6, rtol=1e-6
    )


def test_swapping_the_branches_swaps_teacher_and_student():
    torch.manual_seed(0)
    a, b = torch.randn(1, 4, 5), torch.randn(1, 4, 5)
    mask, weight = torch.tensor([[True, False, True, True]]), torch.rand(1, 4)
    there = mutual_distillation({"a": a, "b": b}, {"a": mask}, {"a": weight})
    back = mutual_distillation({"a": b, "b": a}, {"b": mask}, {"b": weight})
    torch.testing.assert_close(there, back, atol=0, rtol=0)
    assert not torch.isclose(there, mutual_distillation({"a": a, "b": b}, {"b": mask}, {"b": weight}))
