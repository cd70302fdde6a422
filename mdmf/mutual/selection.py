"""Which branch is trusted on which query: who teaches whom, with what weight, and each branch's share in the answer.

A selection is the part in which the methods differ most. Each is called with the outputs of two or more branches for a
batch of episodes, and gives a `Selection`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import permutations

import torch
from torch import Tensor, nn

from mdmf.distances.pairwise import full_precision
from mdmf.mutual.certainty import certainty, free_energy, negative_entropy
from mdmf.mutual.condition import VIEW_CONDITIONS, sample_condition, view_condition
from mdmf.structures import BranchOutput

DISTILL_DIRECTIONS = ("both", "local_to_global", "global_to_local")
SAMPLE_TESTS = ("both", "absolute", "relative")

Outputs = Mapping[str, BranchOutput]
Pair = tuple[str, str]  # teacher, student


@dataclass(frozen=True)
class Selection:
    """Who is trusted.

    Attributes:
        taught: (teacher, student) -> (E, Q) bool, the queries on which the first branch teaches the second; a pair that
            is absent shares no query.
        teacher_weight: (teacher, student) -> (E, Q), the weight of a query in the pair's distillation.
        shares: branch -> (E, Q), its share in the answer, summing to 1; empty where a method has no such shares.
    """

    taught: dict[Pair, Tensor] = field(default_factory=dict)
    teacher_weight: dict[Pair, Tensor] = field(default_factory=dict)
    shares: dict[str, Tensor] = field(default_factory=dict)


def branch_pairs(branches: Iterable[str]) -> list[Pair]:
    """Every ordered pair of different branches, as (teacher, student)."""
    return list(permutations(branches, 2))


class ViewSelection(nn.Module):
    """CLIP-M2DF's condition. A query weighs the teacher's visual plus its text certainty, for every condition.

    Args:
        condition: see `view_condition`.
        direction: `both`, or the one way in which knowledge may go.

    Raises:
        ValueError: for another condition or direction.
    """

    def __init__(self, *, condition: str = "both", direction: str = "both") -> None:
        super().__init__()
        if condition not in VIEW_CONDITIONS:
            raise ValueError(f"condition must be one of {VIEW_CONDITIONS}, got {condition!r}")
        if direction not in DISTILL_DIRECTIONS:
            raise ValueError(f"direction must be one of {DISTILL_DIRECTIONS}, got {direction!r}")
        self.condition, self.direction = condition, direction

    def forward(self, outputs: Outputs) -> Selection:
        """Select from two views that both have a text similarity."""
        visual = {view: certainty(output.logits) for view, output in outputs.items()}
        text = {view: certainty(_text_similarity(output)) for view, output in outputs.items()}
        teaches = view_condition(visual, text, condition=self.condition)
        pairs = branch_pairs(outputs)
        if self.direction != "both":
            first, second = self.direction.split("_to_")
            pairs = [(first, second)]
        taught = _where_usable({pair: teaches[pair[0]] for pair in pairs}, outputs)
        return Selection(taught, {pair: visual[pair[0]] + text[pair[0]] for pair in pairs})


class ActiveSampleSelection(nn.Module):
    """AMFAR: a source teaches the queries of which it is more certain, absolutely and relatively (ASS, eq. 1 to 3).

    The teacher's weight is its absolute certainty c (eq. 5), its share in the answer c / Σ c (eq. 7). With more than
    two sources every ordered pair is compared: a query may have several teachers and several students.

    Args:
        tests: `both`, or only the `absolute` or the `relative` certainty (AMFAR's ablation).
        best_teacher: of several teachers of one student, only the most certain one teaches it.

    Raises:
        ValueError: for another choice.
    """

    def __init__(self, *, tests: str = "both", best_teacher: bool = False) -> None:
        super().__init__()
        if tests not in SAMPLE_TESTS:
            raise ValueError(f"the tests of sample selection must be one of {SAMPLE_TESTS}, got {tests!r}")
        self.tests, self.best_teacher = tests, best_teacher

    def forward(self, outputs: Outputs) -> Selection:
        """Select; a source that cannot answer a query teaches nothing of it and has no share in it."""
        absolute = {source: certainty(output.logits) for source, output in outputs.items()}
        relative = {source: negative_entropy(output.logits) for source, output in outputs.items()}
        measures = {"both": [absolute, relative], "absolute": [absolute], "relative": [relative]}
        taught = _where_usable(sample_condition(measures[self.tests]), outputs)
        if self.best_teacher:
            taught = _most_certain_teacher(taught, absolute)
        return Selection(taught, {pair: absolute[pair[0]] for pair in taught}, _shares(absolute, outputs))


class ActiveInferenceSelection(nn.Module):
    """AMFIR, **our reading** (its equations are not public): belief in each source by active inference.

    `π(m) = softmax_m(log ε(m) - γ·G(m))`: G is the expected free energy of answering the query by m, log ε(m) the mean
    log-likelihood of the support's own labels under m (0 for all where it is not known of all, as at one shot). m
    teaches n where `π(m) / (π(m) + π(n)) > 0.5 + margin`, which is π(m) with two sources; this ratio is the weight of
    the query, π the share in the answer.

    Args:
        precision: γ.
        margin: of the belief of a teacher over an even one.
        learn_precision: γ is a parameter, trained by the fused answer's cross-entropy.
    """

    def __init__(self, *, precision: float = 1.0, margin: float = 0.05, learn_precision: bool = False) -> None:
        super().__init__()
        self.margin = margin
        value = torch.tensor(float(precision))
        if learn_precision:
            self.precision = nn.Parameter(value)
        else:
            self.register_buffer("precision", value, persistent=False)

    wants_evidence = True

    def forward(self, outputs: Outputs) -> Selection:
        """Select; a source that cannot answer a query has belief 0 there."""
        belief = self._belief(outputs)
        ratio = {pair: _belief_ratio(belief, *pair) for pair in branch_pairs(outputs)}
        taught = {pair: value > 0.5 + self.margin for pair, value in ratio.items()}
        return Selection(_where_usable(taught, outputs), ratio, belief)

    def _belief(self, outputs: Outputs) -> dict[str, Tensor]:
        """source -> (E, Q), summing to 1."""
        consensus = _consensus(outputs)
        energy = torch.stack([free_energy(output.logits, consensus) for output in outputs.values()])
        scores = _prior(outputs) - self.precision * energy  # (M, E, Q)
        usable = _usable(outputs)
        if usable is None:
            return dict(zip(outputs, scores.softmax(dim=0).unbind(0), strict=True))
        # Taken out before the softmax: an absent source must not push the belief in the others under a float.
        is_out = ~usable & usable.any(dim=0)
        even = scores.masked_fill(~usable.any(dim=0), 0)
        return dict(zip(outputs, even.masked_fill(is_out, -torch.inf).softmax(dim=0).unbind(0), strict=True))


class Strategy(nn.Module):
    """Distils by a fixed strategy instead of the selection's own choice of teachers (AMFAR, Fig. 3).

    `none`: nobody teaches; `<branch>_teaches`, such as `rgb_teaches`: one branch teaches every query; `mutual`: all
    teach all; `active`: as the selection says. Weights and shares stay those of the selection.
    """

    def __init__(self, selection: nn.Module, *, strategy: str = "active") -> None:
        super().__init__()
        self.selection, self.strategy = selection, strategy

    @property
    def wants_evidence(self) -> bool:
        """Whether the selection needs the branches' support evidence."""
        return getattr(self.selection, "wants_evidence", False)

    def forward(self, outputs: Outputs) -> Selection:
        """Select, with the strategy's teachers."""
        selection: Selection = self.selection(outputs)
        if self.strategy == "active":
            return selection
        teacher = self.strategy.removesuffix("_teaches")
        pairs = [pair for pair in branch_pairs(outputs) if self.strategy == "mutual" or pair[0] == teacher]
        first = next(iter(outputs.values())).logits
        everything = {pair: first.new_ones(first.shape[:2], dtype=torch.bool) for pair in pairs}
        return replace(selection, taught=_where_usable(everything, outputs))


def _text_similarity(output: BranchOutput) -> Tensor:
    if output.text_similarity is None:
        raise ValueError("a view's text certainty needs its text similarity, and there is none")
    return output.text_similarity


def _where_usable(taught: dict[Pair, Tensor], outputs: Outputs) -> dict[Pair, Tensor]:
    """Only queries that both branches can answer are taught: an absent one can neither teach nor learn."""
    masked = {}
    for pair, queries in taught.items():
        for branch in pair:
            usable = outputs[branch].usable
            queries = queries if usable is None else queries & usable
        masked[pair] = queries
    return masked


def _most_certain_teacher(taught: dict[Pair, Tensor], absolute: Mapping[str, Tensor]) -> dict[Pair, Tensor]:
    """Of the teachers of a student, on each query the one with the largest certainty; the first of equal ones."""
    chosen: dict[Pair, Tensor] = {}
    for student in absolute:
        pairs = [pair for pair in taught if pair[1] == student]
        certainties = torch.stack(
            [absolute[teacher].masked_fill(~taught[teacher, student], -1) for teacher, _ in pairs]
        )
        best = certainties.argmax(dim=0)  # (E, Q)
        chosen |= {pair: taught[pair] & (best == number) for number, pair in enumerate(pairs)}
    return chosen


def _belief_ratio(belief: Mapping[str, Tensor], teacher: str, student: str) -> Tensor:
    """π(teacher) / (π(teacher) + π(student)): (E, Q); 0 where both are 0."""
    if len(belief) == 2:
        return belief[teacher]  # the two sum to 1
    total = belief[teacher] + belief[student]
    return belief[teacher] / total.masked_fill(total == 0, 1)


def _usable(outputs: Outputs) -> Tensor | None:
    """(M, E, Q) bool, which branches can answer which queries; None: all."""
    if all(output.usable is None for output in outputs.values()):
        return None
    first = next(iter(outputs.values())).logits
    everything = first.new_ones(first.shape[:2], dtype=torch.bool)
    return torch.stack([everything if (usable := o.usable) is None else usable for o in outputs.values()])


def _consensus(outputs: Outputs) -> Tensor:
    """Log of the geometric mean of the posteriors, up to a constant per query: (E, Q, N).

    With more than two branches the mean is over those that can answer the query. With two, a branch that cannot
    answer leaves nothing to agree on, and its uniform posterior changes no belief.
    """
    logs = torch.stack([full_precision(output.logits)[0].log_softmax(dim=-1) for output in outputs.values()])
    usable = _usable(outputs)
    if usable is None or len(outputs) == 2:
        return logs.mean(dim=0)
    weight = usable[..., None].to(logs.dtype)
    return (weight * logs).sum(dim=0) / weight.sum(dim=0).clamp(min=1)


def _prior(outputs: Outputs) -> Tensor:
    """log ε (M, E, 1); 0 for all branches in an episode where it is not known of all."""
    evidence = [output.support_evidence for output in outputs.values()]
    first = next(iter(outputs.values())).logits
    known = [full_precision(one)[0] for one in evidence if one is not None]
    if len(known) < len(evidence):
        return first.new_zeros(len(evidence), len(first), 1)
    prior = torch.stack(known)
    return torch.where(prior.isnan().any(dim=0), 0.0, prior)[..., None]


def _shares(trust: dict[str, Tensor], outputs: Outputs) -> dict[str, Tensor]:
    """Trust (E, Q) by branch, normalised over the branches that can answer; equal shares where none can."""
    usable = {branch: output.usable for branch, output in outputs.items()}
    usable_trust = {
        branch: value if (can := usable[branch]) is None else value.masked_fill(~can, 0)
        for branch, value in trust.items()
    }
    total = torch.stack(list(usable_trust.values())).sum(dim=0)
    nobody = total == 0
    return {
        branch: torch.where(nobody, 1 / len(usable_trust), value / total.masked_fill(nobody, 1))
        for branch, value in usable_trust.items()
    }
