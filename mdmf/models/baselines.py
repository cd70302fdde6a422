"""Baselines on the same features (METHODS 6); none has anything to train."""

from collections.abc import Callable

from torch import Tensor, nn

from mdmf.distances.alignment import bi_mhm_distance, frame_wise_distance, otam_distance
from mdmf.distances.pairwise import COSINE_EPS, cosine_similarity, frame_distance
from mdmf.layers.prototypes import class_prototypes
from mdmf.models.branch import logits_from_distance
from mdmf.mutual.certainty import certainty
from mdmf.structures import Episode, EpisodeOutput


def _answer(logits: Tensor) -> EpisodeOutput:
    return EpisodeOutput(logits=logits, certainty={"all": certainty(logits)})


class AlignmentBaseline(nn.Module):
    """Query frames against the mean of a class's support frames, under one sequence distance (`otam`, `bi_mhm`, …)."""

    def __init__(
        self, sequence_distance: Callable[[Tensor], Tensor], *, source: str = "rgb", eps: float = COSINE_EPS
    ) -> None:
        super().__init__()
        self.sequence_distance, self.source, self.eps = sequence_distance, source, eps

    def forward(self, episode: Episode) -> EpisodeOutput:
        """Answer a batch of episodes."""
        prototypes = class_prototypes(episode.support[self.source])  # (E, N, K, T, D) -> (E, N, T, D)
        cost = frame_distance(episode.query[self.source], prototypes, eps=self.eps)  # (E, Q, N, T, T)
        return _answer(logits_from_distance(self.sequence_distance(cost)))


class PrototypeBaseline(nn.Module):
    """The mean of a query's frames against the mean of a class's, by cosine (prototypical network without training)."""

    def __init__(self, *, source: str = "rgb", eps: float = COSINE_EPS) -> None:
        super().__init__()
        self.source, self.eps = source, eps

    def forward(self, episode: Episode) -> EpisodeOutput:
        """Answer a batch of episodes."""
        prototypes = class_prototypes(episode.support[self.source]).mean(dim=2)  # (E, N, T, D) -> (E, N, D)
        query = episode.query[self.source].mean(dim=2)  # (E, Q, T, D) -> (E, Q, D)
        return _answer(logits_from_distance(1 - cosine_similarity(query, prototypes, eps=self.eps)))


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
        return _answer(self.logit_scale * cosine_similarity(query, episode.class_text, eps=self.eps))


def make_baseline(
    name: str,
    *,
    logit_scale: float,
    otam_temperature: float = 0.5,
    otam_directions: str = "both",
    source: str = "rgb",
    cosine_eps: float = COSINE_EPS,
) -> nn.Module:
    """A baseline by its name in settings and tables.

    Raises:
        ValueError: for an unknown name.
    """
    match name:
        case "zero_shot":
            return ZeroShotBaseline(logit_scale=logit_scale, source=source, eps=cosine_eps)
        case "prototype":
            return PrototypeBaseline(source=source, eps=cosine_eps)
        case "frame_wise":
            distance: Callable[[Tensor], Tensor] = frame_wise_distance
        case "bi_mhm":
            distance = bi_mhm_distance
        case "otam":

            def distance(cost: Tensor) -> Tensor:
                return otam_distance(cost, temperature=otam_temperature, directions=otam_directions)

        case _:
            raise ValueError(f"unknown baseline {name!r}; expected one of {BASELINES}")
    return AlignmentBaseline(distance, source=source, eps=cosine_eps)


BASELINES = ("zero_shot", "prototype", "frame_wise", "otam", "bi_mhm")
