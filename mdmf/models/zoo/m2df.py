"""CLIP-M2DF: Multi-view Distillation based on Multi-modal Fusion for Few-shot Action Recognition (arXiv 2401.08345).

Two views of the same frozen CLIP frame features, local (Conv1d) and global (TCN), are each fused with a class prompt
by a cross-transformer. A query has no label, so its prompt is selected by probability. The OTAM distances of the two
views are added, and the view that is more certain of a query, by its distances and by its text, teaches the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn
from torch.nn import functional

from mdmf.distances.pairwise import COSINE_EPS, cosine_similarity
from mdmf.distances.video import VideoDistance
from mdmf.layers.attention import CrossTransformer
from mdmf.layers.prototypes import class_prototypes
from mdmf.layers.selector import PromptSelector, take_text
from mdmf.layers.temporal import GlobalContext, LocalContext
from mdmf.models.branch import PrototypeBranch, Task, Tokens
from mdmf.models.method import LossWeights, Method
from mdmf.models.registry import FeatureInfo, register, video_distance
from mdmf.mutual.fuse import WeightedSum
from mdmf.mutual.selection import ViewSelection
from mdmf.settings import AlignmentSettings, SingleSourceSettings
from mdmf.structures import BranchOutput, Episode

VIEWS = ("local", "global")
CERTAINTY_TOKENS = ("prompt", "first_frame")
VIDEO_TEXT_INPUTS = ("fused", "input")
SelectorMode = Literal["sample", "argmax", "expect", "off"]

# What the paper says, and what the authors' released code does; section by section of the settings.
PRESETS: Final[dict[str, dict[str, dict[str, Any]]]] = {
    "paper": {
        "model": {
            "selector_test": "argmax",
            "certainty_token": "prompt",
            "condition": "both",
            "direction": "both",
            "detach_teacher": True,
            "distill_weight": 1.0,
            "distill_per_query": False,
            "video_text_weight": 0.5,
            "video_text_input": "fused",
            "video_text_scale": None,  # the encoder's own logit scale
        },
        "frames": {"rule": "uniform"},
    },
    "released": {
        "model": {
            "selector_test": "sample",
            "certainty_token": "first_frame",
            "condition": "text",
            "direction": "global_to_local",
            "detach_teacher": False,
            "distill_weight": 1.0,
            "distill_per_query": True,  # theirs sums the cross-entropy over queries and averages the distillation
            "video_text_weight": 0.0,
            "video_text_input": "input",
            "video_text_scale": 1.0,
        },
        "frames": {"rule": "linspace_inner"},
    },
}


class M2dfSettings(SingleSourceSettings, AlignmentSettings):
    """Settings of CLIP-M2DF."""

    preset: Literal["paper", "released"] = Field("paper", description="as in the paper, or as the authors' code acts")
    views: tuple[Literal["local", "global"], ...] = Field(("local", "global"), min_length=1, description="branches")
    alphas: dict[Literal["local", "global"], float] = Field({}, description="weight of a view's distance; default 1")
    temperature: float = Field(1.0, gt=0, description="of the fused logits")
    selector_train: SelectorMode = Field("sample", description="prompt of a query in training")
    selector_test: SelectorMode = Field("argmax", description="prompt of a query in evaluation")
    top_k: int = Field(4, ge=1, description="frames that the selector averages")
    selector_scale: float = Field(200.0, gt=0, description="sharpness of the selector")
    depth: int = Field(1, ge=1, description="layers of the fusion")
    n_heads: int = Field(8, ge=1, description="attention heads")
    hidden_size: int = Field(2048, ge=1, le=65536, description="hidden size of the feed-forward part")
    attention_dropout: float = Field(0.2, ge=0, lt=1, description="after attention")
    dropout: float = Field(0.05, ge=0, lt=1, description="in the feed-forward part")
    tcn_dropout: float = Field(0.1, ge=0, lt=1, description="in the global context")
    certainty_token: Literal["prompt", "first_frame"] = Field("prompt", description="token of the text certainty")
    condition: Literal["both", "visual", "text", "none"] = Field("both", description="which view teaches")
    direction: Literal["both", "local_to_global", "global_to_local"] = Field("both", description="of distillation")
    cross_entropy: Literal["fused", "branches", "all"] = Field("fused", description="of which answers")
    detach_teacher: bool = Field(True, description="no gradient to the teacher")
    distill_weight: float = Field(1.0, ge=0, description="λ_kd; 0: no distillation")
    distill_per_query: bool = Field(False, description="λ_kd divided by the number of queries")
    video_text_weight: float = Field(0.5, ge=0, description="λ_vt")
    video_text_input: Literal["fused", "input"] = Field("fused", description="what the video-text loss sees")
    video_text_scale: float | None = Field(None, gt=0, description="its scale at start; default: the encoder's")

    @field_validator("views")
    @classmethod
    def _views_are_different(cls, views: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(views)) < len(views):
            raise ValueError(f"views must be different, got {list(views)}")
        return views


class ViewBranch(PrototypeBranch):
    """One view: temporal context, fusion with the prompt, OTAM distance to each class's prototype.

    Its tokens are the fused `frames` (B, T, D), and `text` (B, D), the token that the text certainty is taken from.
    """

    def __init__(
        self,
        context: nn.Module,
        fusion: nn.Module,
        *,
        source: str,
        distance: VideoDistance,
        certainty_token: str = "prompt",
    ) -> None:
        super().__init__(sources=[source], distance=distance)
        if certainty_token not in CERTAINTY_TOKENS:
            raise ValueError(f"certainty_token must be one of {CERTAINTY_TOKENS}, got {certainty_token!r}")
        self.context, self.fusion = context, fusion
        self.certainty_token = certainty_token

    def embed(self, features: Mapping[str, Tensor], prompts: Tensor | None = None) -> Tokens:
        """Frames and prompt of each video, fused."""
        if prompts is None:
            raise ValueError("a view of CLIP-M2DF embeds videos with their prompts, got none")
        frames = features[self.sources[0]]
        return self._named(self.fusion(prompts, self.context(frames), frames))

    def embed_prompted(self, features: Mapping[str, Tensor], prompts: Tensor, place: Tensor) -> Tokens:
        """The same; the context does not depend on the prompt and is computed once per video."""
        frames = features[self.sources[0]]
        return self._named(self.fusion(prompts, self.context(frames)[place], frames[place]))

    def _named(self, tokens: Tensor) -> Tokens:
        """Fused tokens (B, 1+T, D), cut into their named parts."""
        token = 0 if self.certainty_token == "prompt" else 1
        return {"frames": tokens[:, 1:], "text": tokens[:, token]}

    def compare(self, support: Tokens, query: Tokens, task: Task) -> BranchOutput:
        """Logits, and the similarity of the fused text tokens."""
        logits = super().compare(support, query, task).logits
        text = class_prototypes(support["text"], task.support_present)  # (E, N, K, D) -> (E, N, D)
        return BranchOutput(logits, cosine_similarity(query["text"], text, eps=self.distance.eps))


class VideoText(nn.Module):
    """`scale·cos(video, text of every training class)` and its cross-entropy.

    The loss asks that a video is nearer to its own class's text than to that of any other training class. With a frozen
    encoder the input `input` trains nothing but `scale`; `fused` ties the fused space to the text.
    """

    def __init__(self, *, source: str = "fused", scale: float, eps: float = COSINE_EPS) -> None:
        super().__init__()
        if source not in VIDEO_TEXT_INPUTS:
            raise ValueError(f"the video-text input must be one of {VIDEO_TEXT_INPUTS}, got {source!r}")
        self.source, self.eps = source, eps
        self.scale = nn.Parameter(torch.tensor([float(scale)]))
        self.register_buffer("all_class_text", None, persistent=False)

    def set_classes(self, all_class_text: Tensor | None) -> None:
        """Give the text features (C, D) of every training class; None: no video-text loss is computed."""
        self.all_class_text = all_class_text

    def forward(self, video: Tensor) -> Tensor:
        """Logits over all training classes: (..., D) -> (..., C).

        Raises:
            ValueError: before the training classes were given.
        """
        if self.all_class_text is None:
            raise ValueError("the video-text logits need the text of all training classes: call set_classes first")
        flat = cosine_similarity(video.flatten(0, -2), self.all_class_text, eps=self.eps)
        return self.scale * flat.unflatten(0, video.shape[:-1])

    def loss(self, video: Tensor, class_ids: Tensor) -> Tensor:
        """Cross-entropy: video (..., D), class_ids (...) -> scalar."""
        return functional.cross_entropy(self(video).flatten(0, -2), class_ids.flatten())


def mean_of_top_frames(frames: Tensor, text: Tensor, *, top_k: int, eps: float = COSINE_EPS) -> Tensor:
    """The mean of a video's `top_k` frames that fit its text best.

    Args:
        frames: (..., T, D).
        text: (..., D), one per video.

    Returns:
        (..., D).
    """
    scores = cosine_similarity(frames, text[..., None, :], eps=eps)  # (..., T, 1)
    best = scores.topk(min(top_k, frames.shape[-2]), dim=-2).indices  # (..., top_k, 1)
    return frames.gather(-2, best.expand(*best.shape[:-1], frames.shape[-1])).mean(dim=-2)


class M2df(Method):
    """Local and global view of one source of features, and the video-text loss."""

    def __init__(self, branches: Mapping[str, ViewBranch], *, video_text: VideoText, **parts: Any) -> None:
        super().__init__(branches, **parts)
        self.video_text = video_text

    def set_training_classes(self, class_text: Tensor | None) -> None:
        """Give the text features (C, D) of every training class to the video-text loss."""
        self.video_text.set_classes(class_text)

    def extra_losses(
        self, episode: Episode, tokens: Mapping[str, tuple[Tokens, Tokens]], outputs: Mapping[str, BranchOutput]
    ) -> dict[str, Tensor]:
        """The video-text loss, where the training classes' text, labels and class ids are all known."""
        if self.video_text.all_class_text is None or episode.query_labels is None or episode.class_ids is None:
            return {}
        K = episode.sizes["K"]
        support_ids = episode.class_ids.repeat_interleave(K, dim=1)  # (E, N) -> (E, N*K)
        query_ids = episode.class_ids.gather(1, episode.query_labels)  # (E, Q)
        video = self._fused_videos(tokens) if self.video_text.source == "fused" else self._input_videos(episode)
        return {"video_text_loss": self.video_text.loss(video, torch.cat([support_ids, query_ids], dim=1))}

    def _fused_videos(self, tokens: Mapping[str, tuple[Tokens, Tokens]]) -> Tensor:
        """The mean fused frame of each support and query video, over all views: (E, N*K + Q, D)."""
        videos = [
            torch.cat([support["frames"].flatten(1, 2), query["frames"]], dim=1).mean(dim=2)
            for support, query in tokens.values()
        ]
        return torch.stack(videos).mean(dim=0)

    def _input_videos(self, episode: Episode) -> Tensor:
        """The mean input frame of each video, over the frames that fit its class's text best: (E, N*K + Q, D)."""
        class_text, selector = episode.class_text, self.selector
        if class_text is None or selector is None:
            raise ValueError("the video-text loss of input frames needs the class text of an episode, got none")
        support, query = episode.support[self.prompt_source], episode.query[self.prompt_source]
        support_text = class_text[:, :, None].expand(-1, -1, support.shape[2], -1).flatten(1, 2)
        query_text = take_text(class_text, selector.posterior(class_text, query).argmax(dim=-1))
        frames = torch.cat([support.flatten(1, 2), query], dim=1)
        text = torch.cat([support_text, query_text], dim=1)
        return mean_of_top_frames(frames, text, top_k=selector.top_k, eps=selector.eps)


@register(
    "m2df",
    M2dfSettings,
    citation="Guo et al., Multi-view Distillation based on Multi-modal Fusion for Few-shot Action Recognition "
    "(CLIP-M2DF), arXiv 2401.08345",
    reads_text=True,
    presets=PRESETS,
    lost="nothing of the head; the authors also train the visual encoder, which is frozen here",
)
def make_m2df(settings: M2dfSettings, features: FeatureInfo) -> M2df:
    """Put CLIP-M2DF together from its parts."""
    size = features.sizes[settings.source]
    distance = video_distance("otam", settings)
    views = sorted(settings.views, key=VIEWS.index)  # their order decides ties and numbers, and is no setting
    branches: dict[str, ViewBranch] = {
        view: ViewBranch(
            LocalContext(size) if view == "local" else GlobalContext(size, dropout=settings.tcn_dropout),
            CrossTransformer(
                size,
                depth=settings.depth,
                n_heads=settings.n_heads,
                hidden_size=settings.hidden_size,
                attention_dropout=settings.attention_dropout,
                dropout=settings.dropout,
            ),
            source=settings.source,
            distance=distance,
            certainty_token=settings.certainty_token,
        )
        for view in views
    }
    scale = features.logit_scale if settings.video_text_scale is None else settings.video_text_scale
    return M2df(
        branches,
        selector=PromptSelector(
            train_mode=settings.selector_train,
            test_mode=settings.selector_test,
            top_k=settings.top_k,
            scale=settings.selector_scale,
            eps=settings.cosine_eps,
        ),
        fusion=WeightedSum(
            {view: settings.alphas.get(view, 1.0) for view in views},  # type: ignore[call-overload]
            temperature=settings.temperature,
        ),
        video_text=VideoText(source=settings.video_text_input, scale=scale, eps=settings.cosine_eps),
        loss_weights=LossWeights(settings.distill_weight, settings.video_text_weight, settings.distill_per_query),
        selection=ViewSelection(condition=settings.condition, direction=settings.direction),
        detach_teacher=settings.detach_teacher,
        cross_entropy=settings.cross_entropy,
    )
