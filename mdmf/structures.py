"""Records passed between the parts.

Shape letters: E episodes, N way, K shot, Q query videos, T frames, D feature size.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # workers that only decode videos import this module and must not pay for torch
    from torch import Tensor

SPLITS = ("train", "val", "test")
SOURCES = ("rgb", "flow")
TAUGHT_BY_NONE, TAUGHT_BY_SEVERAL = -1, -2  # in the place of the index of a teacher


class RunFailed(RuntimeError):  # noqa: N818 (named for what happened)
    """Work that was begun cannot go on; the message says why and where the evidence lies."""


@dataclass(frozen=True, slots=True)
class VideoRecord:
    """One video of a data set.

    `video_id` is its path relative to the data set's root with `/` between parts: the same on every machine. `path` is
    where it lies on this one (a video file, or a folder of frame images). `group` names the source recording, if known.
    """

    video_id: str
    path: Path
    class_name: str
    split: str
    group: str | None = None


@dataclass(frozen=True)
class Preprocess:
    """How an encoder wants its frames, as plain numbers: what the library's own transform does, step by step.

    Resize (shortest side to `resize_size` when `resize_mode` is `shortest`; both sides when `squash`), centre crop to
    `crop_size`, scale to [0, 1], subtract `mean`, divide by `std` (per RGB channel).
    """

    crop_size: int
    resize_size: int
    resize_mode: str = "shortest"
    interpolation: str = "bicubic"
    mean: tuple[float, float, float] = (0.48145466, 0.4578275, 0.40821073)
    std: tuple[float, float, float] = (0.26862954, 0.26130258, 0.27577711)

    def __post_init__(self) -> None:
        if self.resize_mode not in ("shortest", "squash"):
            raise ValueError(f"resize_mode must be 'shortest' or 'squash', got {self.resize_mode!r}")
        if self.interpolation not in ("bicubic", "bilinear"):
            raise ValueError(f"interpolation must be 'bicubic' or 'bilinear', got {self.interpolation!r}")
        if not 0 < self.crop_size <= self.resize_size:
            raise ValueError(f"crop_size must be in 1..resize_size={self.resize_size}, got {self.crop_size}")


FLOW_METHODS = ("dis", "farneback", "tvl1", "disk")
CAMERA_REMOVALS = ("keep", "median", "homography")
FLOW_DRAWINGS = ("wheel", "channels")


@dataclass(frozen=True, kw_only=True)
class FlowRule:
    """How the optical flow of a frame is had and drawn; everything here decides pixels.

    Attributes:
        method: `dis`, `farneback`, `tvl1` (needs opencv-contrib), or `disk`: read, not computed.
        step: frames from a frame to the neighbour that its flow points to.
        camera: `keep`, or the camera's motion is taken off as the `median` flow or as a `homography`.
        clip: pixels; a displacement beyond it is drawn as one of this length.
        drawing: `wheel`: Middlebury's colours; `channels`: x, y and magnitude as red, green and blue.
        short_side: frames are shrunk to this shortest side before flow is computed; pixels are counted there.
        disk_bound: displacement in pixels that 0 and 255 stand for in flow images on disk (dense_flow's bound).
    """

    method: str = "dis"
    step: int = 1
    camera: str = "keep"
    clip: float = 20.0
    drawing: str = "wheel"
    short_side: int = 256
    disk_bound: float = 20.0

    def __post_init__(self) -> None:
        for name, choices in (("method", FLOW_METHODS), ("camera", CAMERA_REMOVALS), ("drawing", FLOW_DRAWINGS)):
            if getattr(self, name) not in choices:
                raise ValueError(f"flow {name} must be one of {choices}, got {getattr(self, name)!r}")
        for name in ("step", "clip", "short_side", "disk_bound"):
            if not getattr(self, name) > 0:
                raise ValueError(f"flow {name} must be positive, got {getattr(self, name)}")


def check_shape(
    name: str, tensor: Any, expected: tuple[int | str, ...], sizes: dict[str, int] | None = None
) -> dict[str, int]:
    """Check a tensor's shape against letters and numbers, e.g. `("E", "N", "K", "T", "D")`.

    A letter seen before (in `sizes` or earlier in `expected`) must have the same size again.

    Returns:
        The sizes of all letters seen so far.

    Raises:
        ValueError: naming the tensor, what was expected and what came.
    """
    sizes = dict(sizes or {})
    shape = tuple(tensor.shape)
    wanted = "(" + ", ".join(f"{axis}={sizes[axis]}" if axis in sizes else str(axis) for axis in expected) + ")"
    if len(shape) != len(expected):
        raise ValueError(f"expected {name} of shape {wanted}, got {shape}")
    for axis, size in zip(expected, shape, strict=True):
        known = axis if isinstance(axis, int) else sizes.setdefault(axis, size)
        if known != size:
            raise ValueError(f"expected {name} of shape {wanted}, got {shape}")
    return sizes


@dataclass(frozen=True)
class Episode:
    """A batch of few-shot tasks on features.

    Attributes:
        support: source name (`rgb`, `flow`) -> (E, N, K, T, D), ordered by class.
        query: source name -> (E, Q, T, D).
        class_text: (E, N, D), the text feature of each class's prompts; None where there is no text.
        query_labels: (E, Q), 0..N-1 inside the episode; None for clips to be named.
        class_ids: (E, N), index of each class in its split; needed by losses over all training classes.
        query_draws: (E, Q) uniform numbers in [0, 1), made with the episode: what a selector that samples uses, so that
            an episode means the same whatever the batch it came in.
        support_present: source name -> (E, N, K) bool, False for a video without features of this source (they are
            zeros then); a source that is not named is there for every video.
        query_present: source name -> (E, Q) bool, likewise.
    """

    support: dict[str, Tensor]
    query: dict[str, Tensor]
    class_text: Tensor | None = None
    query_labels: Tensor | None = None
    class_ids: Tensor | None = None
    query_draws: Tensor | None = None
    support_present: dict[str, Tensor] = field(default_factory=dict)
    query_present: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.support or set(self.support) != set(self.query):
            raise ValueError(
                f"support and query must hold the same sources, at least one; got {sorted(self.support)} and "
                f"{sorted(self.query)}"
            )
        sizes: dict[str, int] = {}
        for source in self.support:
            sizes = {axis: size for axis, size in sizes.items() if axis not in "TD"}  # sources may differ in T and D
            sizes = check_shape(f"support[{source!r}]", self.support[source], ("E", "N", "K", "T", "D"), sizes)
            sizes = check_shape(f"query[{source!r}]", self.query[source], ("E", "Q", "T", "D"), sizes)
        for name, axes in (("query_labels", "EQ"), ("class_ids", "EN"), ("query_draws", "EQ")):
            value = getattr(self, name)
            if value is not None:
                check_shape(name, value, tuple(axes), sizes)
        if self.class_text is not None:
            check_shape("class_text", self.class_text, ("E", "N", "D_text"), sizes)
        for name, axes in (("support_present", "ENK"), ("query_present", "EQ")):
            for source, present in getattr(self, name).items():
                if source not in self.support:
                    raise ValueError(f"{name} names {source!r}, and the episode has {sorted(self.support)}")
                check_shape(f"{name}[{source!r}]", present, tuple(axes), sizes)

    @property
    def sizes(self) -> dict[str, int]:
        """E, N, K, Q of this batch."""
        support, query = next(iter(self.support.values())), next(iter(self.query.values()))
        return dict(zip("ENK", support.shape[:3], strict=True)) | {"Q": query.shape[1]}

    def to(self, device: Any) -> Episode:
        """The same episodes on another device."""

        def move(value: Any) -> Any:
            return None if value is None else value.to(device, non_blocking=True)

        moved: dict[str, Any] = {
            name: {source: move(value) for source, value in getattr(self, name).items()}
            for name in ("support", "query", "support_present", "query_present")
        }
        moved |= {
            name: move(getattr(self, name)) for name in ("class_text", "query_labels", "class_ids", "query_draws")
        }
        return replace(self, **moved)


@dataclass(frozen=True)
class BranchOutput:
    """The output of a branch for a batch of episodes.

    Attributes:
        logits: (E, Q, N); 0 for a query that this branch cannot answer (`usable`): its posterior is uniform then.
        text_similarity: (E, Q, N), of the fused text tokens; None for a branch without text.
        usable: (E, Q) bool, False where the features that the branch needs are missing; None: it answers all.
        support_evidence: (E,), mean log-likelihood of the support's own labels, not a number where it is not known;
            None where nothing asks for it, or nothing is known.
    """

    logits: Tensor
    text_similarity: Tensor | None = None
    usable: Tensor | None = None
    support_evidence: Tensor | None = None


@dataclass(frozen=True)
class EpisodeOutput:
    """The output of a method for a batch of episodes.

    Attributes:
        logits: (E, Q, N), larger is better; `softmax` of them is the posterior.
        branch_logits: branch name -> (E, Q, N).
        losses: name ending in `_loss` -> scalar, each unweighted; those that need labels only where there are labels.
        certainty: branch name -> (E, Q), the largest posterior of the branch.
        teacher: (E, Q), index of the teaching branch in `branch_logits`' order; -1: none teaches, -2: several do.
        fusion_weight: branch name -> (E, Q), its share in the answer to this query; empty where shares are fixed.
    """

    logits: Tensor
    branch_logits: dict[str, Tensor] = field(default_factory=dict)
    losses: dict[str, Tensor] = field(default_factory=dict)
    certainty: dict[str, Tensor] = field(default_factory=dict)
    teacher: Tensor | None = None
    fusion_weight: dict[str, Tensor] = field(default_factory=dict)

    def detach(self) -> EpisodeOutput:
        """The same without gradients."""
        named: dict[str, Any] = {
            name: {key: value.detach() for key, value in getattr(self, name).items()}
            for name in ("branch_logits", "losses", "certainty", "fusion_weight")
        }
        return replace(self, logits=self.logits.detach(), **named)
