"""PPS, the probability prompt selector: which class prompt a query video, that has no label, is given."""

import torch
from torch import Tensor, nn

from mdmf.distances.pairwise import COSINE_EPS, cosine_similarity

SELECTOR_MODES = ("sample", "argmax", "expect", "off")


def top_frames_similarity(class_text: Tensor, frames: Tensor, *, top_k: int, eps: float = COSINE_EPS) -> Tensor:
    """How well each video fits each text: the mean of its `top_k` best frames (all frames, if it has fewer).

    Args:
        class_text: (E, N, D).
        frames: (E, Q, T, D).

    Returns:
        (E, Q, N), larger is more alike.
    """
    Q, T = frames.shape[1:3]
    similarity = cosine_similarity(frames.flatten(1, 2), class_text, eps=eps).unflatten(1, (Q, T))  # (E, Q, T, N)
    return similarity.topk(min(top_k, T), dim=2).values.mean(dim=2)


def take_text(class_text: Tensor, labels: Tensor) -> Tensor:
    """The text feature of each query's class: (E, N, D), (E, Q) -> (E, Q, D)."""
    return class_text.gather(1, labels[..., None].expand(-1, -1, class_text.shape[-1]))


class PromptSelector(nn.Module):
    """Probability prompt selector (PPS of CLIP-M2DF): `p = softmax(200·s)` over the classes, then one prompt per query.

    The mode is one of: `sample`, one class drawn from p; `argmax`; `expect`, the mean of the prompts weighted by p;
    `off`, a zero vector (ablation). Training and evaluation have each their own.
    """

    def __init__(
        self,
        *,
        train_mode: str = "sample",
        test_mode: str = "argmax",
        top_k: int = 4,
        scale: float = 200.0,
        eps: float = COSINE_EPS,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        for mode in (train_mode, test_mode):
            if mode not in SELECTOR_MODES:
                raise ValueError(f"a selector mode must be one of {SELECTOR_MODES}, got {mode!r}")
        self.train_mode, self.test_mode = train_mode, test_mode
        self.top_k, self.scale, self.eps = top_k, scale, eps
        self.generator = generator

    @property
    def mode(self) -> str:
        """The mode in force: training's or evaluation's."""
        return self.train_mode if self.training else self.test_mode

    @property
    def chooses_class(self) -> bool:
        """Whether each query is given the prompt of the class that `choose` names, or none (not a mixture)."""
        return self.mode != "expect" and type(self).forward is PromptSelector.forward

    def scores(self, class_text: Tensor, query: Tensor) -> Tensor:
        """How well each query fits each text: (E, N, D), (E, Q, T, D) -> (E, Q, N)."""
        return top_frames_similarity(class_text, query, top_k=self.top_k, eps=self.eps)

    def posterior(self, class_text: Tensor, query: Tensor) -> Tensor:
        """p: (E, N, D), (E, Q, T, D) -> (E, Q, N)."""
        return self.posterior_of(self.scores(class_text, query))

    def posterior_of(self, scores: Tensor) -> Tensor:
        """p from the scores: (..., N) -> (..., N)."""
        return (self.scale * scores).softmax(dim=-1)

    def choose(self, posterior: Tensor, draws: Tensor | None = None) -> Tensor:
        """The class chosen for each query, in the modes `sample` and `argmax`.

        Args:
            posterior: (E, Q, N).
            draws: (E, Q) uniform numbers in [0, 1), made with the episode; drawn from the generator if absent.

        Returns:
            (E, Q), labels 0..N-1.
        """
        if self.mode == "argmax":
            return posterior.argmax(dim=-1)
        if draws is None:
            draws = torch.rand(posterior.shape[:-1], generator=self.generator, device=posterior.device)
        reached = posterior.cumsum(dim=-1) > draws[..., None].to(posterior.dtype)
        # Rounding can leave the whole sum a hair below the draw: then no class is reached and the last is meant.
        return torch.where(reached.any(dim=-1), reached.int().argmax(dim=-1), posterior.shape[-1] - 1)

    def forward(self, class_text: Tensor, query: Tensor, draws: Tensor | None = None) -> Tensor:
        """The prompt of each query.

        Args:
            class_text: (E, N, D).
            query: (E, Q, T, D).
            draws: (E, Q) uniform numbers in [0, 1), for the mode `sample`.

        Returns:
            (E, Q, D).
        """
        if self.mode == "off":
            return query.new_zeros(*query.shape[:2], query.shape[-1])
        posterior = self.posterior(class_text, query)
        if self.mode == "expect":
            return posterior.to(class_text.dtype) @ class_text
        return take_text(class_text, self.choose(posterior, draws))
