"""Who teaches: which branch is trusted on which query."""

from collections.abc import Mapping, Sequence
from itertools import permutations

import torch
from torch import Tensor

from mdmf.structures import TAUGHT_BY_NONE, TAUGHT_BY_SEVERAL

VIEW_CONDITIONS = ("both", "visual", "text", "none")


def more_certain_teaches(certainties: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The first branch teaches a query if every measure finds it at least as certain as the second.

    The second branch teaches if every measure finds the first less certain. A query on which the measures disagree has
    no teacher (CLIP-M2DF).

    Args:
        certainties: for each measure, branch name -> (E, Q); the same two branches in the same order.

    Returns:
        branch name -> (E, Q) bool: the queries it teaches to the other branch.
    """
    first, second = certainties[0]
    first_is_more_certain = torch.stack([measure[first] >= measure[second] for measure in certainties])
    return {first: first_is_more_certain.all(dim=0), second: (~first_is_more_certain).all(dim=0)}


def view_condition(
    visual: Mapping[str, Tensor], text: Mapping[str, Tensor] | None, *, condition: str = "both"
) -> dict[str, Tensor]:
    """CLIP-M2DF's distillation condition.

    Args:
        visual: view -> (E, Q), the largest posterior over the distances.
        text: view -> (E, Q), the largest posterior over the similarities of the fused text tokens.
        condition: the certainties that are compared: `visual`, `text` or `both`. `none` compares nothing: each view
            teaches the other every query.

    Returns:
        view -> (E, Q) bool: the queries it teaches.

    Raises:
        ValueError: for another condition, or one that needs a text certainty where there is none.
    """
    if condition not in VIEW_CONDITIONS:
        raise ValueError(f"condition must be one of {VIEW_CONDITIONS}, got {condition!r}")
    if condition == "none":
        return {view: torch.ones_like(value, dtype=torch.bool) for view, value in visual.items()}
    if condition == "visual":
        return more_certain_teaches([visual])
    if text is None:
        raise ValueError(f"condition {condition!r} needs class text, and the episode has none")
    return more_certain_teaches([text] if condition == "text" else [visual, text])


def sample_condition(certainties: Sequence[Mapping[str, Tensor]]) -> dict[tuple[str, str], Tensor]:
    """A branch teaches a query to another if it is more certain by every measure; a tie by any measure teaches nobody.

    Unlike the views' condition, this one is strict on both sides (AMFAR, eq. 3).

    Args:
        certainties: for each measure, branch name -> (E, Q); the same branches.

    Returns:
        (teacher, student) -> (E, Q) bool: the queries that the first teaches to the second, for every ordered pair.
    """
    return {
        (teacher, student): torch.stack([measure[teacher] > measure[student] for measure in certainties]).all(dim=0)
        for teacher, student in permutations(certainties[0], 2)
    }


def teacher_index(taught: Mapping[tuple[str, str], Tensor], branches: Sequence[str]) -> Tensor:
    """One number per query: the index of its teacher.

    Args:
        taught: (teacher, student) -> (E, Q) bool; at least one pair.
        branches: all branches, in the order in which they are numbered.

    Returns:
        (E, Q): index into `branches`; -1 where none teaches, -2 where several do.
    """
    nobody = torch.zeros_like(next(iter(taught.values())))
    masks = torch.stack([_teaches_anyone(branch, taught, nobody) for branch in branches])
    n_teachers = masks.sum(dim=0)
    index = torch.where(n_teachers == 1, masks.int().argmax(dim=0), TAUGHT_BY_NONE)
    return torch.where(n_teachers > 1, TAUGHT_BY_SEVERAL, index)


def _teaches_anyone(branch: str, taught: Mapping[tuple[str, str], Tensor], nobody: Tensor) -> Tensor:
    queries = [mask for (teacher, _), mask in taught.items() if teacher == branch]
    return torch.stack(queries).any(dim=0) if queries else nobody
