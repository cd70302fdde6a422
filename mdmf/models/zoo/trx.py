"""TRX: Temporal-Relational CrossTransformers for Few-Shot Action Recognition.

A query's ordered tuples of frames (pairs, triples) attend to those of all support videos of a class at once. What they
gather is the class's prototype for this query, and its squared distance to the query is the distance to the class. Each
number of frames per tuple has weights of its own; the logits of all are averaged.
"""

from collections.abc import Mapping
from itertools import combinations

import torch
from pydantic import Field
from torch import Tensor, nn

from mdmf.models.branch import Branch, Task, Tokens, logits_from_distance
from mdmf.models.method import Method
from mdmf.models.registry import FeatureInfo, register
from mdmf.settings import SingleSourceSettings
from mdmf.structures import BranchOutput


class TrxSettings(SingleSourceSettings):
    """Settings of TRX."""

    cardinalities: tuple[int, ...] = Field((2, 3), min_length=1, description="frames per tuple")
    key_size: int = Field(1152, ge=1, description="size of keys and values")
    dropout: float = Field(0.1, ge=0, lt=1, description="of the frames with their position")


class TupleEncoder(nn.Module):
    """Keys and values of all ordered tuples of `cardinality` frames: (B, T, D) -> two of (B, P, key_size)."""

    def __init__(self, size: int, cardinality: int, *, key_size: int, dropout: float) -> None:
        super().__init__()
        self.cardinality = cardinality
        self.key = nn.Linear(cardinality * size, key_size)
        self.value = nn.Linear(cardinality * size, key_size)
        self.norm = nn.LayerNorm(key_size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        T = frames.shape[1]
        if self.cardinality > T:
            raise ValueError(f"expected videos of at least {self.cardinality} frames for tuples of as many, got {T}")
        frames = self.dropout(frames + positions(frames))
        places = torch.tensor(list(combinations(range(T), self.cardinality)), device=frames.device)
        tuples = frames[:, places].flatten(2)  # (B, T, D) -> (B, P, cardinality·D)
        return self.norm(self.key(tuples)), self.value(tuples)


def positions(frames: Tensor) -> Tensor:
    """The positional code of the released code, a tenth of the usual sinusoids: (B, T, D) -> (T, D)."""
    T, D = frames.shape[1:]
    place = torch.arange(T, device=frames.device, dtype=torch.float32)[:, None]
    channel = torch.arange(D, device=frames.device)
    angle = place * 10000.0 ** (-(channel - channel % 2) / D)
    return 0.1 * torch.where(channel % 2 == 0, angle.sin(), angle.cos()).to(frames.dtype)


class TrxBranch(Branch):
    """The logits of every cardinality, averaged."""

    def __init__(self, encoders: list[TupleEncoder], *, source: str) -> None:
        super().__init__(sources=[source])
        self.encoders = nn.ModuleList(encoders)

    def embed(self, features: Mapping[str, Tensor], prompts: Tensor | None = None) -> Tokens:
        """`keys_i` and `values_i` (B, P, key_size) of cardinality number i."""
        tokens = {}
        for number, encoder in enumerate(self.encoders):
            tokens[f"keys_{number}"], tokens[f"values_{number}"] = encoder(features[self.sources[0]])
        return tokens

    def compare(self, support: Tokens, query: Tokens, task: Task) -> BranchOutput:
        """Logits from the squared distance of a query's tuples to each class's prototype for this query."""
        distances = []
        for number in range(len(self.encoders)):
            parts = [tokens[f"{part}_{number}"] for tokens in (query, support) for part in ("keys", "values")]
            distances.append(tuple_distance(*parts, present=task.support_present))
        return BranchOutput(logits_from_distance(torch.stack(distances).mean(dim=0)))


def tuple_distance(
    query_keys: Tensor, query_values: Tensor, keys: Tensor, values: Tensor, *, present: Tensor | None = None
) -> Tensor:
    """`mean_p |v_q(p) - Σ_s a(p, s)·v_s|²`, a = softmax over the tuples s of all shots of a class; by inner products.

    Query keys and values (E, Q, P, d), support's (E, N, K, P, d), present (E, N, K) bool or None: all -> (E, Q, N).
    """
    P = keys.shape[3]
    with torch.autocast(keys.device.type, enabled=False):
        query_keys, query_values, keys, values = (x.float() for x in (query_keys, query_values, keys, values))
        keys, values = keys.flatten(2, 3), values.flatten(2, 3)  # (E, N, K·P, d)
        scores = torch.einsum("eqpd,ensd->eqnps", query_keys, keys) / keys.shape[-1] ** 0.5
        if present is not None:
            absent = ~present.repeat_interleave(P, dim=2)[:, None, :, None]  # (E, 1, N, 1, K·P)
            scores = scores.masked_fill(absent, torch.finfo(scores.dtype).min)
        share = scores.softmax(dim=-1)
        query_norm = query_values.square().sum(dim=-1)[:, :, None]  # (E, Q, 1, P)
        inner = (share * torch.einsum("eqpd,ensd->eqnps", query_values, values)).sum(dim=-1)
        gram = values @ values.transpose(-1, -2)  # (E, N, K·P, K·P)
        prototype_norm = (torch.einsum("eqnps,enst->eqnpt", share, gram) * share).sum(dim=-1)
        return (query_norm - 2 * inner + prototype_norm).mean(dim=-1)  # (E, Q, N, P) -> (E, Q, N)


@register(
    "trx",
    TrxSettings,
    citation="Perrett et al., Temporal-Relational CrossTransformers for Few-Shot Action Recognition, CVPR 2021",
    lost="nothing of the head; the authors also train the visual encoder, which is frozen here",
)
def make_trx(settings: TrxSettings, features: FeatureInfo) -> Method:
    """One branch; TRX's loss is the sum over queries, ours the mean: scale the authors' learning rate by N·Q."""
    encoders = [
        TupleEncoder(features.sizes[settings.source], n, key_size=settings.key_size, dropout=settings.dropout)
        for n in settings.cardinalities
    ]
    return Method({settings.source: TrxBranch(encoders, source=settings.source)})
