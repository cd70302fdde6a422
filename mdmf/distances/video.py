"""Video to class: how far the frames of a query are from those of a prototype, by the name of the measure."""

from dataclasses import dataclass

from torch import Tensor

from mdmf.distances.alignment import bi_mhm_distance, frame_wise_distance, otam_distance
from mdmf.distances.pairwise import COSINE_EPS, cosine_similarity, frame_distance

VIDEO_DISTANCES = ("prototype", "frame_wise", "otam", "bi_mhm")


@dataclass(frozen=True, kw_only=True)
class VideoDistance:
    """A distance of query videos (E, Q, T, D) to prototypes (E, N, S, D); calling it gives (E, Q, N).

    Attributes:
        name: `prototype`, the cosine distance of the mean frames; `frame_wise`, `otam` or `bi_mhm` over the cosine
            distances of single frames.
        otam_temperature: λ of OTAM's soft minimum.
        otam_directions: see `otam_distance`.
        eps: added to the product of norms.

    Raises:
        ValueError: for another name.
    """

    name: str = "otam"
    otam_temperature: float = 0.5
    otam_directions: str = "both"
    eps: float = COSINE_EPS

    def __post_init__(self) -> None:
        if self.name not in VIDEO_DISTANCES:
            raise ValueError(f"distance must be one of {VIDEO_DISTANCES}, got {self.name!r}")

    def __call__(self, query: Tensor, prototypes: Tensor) -> Tensor:
        if not self.compares_frames:
            return 1 - cosine_similarity(query.mean(dim=2), prototypes.mean(dim=2), eps=self.eps)
        return self.align(self.frame_costs(query, prototypes))

    @property
    def compares_frames(self) -> bool:
        """Whether the distance is one of frame costs."""
        return self.name != "prototype"

    def frame_costs(self, query: Tensor, prototypes: Tensor) -> Tensor:
        """Cosine distance of every query frame to every prototype frame: (E, Q, N, T, S)."""
        return frame_distance(query, prototypes, eps=self.eps)

    def align(self, costs: Tensor) -> Tensor:
        """The distance of frame costs: (..., T, S) -> (...)."""
        match self.name:
            case "frame_wise":
                return frame_wise_distance(costs)
            case "bi_mhm":
                return bi_mhm_distance(costs)
        return otam_distance(costs, temperature=self.otam_temperature, directions=self.otam_directions)
