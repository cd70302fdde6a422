"""AMFAR, AMFIR and the fusions they are compared with: RGB and optical flow of the same video.

Active Exploration of Multimodal Complementarity for Few-Shot Action Recognition (AMFAR, CVPR 2023): each modality has
its own features, head and distance; the one that is surer of a query teaches the other (ASS, AMD), and the answer
weighs both by their certainty (AMI). AMFIR (arXiv 2506.13322) selects by active inference; its equations are not
public, and what is here is our reading of it (METHODS 4).

A query whose features of one modality are missing is answered by the other, unless the fusion looks at one alone.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mdmf.distances.pairwise import COSINE_EPS
from mdmf.distances.video import VideoDistance, video_distance
from mdmf.layers.heads import CoAttentionHead, TemporalHead
from mdmf.layers.prototypes import class_prototypes, prototypes_without_each_shot
from mdmf.models.branch import logits_from_distance
from mdmf.models.presence import query_usable, videos_present
from mdmf.models.two_branch import LossWeights, TwoBranch
from mdmf.mutual.fuse import ActiveFusion, WeightedSum
from mdmf.mutual.selection import ActiveInferenceSelection, ActiveSampleSelection, Strategy
from mdmf.structures import BranchOutput, Episode

MULTI_MODAL = ("amfar", "amfir", "late_fusion", "early_concat", "early_attention")
SOURCES = ("rgb", "flow")
FUSIONS = ("active", "sum", *SOURCES)


class ModalityBranch(nn.Module):
    """A head over one source, or over several fused early, and a distance to each class's prototype.

    Args:
        head: features (B, T, D) of each source -> tokens (B, T, H).
        sources: what the head is given, in this order.
        distance: of query tokens to prototypes.
        temperature: the branch's logits are `-distance / temperature`.
        wants_evidence: also say how well the support's labels are explained (AMFIR); needs two shots.
    """

    def __init__(
        self,
        head: nn.Module,
        *,
        sources: Sequence[str],
        distance: VideoDistance,
        temperature: float = 1.0,
        wants_evidence: bool = False,
    ) -> None:
        super().__init__()
        self.head, self.sources, self.distance = head, tuple(sources), distance
        self.temperature, self.wants_evidence = temperature, wants_evidence

    def embed(self, features: Mapping[str, Tensor]) -> Tensor:
        """Tokens of videos: source -> (B, T, D); gives (B, T, H)."""
        return self.head(*(features[source] for source in self.sources))

    def compare(
        self,
        support_tokens: Tensor,
        query_tokens: Tensor,
        *,
        support_present: Tensor | None = None,
        query_present: Tensor | None = None,
    ) -> BranchOutput:
        """Answer from tokens.

        Args:
            support_tokens: (E, N, K, T, H).
            query_tokens: (E, Q, T, H).
            support_present: (E, N, K) bool, the videos that have features; None: all.
            query_present: (E, Q) bool, likewise.
        """
        prototypes = class_prototypes(support_tokens, support_present)  # (E, N, K, T, H) -> (E, N, T, H)
        logits = self._logits(query_tokens, prototypes)
        usable = query_usable(support_present, query_present, n_queries=logits.shape[1])
        if usable is not None:
            logits = logits.masked_fill(~usable[..., None], 0)
        evidence = self._evidence(support_tokens, prototypes, support_present) if self.wants_evidence else None
        return BranchOutput(logits, usable=usable, support_evidence=evidence)

    def forward(self, episode: Episode) -> BranchOutput:
        """Support and query videos are embedded in one pass."""
        E, N, K = (episode.sizes[letter] for letter in "ENK")
        features = {
            source: torch.cat([episode.support[source].flatten(1, 2), episode.query[source]], dim=1).flatten(0, 1)
            for source in self.sources
        }
        tokens = self.embed(features).unflatten(0, (E, -1))  # (E, N*K + Q, T, H)
        return self.compare(
            tokens[:, : N * K].unflatten(1, (N, K)),
            tokens[:, N * K :],
            support_present=videos_present(episode.support_present, self.sources),
            query_present=videos_present(episode.query_present, self.sources),
        )

    def _logits(self, query_tokens: Tensor, prototypes: Tensor) -> Tensor:
        return logits_from_distance(self.distance(query_tokens, prototypes), temperature=self.temperature)

    def _evidence(self, support_tokens: Tensor, prototypes: Tensor, present: Tensor | None) -> Tensor | None:
        """Mean log-likelihood (E,) of the support's labels, each video classified without itself; None at one shot.

        The other classes' prototypes are those of all their shots, the own class's that of its other shots. Not a
        number where no class has a second shot.
        """
        E, N, K = support_tokens.shape[:3]
        if K < 2:
            return None
        logits = self._logits(support_tokens.flatten(1, 2), prototypes).unflatten(1, (N, K))  # (E, N, K, N)
        others = prototypes_without_each_shot(support_tokens, present)  # (E, N, K, T, H)
        own = self._logits(support_tokens.flatten(0, 2)[:, None], others.flatten(0, 2)[:, None]).reshape(E, N, K, 1)
        is_own = torch.eye(N, dtype=torch.bool, device=own.device)[:, None]  # (N, 1, N)
        likelihood = torch.where(is_own, own, logits).log_softmax(dim=-1)
        own_likelihood = likelihood.diagonal(dim1=1, dim2=3).transpose(1, 2)  # (E, N, K)
        if present is None:
            return own_likelihood.mean(dim=(1, 2))
        counts = present & (present.sum(dim=2, keepdim=True) > 1)  # a lone shot has no other to be classified by
        n_counted = counts.sum(dim=(1, 2))
        mean = own_likelihood.masked_fill(~counts, 0).sum(dim=(1, 2)) / n_counted.clamp(min=1)
        return mean.masked_fill(n_counted == 0, torch.nan)


class MultiModal(TwoBranch):
    """One or two modalities of a video, or one joint branch over both (early fusion)."""

    @property
    def modality_branches(self) -> dict[str, ModalityBranch]:
        """The branches by name."""
        return {name: branch for name, branch in self.branches.items() if isinstance(branch, ModalityBranch)}

    def prepare(self, episode: Episode) -> Episode:
        """The episode as it is, if it has what the branches need.

        Raises:
            ValueError: if a source is missing altogether.
        """
        needed = {source for branch in self.modality_branches.values() for source in branch.sources}
        if not needed <= episode.support.keys():
            raise ValueError(f"expected features of {sorted(needed)}, got {sorted(episode.support)}")
        return episode


def make_multi_modal(
    name: str,
    feature_sizes: Mapping[str, int],
    *,
    modalities: Sequence[str] = SOURCES,
    head_size: int | None = None,
    distance: str = "otam",
    otam_temperature: float = 0.5,
    otam_directions: str = "both",
    cosine_eps: float = COSINE_EPS,
    branch_temperature: float = 1.0,
    temperature: float = 1.0,
    sample_tests: str = "both",
    strategy: str = "active",
    fusion: str = "active",
    precision: float = 1.0,
    learn_precision: bool = False,
    selection_margin: float = 0.05,
    cross_entropy: str = "branches",
    detach_teacher: bool = True,
    distill_weight: float = 1.0,
    **head_settings: Any,
) -> MultiModal:
    """Put a multi-modal model together from its parts; the names are those of the model settings.

    Args:
        name: one of `MULTI_MODAL`. `late_fusion` is two branches whose distances are summed, tied together by nothing
            but the choice of `cross_entropy`; the `early_*` are one branch over both sources.
        feature_sizes: source -> D.
        modalities: one or both; one makes a single-modality model.
        head_size: of the tokens; None: that of the source (of the first, where sources are fused early).
        head_settings: of the heads: tcn_dropout, n_heads, hidden_size, attention_dropout, dropout.

    Raises:
        ValueError: for an unknown choice, or one that does not go with the others.
    """
    _check_choices(name, modalities, fusion, learn_precision, cross_entropy)
    modalities = sorted(modalities, key=SOURCES.index)  # their order numbers teachers, and is no setting
    compared: dict[str, Any] = {
        "distance": video_distance(
            distance, otam_temperature=otam_temperature, otam_directions=otam_directions, eps=cosine_eps
        ),
        "temperature": branch_temperature,
    }
    if name.startswith("early_"):
        sizes = [feature_sizes[modality] for modality in modalities]
        head = (TemporalHead if name == "early_concat" else CoAttentionHead)(
            sizes, head_size or sizes[0], **head_settings
        )
        branches = {"joint": ModalityBranch(head, sources=modalities, **compared)}
    else:
        branches = {
            modality: ModalityBranch(
                TemporalHead([feature_sizes[modality]], head_size or feature_sizes[modality], **head_settings),
                sources=[modality],
                wants_evidence=name == "amfir",
                **compared,
            )
            for modality in modalities
        }
    if name == "late_fusion":
        strategy, fusion = "none", "sum"
    chosen: nn.Module = ActiveSampleSelection(tests=sample_tests)
    if name == "amfir":
        chosen = ActiveInferenceSelection(precision=precision, margin=selection_margin, learn_precision=learn_precision)
    return MultiModal(
        branches,
        selection=Strategy(chosen, strategy=strategy),
        fusion=_make_fusion(fusion, list(branches), temperature),
        loss_weights=LossWeights(distill_weight),
        detach_teacher=detach_teacher,
        cross_entropy=cross_entropy,
    )


def _make_fusion(fusion: str, branches: Sequence[str], temperature: float) -> nn.Module:
    if len(branches) == 1:
        return WeightedSum({branches[0]: 1.0}, temperature=temperature)
    if fusion == "active":
        return ActiveFusion(temperature=temperature)
    return WeightedSum({branch: float(fusion in ("sum", branch)) for branch in branches}, temperature=temperature)


def _check_choices(
    name: str, modalities: Sequence[str], fusion: str, learn_precision: bool, cross_entropy: str
) -> None:
    if name not in MULTI_MODAL:
        raise ValueError(f"unknown multi-modal model {name!r}; expected one of {MULTI_MODAL}")
    unknown = [modality for modality in modalities if modality not in SOURCES]
    if unknown or not modalities or len(set(modalities)) != len(modalities):
        raise ValueError(f"modalities must be one or both of {SOURCES}, got {tuple(modalities)}")
    if len(modalities) < 2 and name not in ("amfar", "amfir"):
        raise ValueError(f"{name} fuses both modalities, got {tuple(modalities)}; one alone: name amfar")
    if fusion not in FUSIONS:
        raise ValueError(f"fusion must be one of {FUSIONS}, got {fusion!r}")
    has_use = name == "amfir" and len(modalities) == 2 and fusion == "active" and cross_entropy != "branches"
    if learn_precision and not has_use:
        raise ValueError(
            "learn_precision trains amfir's γ through its fused answer: it needs name amfir, two modalities, fusion "
            f"active and cross_entropy fused or all; got {name}, {tuple(modalities)}, {fusion} and {cross_entropy}"
        )
