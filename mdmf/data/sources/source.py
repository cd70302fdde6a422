"""What every kind of source offers; a kind is one file of this folder, whose class is settings and behaviour in one.

A source is a named stream of features, such as `rgb` or `flow`. The section `sources.<name>` of the settings is checked
by the class of its kind, and the object that comes out is what the loader and the feature store work with. A kind
registers its class in `mdmf.registry.SOURCE_KINDS`.

Settings are read before any work and by every decode worker: a module of this folder imports NumPy, OpenCV and the like
inside the methods that use them, and never torch or pandas.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from mdmf.files import json_sha256
from mdmf.source_settings import SourceSettings
from mdmf.structures import Preprocess, VideoRecord, ViewRule

if TYPE_CHECKING:
    import numpy as np

    from mdmf.data.views.view_plan import Footage, ViewPlan


def files_key(by_video: Iterable[tuple[str, int | str]]) -> str:
    """Identifies the files of all videos, from (video id, what tells its files from others) of each."""
    return json_sha256(sorted(by_video))[:16]


class Source(SourceSettings):
    """A named stream of features."""

    def check(self, name: str) -> None:
        """See before any video is opened whether the source can be read.

        Args:
            name: of the source, for messages.

        Raises:
            ValueError: if a folder or file of the settings does not exist.
            ImportError: if a package is missing; says what to install.
        """

    def contents(self, records: Sequence[VideoRecord]) -> dict[str, Any]:
        """What decides the features beside the view rule and the encoder; stands in the manifest of the store.

        Args:
            records: the videos of the store.

        Returns:
            Values that JSON can hold; nested by one level at most.
        """
        return {}

    def used_rule(self, rule: ViewRule) -> ViewRule:
        """The view rule, with a default in the place of what decides nothing of this source."""
        return rule

    @property
    def unused_contents(self) -> frozenset[str]:
        """Keys of `contents` (`flow.step`) that decide nothing with these settings: stores may differ in them."""
        return frozenset()


class PictureSource(Source):
    """A source of pictures for an image encoder."""

    @abstractmethod
    def needed_frames(self, plan: ViewPlan) -> np.ndarray:
        """Numbers (n,) of the video's frames that the views are made from, in the order of the views, with repeats.

        Raises:
            ValueError: if views of this video cannot be made.
        """

    @abstractmethod
    def views(self, footage: Footage, preprocess: Preprocess) -> np.ndarray:
        """The pictures that the encoder takes: (A, T, S, S, 3) uint8, RGB.

        Raises:
            ValueError: with the reason, if they cannot be made.
        """

    def n_frames_of(self, video_id: str) -> int:
        """Frames of a video that cannot be opened; only asked of a source that is not made from frames.

        Raises:
            ValueError: if the source has nothing of this video.
        """
        raise TypeError(f"{type(self).__name__} is made from the frames of videos")


class FeatureSource(Source):
    """A source of features that another program made: no video is decoded, nothing is encoded."""

    needs_encoder: ClassVar[bool] = False

    @property
    @abstractmethod
    def origin(self) -> str:
        """Who made the features, for the notes of a result."""

    @abstractmethod
    def open(self) -> AbstractContextManager[FeatureArrays]:
        """What reads the features of one video after the other."""

    def used_rule(self, rule: ViewRule) -> ViewRule:
        """Nothing is decoded or cropped."""
        return replace(rule, decoder="auto", crop_scale_min=1.0, flip=False)


class FeatureArrays(Protocol):
    """The features of videos."""

    def feature_size(self, records: Sequence[VideoRecord]) -> int:
        """D of most of the videos.

        Raises:
            ValueError: if none of them has features.
        """

    def read(self, record: VideoRecord) -> np.ndarray:
        """The features (n, D) of a video, n being its own number of frames; float32, finite.

        Raises:
            ValueError: with the reason, if it has none.
        """
