"""Early fusion: the features of all sources become one sequence, and one branch compares it.

`early_concat` (EC) puts the features of a frame side by side; `early_attention` (EA) first lets the frames of each
source attend to those of the others. With `of`, the branch is that of another method; without, a temporal head (ours).
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from mdmf.layers.heads import CoAttentionHead, TemporalHead
from mdmf.models.branch import Branch, Task, Tokens
from mdmf.models.method import Method
from mdmf.models.multi_source import MultiSourceSettings, branch_of, head_branch
from mdmf.models.registry import FeatureInfo, register
from mdmf.mutual.fuse import WeightedSum
from mdmf.settings import MethodSettings
from mdmf.structures import BranchOutput


class EarlyFusionSettings(MultiSourceSettings):
    """Settings of early fusion."""

    cross_entropy: Literal["fused", "branches", "all"] = Field("branches", description="of which answers")

    @property
    def table_name(self) -> str:
        """`concat_` or `attention_` and the name of the branch's method."""
        return self.name if self.of is None else f"{self.name.removeprefix('early_')}_{self.of.name}"


class EarlyAttentionSettings(EarlyFusionSettings):
    """Settings of early fusion by co-attention."""

    @property
    def is_trained(self) -> bool:
        """The attention has weights, whatever the branch has."""
        return True


class Concatenation(nn.Module):
    """Features of a frame side by side; sources of unlike norm count by their norm."""

    def forward(self, *features: Tensor) -> Tensor:
        """(B, T, D) of each source -> (B, T, ΣD)."""
        return torch.cat(features, dim=-1)


class CoAttention(nn.Module):
    """`x'^m = x^m + softmax((W_q^m x^m)(W_k^j x^j)ᵀ / √D)(W_v^j x^j)` over all frames of all other sources j (ours).

    Args:
        size: D, the same for all sources.
        n_sources: at least two.
    """

    def __init__(self, size: int, n_sources: int) -> None:
        super().__init__()
        self.q, self.k, self.v = (
            nn.ModuleList(nn.Linear(size, size, bias=False) for _ in range(n_sources)) for _ in range(3)
        )

    def forward(self, *features: Tensor) -> Tensor:
        """(B, T, D) of each source -> (B, T, M·D)."""
        keys = [project(frames) for project, frames in zip(self.k, features, strict=True)]
        values = [project(frames) for project, frames in zip(self.v, features, strict=True)]
        attended = []
        for source, (project, frames) in enumerate(zip(self.q, features, strict=True)):
            other_keys = torch.cat(keys[:source] + keys[source + 1 :], dim=1)
            other_values = torch.cat(values[:source] + values[source + 1 :], dim=1)
            share = (project(frames) @ other_keys.transpose(1, 2) / frames.shape[-1] ** 0.5).softmax(dim=-1)
            attended.append(frames + share @ other_values)
        return torch.cat(attended, dim=-1)


class JoinedBranch(Branch):
    """The branch of another method on the joined features of several sources.

    Args:
        join: features (B, T, D) of each source -> (B, T, D').
        branch: looks at one source, the joined one.
        sources: joined, in this order.
    """

    def __init__(self, join: nn.Module, branch: Branch, *, sources: tuple[str, ...]) -> None:
        super().__init__(sources=sources)
        self.join, self.branch = join, branch

    def embed(self, features: Mapping[str, Tensor], prompts: Tensor | None = None) -> Tokens:
        """Tokens of the joined features."""
        joined = self.join(*(features[source] for source in self.sources))
        return self.branch.embed({self.branch.sources[0]: joined}, prompts)

    def compare(self, support: Tokens, query: Tokens, task: Task) -> BranchOutput:
        """As the branch compares."""
        output: BranchOutput = self.branch.compare(support, query, task)
        return output

    def frame_costs(self, support: Tokens, query: Tokens) -> Tensor | None:
        """As the branch's."""
        costs: Tensor | None = self.branch.frame_costs(support, query)
        return costs

    def align(self, costs: Tensor) -> Tensor:
        """As the branch aligns."""
        distance: Tensor = self.branch.align(costs)
        return distance


def _joined(settings: EarlyFusionSettings, of: MethodSettings, features: FeatureInfo, join: nn.Module) -> Method:
    size = sum(features.sizes[source] for source in settings.sources)
    branch = branch_of(of, replace(features, sizes={"joint": size}), source="joint")
    return _method(settings, JoinedBranch(join, branch, sources=settings.sources))


def _method(settings: EarlyFusionSettings, branch: Branch) -> Method:
    fusion = WeightedSum({"joint": 1.0}, temperature=settings.temperature)
    return Method({"joint": branch}, fusion=fusion, cross_entropy=settings.cross_entropy)


@register("early_concat", EarlyFusionSettings, citation="early fusion by concatenation (EC), as AMFAR's Table 1 has it")
def make_early_concat(settings: EarlyFusionSettings, features: FeatureInfo) -> Method:
    """One branch over the features of all sources side by side."""
    if settings.of is not None:
        return _joined(settings, settings.of, features, Concatenation())
    return _method(settings, head_branch(settings, features, sources=settings.sources, head=TemporalHead))


@register(
    "early_attention", EarlyAttentionSettings, citation="early fusion by co-attention (EA), as AMFAR's Table 1 has it"
)
def make_early_attention(settings: EarlyAttentionSettings, features: FeatureInfo) -> Method:
    """One branch over the features of all sources, each attended to the others."""
    sizes = [features.sizes[source] for source in settings.sources]
    if settings.of is None:
        if len(sizes) != 2:
            raise ValueError(
                f"the head of early_attention joins two sources, got {list(settings.sources)}; or give `of`"
            )
        return _method(settings, head_branch(settings, features, sources=settings.sources, head=CoAttentionHead))
    if len(sizes) < 2:
        raise ValueError(f"early_attention joins two or more sources, got {list(settings.sources)}")
    if len(set(sizes)) > 1:
        raise ValueError(
            f"co-attention needs sources of one feature size, got {dict(zip(settings.sources, sizes, strict=True))}"
        )
    return _joined(settings, settings.of, features, CoAttention(sizes[0], len(sizes)))
