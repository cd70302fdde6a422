"""CLIP-M2DF: Multi-view Distillation based on Multi-modal Fusion for Few-shot Action Recognition (arXiv 2401.08345).

Two views of the same frozen CLIP frame features, local (Conv1d) and global (TCN), are each fused with a class prompt
by a cross-transformer. A query has no label, so its prompt is selected by probability. The OTAM distances of the two
views are added, and the view that is more certain of a query, by its distances and by its text, teaches the other.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mdmf.distances.pairwise import COSINE_EPS
from mdmf.layers.attention import CrossTransformer
from mdmf.layers.selector import PromptSelector, take_text
from mdmf.layers.temporal import GlobalContext, LocalContext
from mdmf.models.branch import PromptedEpisode, ViewBranch
from mdmf.models.two_branch import LossWeights, TwoBranch
from mdmf.models.video_text import VideoText, mean_of_top_frames
from mdmf.mutual.fuse import WeightedSum
from mdmf.mutual.selection import ViewSelection
from mdmf.structures import BranchOutput, Episode

VIEWS = ("local", "global")


class MultiView(TwoBranch):
    """Local and global view of one source of features."""

    def __init__(
        self,
        branches: Mapping[str, ViewBranch],
        *,
        selector: PromptSelector,
        fusion: nn.Module,
        video_text: VideoText,
        loss_weights: LossWeights,
        selection: nn.Module,
        detach_teacher: bool = True,
        cross_entropy: str = "fused",
        source: str = "rgb",
    ) -> None:
        super().__init__(
            branches,
            selection=selection,
            fusion=fusion,
            loss_weights=loss_weights,
            detach_teacher=detach_teacher,
            cross_entropy=cross_entropy,
        )
        self.selector, self.video_text = selector, video_text
        self.source = source

    def set_training_classes(self, class_text: Tensor | None) -> None:
        """Give the text features (C, D) of every training class to the video-text loss."""
        self.video_text.set_classes(class_text)

    @property
    def views(self) -> dict[str, ViewBranch]:
        """The branches by name."""
        return {name: branch for name, branch in self.branches.items() if isinstance(branch, ViewBranch)}

    def prepare(self, episode: Episode) -> PromptedEpisode:
        """Give every video its prompt: a support video its class's, a query the selected one.

        Raises:
            ValueError: if the episode has no class text or not this model's source.
        """
        class_text = _class_text(episode)
        if self.source not in episode.support:
            raise ValueError(f"expected features of source {self.source!r}, got {sorted(episode.support)}")
        support, query = episode.support[self.source], episode.query[self.source]
        return PromptedEpisode(
            support=support,
            support_prompt=class_text[:, :, None].expand(-1, -1, support.shape[2], -1),
            query=query,
            query_prompt=self.selector(class_text, query, episode.query_draws),
            support_present=episode.support_present.get(self.source),
            query_present=episode.query_present.get(self.source),
        )

    def video_summary(self, episode: Episode, prepared: PromptedEpisode, outputs: Mapping[str, BranchOutput]) -> Tensor:
        """One vector per support and query video, for the video-text loss: (E, N*K + Q, D)."""
        if self.video_text.source == "fused":
            return torch.stack([output.video for output in outputs.values() if output.video is not None]).mean(dim=0)
        class_text = _class_text(episode)
        best = self.selector.posterior(class_text, prepared.query).argmax(dim=-1)  # (E, Q)
        query_text = take_text(class_text, best)
        frames = torch.cat([prepared.support.flatten(1, 2), prepared.query], dim=1)
        text = torch.cat([prepared.support_prompt.flatten(1, 2), query_text], dim=1)
        return mean_of_top_frames(frames, text, top_k=self.selector.top_k, eps=self.selector.eps)

    def extra_losses(
        self, episode: Episode, prepared: PromptedEpisode, outputs: Mapping[str, BranchOutput]
    ) -> dict[str, Tensor]:
        """The video-text loss, where the training classes' text, labels and class ids are all known."""
        if self.video_text.all_class_text is None or episode.query_labels is None or episode.class_ids is None:
            return {}
        K = prepared.support.shape[2]
        support_ids = episode.class_ids.repeat_interleave(K, dim=1)  # (E, N) -> (E, N*K)
        query_ids = episode.class_ids.gather(1, episode.query_labels)  # (E, Q)
        video = self.video_summary(episode, prepared, outputs)
        return {"video_text_loss": self.video_text.loss(video, torch.cat([support_ids, query_ids], dim=1))}


def _class_text(episode: Episode) -> Tensor:
    if episode.class_text is None:
        raise ValueError("CLIP-M2DF needs the class text of an episode, got class_text=None")
    return episode.class_text


def make_multi_view(
    size: int,
    *,
    logit_scale: float,
    views: Sequence[str] = ("local", "global"),
    alphas: Mapping[str, float] | None = None,
    temperature: float = 1.0,
    selector_train: str = "sample",
    selector_test: str = "argmax",
    top_k: int = 4,
    selector_scale: float = 200.0,
    otam_temperature: float = 0.5,
    otam_directions: str = "both",
    certainty_token: str = "prompt",
    condition: str = "both",
    direction: str = "both",
    detach_teacher: bool = True,
    cross_entropy: str = "fused",
    distill_weight: float = 1.0,
    distill_per_query: bool = False,
    video_text_weight: float = 0.5,
    video_text_input: str = "fused",
    video_text_scale: float | None = None,
    cosine_eps: float = COSINE_EPS,
    tcn_dropout: float = 0.1,
    source: str = "rgb",
    **fusion_settings: Any,
) -> MultiView:
    """Put CLIP-M2DF together from its parts; the names are those of the model settings.

    Args:
        size: D, the feature size of the encoder's joint space.
        logit_scale: the encoder's own scale, where `video_text_scale` is None.
        views: one view, or both.
        alphas: weight of each view in the fused distance; 1 where absent.
        fusion_settings: of `CrossTransformer`: depth, n_heads, hidden_size, attention_dropout, dropout.

    Raises:
        ValueError: for an unknown view or choice.
    """
    unknown = [view for view in views if view not in VIEWS]
    if unknown or not views or len(set(views)) != len(views):
        raise ValueError(f"views must be one or both of {VIEWS}, got {tuple(views)}")
    views = sorted(views, key=VIEWS.index)  # their order decides ties and numbers, and is no setting
    compared: dict[str, Any] = {
        "otam_temperature": otam_temperature,
        "otam_directions": otam_directions,
        "eps": cosine_eps,
    }
    branches = {
        view: ViewBranch(
            LocalContext(size) if view == "local" else GlobalContext(size, dropout=tcn_dropout),
            CrossTransformer(size, **fusion_settings),
            certainty_token=certainty_token,
            **compared,
        )
        for view in views
    }
    scale = logit_scale if video_text_scale is None else video_text_scale
    return MultiView(
        branches,
        selector=PromptSelector(
            train_mode=selector_train, test_mode=selector_test, top_k=top_k, scale=selector_scale, eps=cosine_eps
        ),
        fusion=WeightedSum({view: (alphas or {}).get(view, 1.0) for view in views}, temperature=temperature),
        video_text=VideoText(source=video_text_input, scale=scale, eps=cosine_eps),
        loss_weights=LossWeights(distill_weight, video_text_weight, distill_per_query),
        selection=ViewSelection(condition=condition, direction=direction),
        detach_teacher=detach_teacher,
        cross_entropy=cross_entropy,
        source=source,
    )
