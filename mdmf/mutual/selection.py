"""Which branch is trusted on which query: who teaches it, with what weight, and each branch's share in its answer.

A selection is the part in which the methods differ most. Each is called with what the two branches say of a batch of
episodes, and gives a `Selection`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from mdmf.distances.pairwise import full_precision
from mdmf.mutual.certainty import certainty, free_energy, negative_entropy
from mdmf.mutual.condition import VIEW_CONDITIONS, sample_condition, view_condition
from mdmf.structures import BranchOutput

DISTILL_DIRECTIONS = ("both", "local_to_global", "global_to_local")
STRATEGIES = ("active", "mutual", "rgb_teaches", "flow_teaches", "none")
SAMPLE_TESTS = ("both", "absolute", "relative")

Outputs = Mapping[str, BranchOutput]


@dataclass(frozen=True)
class Selection:
    """Who is trusted.

    Attributes:
        taught: teaching branch -> (E, Q) bool, the queries it teaches; a branch that is absent teaches nothing.
        teacher_weight: branch -> (E, Q), the weight of a query when this branch teaches it.
        shares: branch -> (E, Q), its share in the answer, summing to 1; empty where a method has no such shares.
    """

    taught: dict[str, Tensor] = field(default_factory=dict)
    teacher_weight: dict[str, Tensor] = field(default_factory=dict)
    shares: dict[str, Tensor] = field(default_factory=dict)


class ViewSelection(nn.Module):
    """CLIP-M2DF's condition: by visual and text certainty; the weight is the sum of both, whatever the condition uses.

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
        taught = _where_usable(view_condition(visual, text, condition=self.condition), outputs)
        if self.direction != "both":
            teacher = self.direction.split("_to_")[0]
            taught = {teacher: taught[teacher]}
        return Selection(taught, {view: visual[view] + text[view] for view in outputs})


class ActiveSampleSelection(nn.Module):
    """AMFAR: a modality teaches the queries of which it is surer, absolutely and relatively (ASS, eq. 1 to 3).

    The teacher's weight is its absolute certainty c (eq. 5), its share in the answer c / Σ c (eq. 7).

    Args:
        tests: `both`, or only the `absolute` or the `relative` certainty (AMFAR's ablation).

    Raises:
        ValueError: for another choice.
    """

    def __init__(self, *, tests: str = "both") -> None:
        super().__init__()
        if tests not in SAMPLE_TESTS:
            raise ValueError(f"the tests of sample selection must be one of {SAMPLE_TESTS}, got {tests!r}")
        self.tests = tests

    def forward(self, outputs: Outputs) -> Selection:
        """Select; a modality that cannot answer a query teaches nothing of it and has no share in it."""
        absolute = {modality: certainty(output.logits) for modality, output in outputs.items()}
        relative = {modality: negative_entropy(output.logits) for modality, output in outputs.items()}
        measures = {"both": [absolute, relative], "absolute": [absolute], "relative": [relative]}
        taught = _where_usable(sample_condition(measures[self.tests]), outputs)
        return Selection(taught, absolute, _shares(absolute, outputs))


class ActiveInferenceSelection(nn.Module):
    """AMFIR, **our reading** (METHODS 4; its equations are not public): belief in each modality by active inference.

    `π(m) = softmax_m(log ε(m) - γ·G(m))`: G is the expected free energy of answering the query by m, log ε(m) the mean
    log-likelihood of the support's own labels under m (0 for both where it is not known of both, as at one shot). A
    modality teaches where π > 0.5 + margin; π is the teacher's weight and the share in the answer.

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

    def forward(self, outputs: Outputs) -> Selection:
        """Select; a modality that cannot answer a query has belief 0 there."""
        belief = self._belief(outputs)
        taught = {modality: share > 0.5 + self.margin for modality, share in belief.items()}
        return Selection(_where_usable(taught, outputs), belief, belief)

    def _belief(self, outputs: Outputs) -> dict[str, Tensor]:
        """modality -> (E, Q), summing to 1."""
        logs = [full_precision(output.logits)[0].log_softmax(dim=-1) for output in outputs.values()]
        consensus = torch.stack(logs).mean(dim=0)  # log of the geometric mean, up to a constant per query
        energy = torch.stack([free_energy(output.logits, consensus) for output in outputs.values()])
        scores = _prior(outputs) - self.precision * energy  # (2, E, Q)
        if all(output.usable is None for output in outputs.values()):
            return dict(zip(outputs, scores.softmax(dim=0).unbind(0), strict=True))
        everything = torch.ones_like(scores[0], dtype=torch.bool)
        usable = torch.stack([everything if (can := o.usable) is None else can for o in outputs.values()])
        # Taken out before the softmax: an absent modality must not push the belief in the other one under a float.
        is_out = ~usable & usable.any(dim=0)
        even = scores.masked_fill(~usable.any(dim=0), 0)
        return dict(zip(outputs, even.masked_fill(is_out, -torch.inf).softmax(dim=0).unbind(0), strict=True))


class Strategy(nn.Module):
    """Distils by a fixed strategy instead of the selection's own choice of teachers (AMFAR, Fig. 3).

    `none`: nobody teaches; `rgb_teaches`, `flow_teaches`: one modality teaches every query; `mutual`: both teach all;
    `active`: as the selection says. Weights and shares stay those of the selection.

    Raises:
        ValueError: for another strategy.
    """

    def __init__(self, selection: nn.Module, *, strategy: str = "active") -> None:
        super().__init__()
        if strategy not in STRATEGIES:
            raise ValueError(f"strategy must be one of {STRATEGIES}, got {strategy!r}")
        self.selection, self.strategy = selection, strategy

    def forward(self, outputs: Outputs) -> Selection:
        """Select, with the strategy's teachers."""
        selection: Selection = self.selection(outputs)
        if self.strategy == "active":
            return selection
        teachers = list(outputs) if self.strategy == "mutual" else [self.strategy.removesuffix("_teaches")]
        everything = {
            teacher: torch.ones_like(selection.teacher_weight[teacher], dtype=torch.bool)
            for teacher in teachers
            if teacher != "none"
        }
        return replace(selection, taught=_where_usable(everything, outputs))


def _text_similarity(output: BranchOutput) -> Tensor:
    if output.text_similarity is None:
        raise ValueError("a view's text certainty needs its text similarity, and there is none")
    return output.text_similarity


def _where_usable(taught: dict[str, Tensor], outputs: Outputs) -> dict[str, Tensor]:
    """Only queries that both branches can answer are taught: there is nothing to learn from, or for, an absent one."""
    for output in outputs.values():
        if output.usable is not None:
            taught = {branch: queries & output.usable for branch, queries in taught.items()}
    return taught


def _prior(outputs: Outputs) -> Tensor:
    """log ε (2, E, 1); 0 for both modalities in an episode where it is not known of both."""
    evidence = [output.support_evidence for output in outputs.values()]
    first = next(iter(outputs.values())).logits
    known = [full_precision(one)[0] for one in evidence if one is not None]
    if len(known) < len(evidence):
        return first.new_zeros(len(evidence), len(first), 1)
    prior = torch.stack(known)
    return torch.where(prior.isnan().any(dim=0), 0.0, prior)[..., None]


def _shares(trust: dict[str, Tensor], outputs: Outputs) -> dict[str, Tensor]:
    """Trust (E, Q) by branch, made to sum to 1 over the branches that can answer; even where none can."""
    usable = {branch: output.usable for branch, output in outputs.items()}
    kept = {
        branch: value if (can := usable[branch]) is None else value.masked_fill(~can, 0)
        for branch, value in trust.items()
    }
    total = torch.stack(list(kept.values())).sum(dim=0)
    nobody = total == 0
    return {
        branch: torch.where(nobody, 1 / len(kept), value / total.masked_fill(nobody, 1))
        for branch, value in kept.items()
    }
