"""Records passed between the parts.

Shape letters: E episodes, N way, K shot, Q query videos, T frames, D feature size.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:  # workers that only decode videos import this module and must not pay for torch
    from torch import Tensor

SPLITS = ("train", "val", "test")
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


class ImageEncoder(Protocol):
    """What turns pictures into features; its weights never change.

    Attributes:
        identity: `library`, `model`, `weights`, `precision`, `weights_hash`: what a feature file must name.
        preprocess: how pictures are made ready for `encode_images`, up to and including the crop.
        feature_size: D.
    """

    identity: dict[str, str]
    preprocess: Preprocess
    feature_size: int

    def encode_images(self, frames: Tensor) -> Tensor:
        """Pictures (B, S, S, 3), uint8, resized and cropped -> features (B, D), float32, not normalised."""


@dataclass(frozen=True, kw_only=True)
class ViewRule:
    """Which frames of a video an encoder sees, and which part of them.

    View 0 is the test view: frames by `frame_rule`, centre crop. The others are random views for training; only they
    depend on `crop_scale_min`, `jitter`, `flip` and `seed`.

    Attributes:
        n_frames: frames of a view, T.
        frame_rule: `uniform` or `linspace_inner`, see `choose_frames`.
        short: for videos of fewer than T frames: `repeat` frames or `refuse` the video.
        decoder: `auto`, `decord` or `pyav`.
        n_variants: views, A.
        crop_scale_min: smallest side of a random square, as a part of the shortest side.
        jitter: a random view takes a random frame of each of T equal segments, not the frames of `frame_rule`.
        flip: mirror half of the random views; wrong where left and right matter.
        seed: of the random views.
    """

    n_frames: int
    frame_rule: str = "uniform"
    short: str = "repeat"
    decoder: str = "auto"
    n_variants: int = 1
    crop_scale_min: float = 0.5
    jitter: bool = True
    flip: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("n_frames", "n_variants"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 < self.crop_scale_min <= 1:
            raise ValueError(f"crop_scale_min must be in (0, 1], got {self.crop_scale_min}")

    @property
    def test_view(self) -> ViewRule:
        """The rule of the test view alone."""
        return replace(self, n_variants=1, crop_scale_min=1.0, jitter=False, flip=False, seed=0)


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
