"""Baselines on the same features (METHODS 6); none has anything to train."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mdmf.distances.pairwise import COSINE_EPS, cosine_similarity
from mdmf.distances.video import VIDEO_DISTANCES, VideoDistance, video_distance
from mdmf.layers.prototypes import class_prototypes
from mdmf.models.branch import logits_from_distance
from mdmf.models.presence import query_usable
from mdmf.mutual.certainty import certainty
from mdmf.structures import Episode, EpisodeOutput

# The plain names are of rgb; with the prefix `flow_` of flow, with `late_` of the sum of both sources' distances.
BASELINES = (
    *("zero_shot", *VIDEO_DISTANCES),
    *(f"flow_{name}" for name in VIDEO_DISTANCES),
    *(f"late_{name}" for name in VIDEO_DISTANCES),
)


def _answer(logits: Tensor) -> EpisodeOutput:
    return EpisodeOutput(logits=logits, certainty={"all": certainty(logits)})


class FeatureBaseline(nn.Module):
    """Queries against the mean of a class's support videos, on one source of features as it is.

    Args:
        distance: (E, Q, T, D) and (E, N, T, D) -> (E, Q, N).
        source: of the features.
    """

    def __init__(self, distance: VideoDistance, *, source: str = "rgb") -> None:
        super().__init__()
        self.distance, self.source = distance, source

    def forward(self, episode: Episode) -> EpisodeOutput:
        """Answer a batch of episodes; a query that cannot be answered gets logits of 0.

        Raises:
            ValueError: if the episode has not this source.
        """
        if self.source not in episode.support:
            raise ValueError(f"expected features of source {self.source!r}, got {sorted(episode.support)}")
        support_present = episode.support_present.get(self.source)
        query_present = episode.query_present.get(self.source)
        prototypes = class_prototypes(episode.support[self.source], support_present)  # -> (E, N, T, D)
        logits = logits_from_distance(self.distance(episode.query[self.source], prototypes))
        usable = query_usable(support_present, query_present, n_queries=logits.shape[1])
        return _answer(logits if usable is None else logits.masked_fill(~usable[..., None], 0))


class LateFusionBaseline(nn.Module):
    """The same baseline on several sources, their distances added up.

    Args:
        baselines: source -> baseline.
    """

    def __init__(self, baselines: Mapping[str, FeatureBaseline]) -> None:
        super().__init__()
        self.baselines = nn.ModuleDict(baselines)

    def forward(self, episode: Episode) -> EpisodeOutput:
        """Answer a batch of episodes; a source that cannot answer a query adds nothing to it."""
        branch_logits = {source: baseline(episode).logits for source, baseline in self.baselines.items()}
        return EpisodeOutput(
            logits=torch.stack(list(branch_logits.values())).sum(dim=0),
            branch_logits=branch_logits,
            certainty={source: certainty(logits) for source, logits in branch_logits.items()},
        )


class ZeroShotBaseline(nn.Module):
    """`logit_scale·cos(mean frame, class text)`: the class's words alone, no support video is looked at."""

    def __init__(self, *, logit_scale: float, source: str = "rgb", eps: float = COSINE_EPS) -> None:
        super().__init__()
        self.logit_scale, self.source, self.eps = logit_scale, source, eps

    def forward(self, episode: Episode) -> EpisodeOutput:
        """Answer a batch of episodes.

        Raises:
            ValueError: if the episode has no class text.
        """
        if episode.class_text is None:
            raise ValueError("zero_shot needs the class text of an episode, got class_text=None")
        query = episode.query[self.source].mean(dim=2)  # (E, Q, T, D) -> (E, Q, D)
        logits = self.logit_scale * cosine_similarity(query, episode.class_text, eps=self.eps)
        present = episode.query_present.get(self.source)
        return _answer(logits if present is None else logits.masked_fill(~present[..., None], 0))


def make_baseline(
    name: str,
    *,
    logit_scale: float,
    otam_temperature: float = 0.5,
    otam_directions: str = "both",
    cosine_eps: float = COSINE_EPS,
) -> nn.Module:
    """A baseline by its name in settings and tables.

    Raises:
        ValueError: for an unknown name.
    """
    if name not in BASELINES:
        raise ValueError(f"unknown baseline {name!r}; expected one of {BASELINES}")
    if name == "zero_shot":
        return ZeroShotBaseline(logit_scale=logit_scale, eps=cosine_eps)
    kind = name.removeprefix("flow_").removeprefix("late_")
    distance = video_distance(kind, otam_temperature=otam_temperature, otam_directions=otam_directions, eps=cosine_eps)
    made = [FeatureBaseline(distance, source=source) for source in baseline_sources(name)]
    return made[0] if len(made) == 1 else LateFusionBaseline({baseline.source: baseline for baseline in made})


def baseline_sources(name: str) -> tuple[str, ...]:
    """The sources of features that a baseline looks at."""
    if name.startswith("late_"):
        return ("rgb", "flow")
    return ("flow",) if name.startswith("flow_") else ("rgb",)
