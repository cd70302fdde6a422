"""Video to class: how far the frames of a query are from those of a prototype, by the name of the measure."""

from collections.abc import Callable

from torch import Tensor

from mdmf.distances.alignment import bi_mhm_distance, frame_wise_distance, otam_distance
from mdmf.distances.pairwise import COSINE_EPS, cosine_similarity, frame_distance

VIDEO_DISTANCES = ("prototype", "frame_wise", "otam", "bi_mhm")

VideoDistance = Callable[[Tensor, Tensor], Tensor]  # (E, Q, T, D), (E, N, S, D) -> (E, Q, N)


def video_distance(
    name: str, *, otam_temperature: float = 0.5, otam_directions: str = "both", eps: float = COSINE_EPS
) -> VideoDistance:
    """A distance of query videos (E, Q, T, D) to prototypes (E, N, S, D): a function that gives (E, Q, N).

    Args:
        name: `prototype`, the cosine distance of the mean frames; `frame_wise`, `otam` or `bi_mhm` over the cosine
            distances of single frames.
        otam_temperature: λ of OTAM's soft minimum.
        otam_directions: see `otam_distance`.
        eps: added to the product of norms.

    Raises:
        ValueError: for another name.
    """
    if name not in VIDEO_DISTANCES:
        raise ValueError(f"distance must be one of {VIDEO_DISTANCES}, got {name!r}")

    def of_means(query: Tensor, prototypes: Tensor) -> Tensor:
        return 1 - cosine_similarity(query.mean(dim=2), prototypes.mean(dim=2), eps=eps)

    def of_frames(query: Tensor, prototypes: Tensor) -> Tensor:
        cost = frame_distance(query, prototypes, eps=eps)  # (E, Q, N, T, S)
        match name:
            case "frame_wise":
                return frame_wise_distance(cost)
            case "bi_mhm":
                return bi_mhm_distance(cost)
        return otam_distance(cost, temperature=otam_temperature, directions=otam_directions)

    return of_means if name == "prototype" else of_frames
