"""Mutual distillation: the branch that is more certain of a query moves the others towards its posterior."""

from collections.abc import Mapping

from torch import Tensor

from mdmf.distances.pairwise import full_precision


def taught_divergence(
    teacher_logits: Tensor, student_logits: Tensor, taught: Tensor, weight: Tensor, *, detach_teacher: bool = True
) -> Tensor:
    """`Σ_q w_q KL(teacher ‖ student) / Σ_q w_q` over the taught queries of each episode, then the mean over episodes.

    MVMD of CLIP-M2DF and AMD of AMFAR (eq. 5). An episode with no query taught gives exactly 0.

    Args:
        teacher_logits: (E, Q, N).
        student_logits: (E, Q, N).
        taught: (E, Q) bool, the queries that this teacher teaches.
        weight: (E, Q), non-negative.
        detach_teacher: no gradient reaches the teacher, nor passes through the weights.

    Returns:
        A scalar.
    """
    teacher_logits, student_logits, weight = full_precision(teacher_logits, student_logits, weight)
    if detach_teacher:
        teacher_logits, weight = teacher_logits.detach(), weight.detach()
    teacher = teacher_logits.log_softmax(dim=-1)
    student = student_logits.log_softmax(dim=-1)
    divergence = (teacher.exp() * (teacher - student)).sum(dim=-1)  # (E, Q, N) -> (E, Q)
    weight = weight * taught
    total = weight.sum(dim=-1)
    mean = (weight * divergence).sum(dim=-1) / total.masked_fill(total == 0, 1)
    return mean.mean()


def mutual_distillation(
    logits: Mapping[str, Tensor],
    taught: Mapping[tuple[str, str], Tensor],
    weight: Mapping[tuple[str, str], Tensor],
    *,
    detach_teacher: bool = True,
) -> Tensor:
    """The distillation loss: the sum over all (teacher, student) pairs, divided by the M - 1 possible teachers.

    Args:
        logits: branch name -> (E, Q, N).
        taught: (teacher, student) -> (E, Q) bool; a pair that is absent shares no query.
        weight: (teacher, student) -> (E, Q), the weight of a query for this pair.
        detach_teacher: as in `taught_divergence`.

    Returns:
        A scalar; 0 with one branch.
    """
    loss = next(iter(logits.values())).new_zeros(())
    for (teacher, student), queries in taught.items():
        loss = loss + taught_divergence(
            logits[teacher], logits[student], queries, weight[teacher, student], detach_teacher=detach_teacher
        )
    return loss if len(logits) <= 2 else loss / (len(logits) - 1)
