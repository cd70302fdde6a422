"""CLIP-M2DF as in docs/methods.md, section 2, one episode at a time: reference of speeds and oracle of the tests.

It is written for readability, in the usual way of published code: every video of every episode is fused again, classes
are compared one after the other, and the alignment is computed cell by cell. It uses the weights and settings of an
`M2df`, and none of its code.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from mdmf.models.zoo.m2df import M2df

VIEWS = ("local", "global")


@dataclass(frozen=True)
class PlainAnswer:
    """Output for one episode: logits (Q, N), logits and text similarities (Q, N) of each view, losses by name."""

    logits: Tensor
    view_logits: dict[str, Tensor]
    text_similarity: dict[str, Tensor]
    losses: dict[str, Tensor]


def cosine(x: Tensor, y: Tensor, eps: float = 0.01) -> Tensor:
    """Cosine similarities, (A, D), (B, D) -> (A, B)."""
    return x @ y.T / (x.norm(dim=-1)[:, None] * y.norm(dim=-1)[None, :] + eps)


def soft_minimum(values: list[Tensor], temperature: float) -> Tensor:
    """`-λ·log Σ exp(-x/λ)` of tensors of one shape."""
    return -temperature * torch.logsumexp(torch.stack(values) / -temperature, dim=0)


def one_way_otam(cost: Tensor, temperature: float) -> Tensor:
    """Alignment of some queries with one class, cell by cell: (Q, T_query, T_support) -> (Q,)."""
    Q, n_rows, n_columns = cost.shape
    last = n_columns + 1
    zero = cost.new_zeros(Q)
    table = {(row, 0): zero for row in range(n_rows)}  # the padded left column
    for row in range(n_rows):
        for column in range(1, last + 1):
            here = zero if column == last else cost[:, row, column - 1]
            if row == 0:
                table[row, column] = table[row, column - 1] + here
                continue
            before = [table[row - 1, column - 1], table[row, column - 1]]
            if column in (1, last):
                before.append(table[row - 1, column])
            table[row, column] = here + soft_minimum(before, temperature)
    return table[n_rows - 1, last]


def otam(query: Tensor, prototype: Tensor, *, temperature: float = 0.5, directions: str = "both") -> Tensor:
    """Distance of queries (Q, T, D) to one class's prototype (T, D): (Q,)."""
    cost = torch.stack([1 - cosine(frames, prototype) for frames in query])
    distance = one_way_otam(cost, temperature)
    return distance if directions == "query_to_support" else distance + one_way_otam(cost.mT, temperature)


def otam_baseline(support: Tensor, query: Tensor) -> Tensor:
    """The `otam` baseline: (N, K, T, D), (Q, T, D) -> logits (Q, N)."""
    return torch.stack([-otam(query, shots.mean(dim=0)) for shots in support], dim=1)


class PlainM2df:
    """CLIP-M2DF with the weights of another model.

    Args:
        model: its current weights, settings and mode (training or not) are used for each episode.
    """

    def __init__(self, model: M2df) -> None:
        self.model = model
        self.weights: Mapping[str, Tensor] = dict(model.named_parameters())

    def answer(
        self,
        support: Tensor,
        query: Tensor,
        class_text: Tensor,
        *,
        labels: Tensor | None = None,
        class_ids: Tensor | None = None,
        draws: Tensor | None = None,
    ) -> PlainAnswer:
        """Answer one episode.

        Args:
            support: (N, K, T, D).
            query: (Q, T, D).
            class_text: (N, D).
            labels: (Q,), for the losses that need them.
            class_ids: (N,), places of the classes among those of the video-text loss.
            draws: (Q,) uniform numbers, for a selector that samples.
        """
        N, K = support.shape[:2]
        chosen = self.select(query, class_text, draws)
        frames = torch.cat([support.flatten(0, 1), query])
        prompts = torch.cat([class_text.repeat_interleave(K, dim=0), class_text[chosen]])
        view_logits, text_similarity, videos = {}, {}, []
        for view in VIEWS:
            tokens = self.fuse(view, frames, prompts)
            prototypes = [tokens[c * K : (c + 1) * K].mean(dim=0) for c in range(N)]
            of_queries = tokens[N * K :]
            distance = self.model.branch(view).distance
            compared = {"temperature": distance.otam_temperature, "directions": distance.otam_directions}
            view_logits[view] = torch.stack(
                [-otam(of_queries[:, 1:], prototype[1:], **compared) for prototype in prototypes], dim=1
            )
            text_similarity[view] = torch.cat([cosine(of_queries[:, 0], one[:1]) for one in prototypes], dim=1)
            videos.append(tokens[:, 1:].mean(dim=1))
        logits = view_logits["local"] + view_logits["global"]
        losses = {"distill_loss": self.distillation(view_logits, text_similarity)}
        if labels is not None:
            losses["cross_entropy_loss"] = functional.cross_entropy(logits, labels)
        if labels is not None and class_ids is not None:
            ids = torch.cat([class_ids.repeat_interleave(K), class_ids[labels]])
            losses["video_text_loss"] = self.video_text(sum(videos) / 2, ids)
        return PlainAnswer(logits, view_logits, text_similarity, losses)

    def total_loss(self, answer: PlainAnswer) -> Tensor:
        """`L_ce + λ_kd·L_kd + λ_vt·L_vt`."""
        weights = self.model.loss_weights
        return (
            answer.losses["cross_entropy_loss"]
            + weights.distill * answer.losses["distill_loss"]
            + weights.video_text * answer.losses["video_text_loss"]
        )

    def select(self, query: Tensor, class_text: Tensor, draws: Tensor | None) -> Tensor:
        """The class whose prompt each query receives: (Q,)."""
        selector = self.model.selector
        scores = []
        for frames in query:
            best = cosine(frames, class_text).topk(min(selector.top_k, len(frames)), dim=0).values
            scores.append(best.mean(dim=0))
        posterior = (selector.scale * torch.stack(scores)).softmax(dim=-1)
        if selector.mode == "argmax":
            return posterior.argmax(dim=-1)
        assert draws is not None
        return (posterior.cumsum(dim=-1) > draws[:, None]).int().argmax(dim=-1)

    def fuse(self, view: str, frames: Tensor, prompts: Tensor) -> Tensor:
        """Frames (B, T, D) in context and prompts (B, D) to tokens (B, 1+T, D)."""
        context = self.local_context(frames) if view == "local" else self.global_context(frames)
        query_tokens = torch.cat([prompts[:, None], context], dim=1)
        value_tokens = torch.cat([prompts[:, None], frames], dim=1)
        layers = self.model.branch(view).fusion.layers
        for number in range(len(layers)):
            query_tokens = self.fusion_layer(f"branches.{view}.fusion.layers.{number}.", query_tokens, value_tokens)
            value_tokens = query_tokens
        return query_tokens

    def local_context(self, frames: Tensor) -> Tensor:
        """LTCE: (B, T, D) -> (B, T, D)."""
        steps = frames.transpose(1, 2)
        for name in ("first", "second"):
            of = f"branches.local.context.{name}."
            steps = functional.conv1d(steps, self.weights[of + "weight"], self.weights[of + "bias"], padding=1)
        return steps.transpose(1, 2)

    def global_context(self, frames: Tensor) -> Tensor:
        """GTCE: (B, T, D) -> (B, T, D); computes every step of every block, and uses the last one."""
        steps = frames.transpose(1, 2)
        for number in range(3):
            hidden, dilation = steps, 2**number
            for name in ("first", "second"):
                of = f"branches.global.context.blocks.{number}.{name}."
                size = self.weights[of + "parametrizations.weight.original0"]
                direction = self.weights[of + "parametrizations.weight.original1"]
                weight = size * direction / direction.flatten(1).norm(dim=1)[:, None, None]
                padded = functional.pad(hidden, (2 * dilation, 0))  # causal
                hidden = functional.relu(
                    functional.conv1d(padded, weight, self.weights[of + "bias"], dilation=dilation)
                )
                hidden = self._drop(hidden, "branches.global.context.blocks.0.dropout")
            steps = functional.relu(hidden + steps)
        return steps[:, :, -1][:, None] + frames

    def fusion_layer(self, of: str, query_tokens: Tensor, value_tokens: Tensor) -> Tensor:
        """`A = MHA(LN q, LN k, LN v) + q`, `Z = FFN(A) + A`: (B, L, D), (B, L, D) -> (B, L, D)."""
        weights, attention = self.weights, self.model.get_submodule(of + "attention")
        D = query_tokens.shape[-1]
        norm = (weights[of + "attention.norm.weight"], weights[of + "attention.norm.bias"])
        normed_q, normed_v = (functional.layer_norm(tokens, (D,), *norm) for tokens in (query_tokens, value_tokens))
        q = normed_q @ weights[of + "attention.to_q.weight"].T
        k, v = (normed_v @ weights[of + f"attention.to_{name}.weight"].T for name in "kv")
        size = D // attention.n_heads
        heads = []
        for head in range(attention.n_heads):
            part = slice(head * size, (head + 1) * size)
            scores = q[..., part] @ k[..., part].transpose(1, 2) / math.sqrt(size)
            heads.append(scores.softmax(dim=-1) @ v[..., part])
        project = (weights[of + "attention.project.weight"], weights[of + "attention.project.bias"])
        attended = self._drop(functional.linear(torch.cat(heads, dim=-1), *project), of + "attention.dropout")
        attended = attended + query_tokens
        hidden = functional.linear(attended, weights[of + "feed_forward.0.weight"], weights[of + "feed_forward.0.bias"])
        hidden = self._drop(functional.gelu(hidden), of + "feed_forward.2")
        outcome = functional.linear(hidden, weights[of + "feed_forward.3.weight"], weights[of + "feed_forward.3.bias"])
        return self._drop(outcome, of + "feed_forward.4") + attended

    def _drop(self, values: Tensor, name: str) -> Tensor:
        return functional.dropout(values, self.model.get_submodule(name).p, self.model.training)

    def distillation(self, view_logits: Mapping[str, Tensor], text_similarity: Mapping[str, Tensor]) -> Tensor:
        """MVMD under the condition `both`, query by query."""
        visual = {view: logits.softmax(dim=-1).amax(dim=-1) for view, logits in view_logits.items()}
        text = {view: similarity.softmax(dim=-1).amax(dim=-1) for view, similarity in text_similarity.items()}
        loss = view_logits["local"].new_zeros(())
        for teacher, student in (VIEWS, VIEWS[::-1]):
            weights, divergences = [], []
            for q in range(len(visual["local"])):
                local_is_surer = [bool(of["local"][q] >= of["global"][q]) for of in (visual, text)]
                teaches = all(local_is_surer) if teacher == "local" else not any(local_is_surer)
                if not teaches:
                    continue
                p = view_logits[teacher][q].detach().log_softmax(dim=-1)
                learned = view_logits[student][q].log_softmax(dim=-1)
                weights.append((visual[teacher][q] + text[teacher][q]).detach())
                divergences.append((p.exp() * (p - learned)).sum())
            if weights:
                total = sum(weight * divergence for weight, divergence in zip(weights, divergences, strict=True))
                loss = loss + total / sum(weights)
        return loss

    def video_text(self, videos: Tensor, class_ids: Tensor) -> Tensor:
        """`scale·cos(video, text of every class)`: videos (B, D), class_ids (B,)."""
        logits = self.weights["video_text.scale"] * cosine(videos, self.model.video_text.all_class_text)
        return functional.cross_entropy(logits, class_ids)
