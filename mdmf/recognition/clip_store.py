"""Features of single clips: a clip that was seen before is neither decoded nor encoded again.

The feature store of a data set holds a fixed list of videos; somebody's own clips come, go and change. Decoding,
preprocessing and encoding are those of the data set's store, and so are the numbers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from mdmf.data.features.decode_pool import BadVideo, Decoded, DecodePool, DecodeTask, Submitted
from mdmf.data.features.extractor import MIN_VIDEOS_FOR_WORKERS, encode_views
from mdmf.data.features.store import StoreSettings
from mdmf.data.sources.source import PictureSource
from mdmf.data.video.stream import FrameStream, open_stream
from mdmf.data.views.chunks import picture_chunks
from mdmf.data.views.loader import SourceView, load_clip_views, reason_of
from mdmf.data.views.view_plan import ViewPlan
from mdmf.encoders.clip import FrozenEncoder
from mdmf.engine.recipes import declared_source, store_settings
from mdmf.recognition.clip_files import ClipFiles, content_key
from mdmf.recognition.windows import WindowRule, Windows, plan_windows
from mdmf.settings import Settings

_WHOLE = "clip"
_WINDOW_PARTS = ("numbers", "first_frame", "end_frame", "start_seconds", "end_seconds")
_NOT_FINITE = "the encoder's features of it are not finite"


@dataclass(frozen=True, eq=False)
class ClipFeatures:
    """Features of one clip, or of each window of it.

    Attributes:
        key: names the clip by its content.
        features: source -> (W, T, D) float16, not scaled; W is 1 for a clip as a whole. At least one source.
        problems: source -> why it has no features of it.
        windows: which part of the clip each row shows; None for a clip as a whole.
    """

    key: str
    features: dict[str, np.ndarray]
    problems: dict[str, str]
    windows: Windows | None = None


@dataclass(frozen=True)
class BadClip:
    """In the place of the features of a clip that cannot be read."""

    reason: str


class ClipStore:
    """Features of clips as one encoder and frame rule give them; they are added, never changed.

    Args:
        folder: where they are kept; it may be deleted any time.
        settings: of the encoders, frames and flow.
        sources: names of declared sources.
        encoder: gives the encoder of a source; called when something has to be encoded.
        progress: show a bar for what is encoded.

    Attributes:
        n_encoded_frames: frames that this object had to encode so far, of all sources.

    Raises:
        ValueError: if a source is not made from the frames of a clip.
        ImportError: if a package that a source needs is missing.
    """

    def __init__(
        self,
        folder: Path,
        settings: Settings,
        *,
        sources: Sequence[str],
        encoder: Callable[[str], FrozenEncoder],
        progress: bool = False,
    ) -> None:
        self._sources: dict[str, PictureSource] = {}
        for name in sources:
            source = declared_source(settings, name)
            if not isinstance(source, PictureSource) or not source.uses_frames:
                raise ValueError(
                    f"the model needs source {name!r}, which is read from files on disk, and own clips have none; take "
                    f"a model whose sources are made from the frames of a clip"
                )
            source.check(name)
            self._sources[name] = source
        self.sources, self.progress, self.n_encoded_frames = tuple(sources), progress, 0
        self._get_encoder, self._encoders = encoder, dict[str, FrozenEncoder]()
        self._n_workers, self._batch_frames = settings.data.n_workers or 0, settings.encoder.batch_frames
        self.files = {name: ClipFiles(folder, store_settings(settings, name)) for name in self.sources}

    def clips(self, paths: Sequence[Path]) -> list[ClipFeatures | BadClip]:
        """Features of some clips, each as a whole; what is wrong with a clip is its result."""
        clips: list[ClipFeatures | BadClip] = []
        tasks: dict[int, DecodeTask] = {}
        for place, path in enumerate(paths):
            try:
                key = content_key(path)
            except OSError as error:
                clips.append(BadClip(reason_of(error)))
                continue
            stored = self._stored(key, _WHOLE)
            clips.append(ClipFeatures(key, {source: arrays["features"] for source, arrays in stored.items()}, {}))
            if missing := [source for source in self.sources if source not in stored]:
                tasks[place] = self._task(path, missing)
        bar = tqdm(total=len(tasks), desc="encoding", unit=" clips", disable=not (self.progress and tasks))
        n_workers = self._n_workers if len(tasks) >= MIN_VIDEOS_FOR_WORKERS else 0
        with bar, DecodePool(load_clip_views, n_workers=n_workers) as pool:
            for place, decoded in _decoded(tasks, pool, n_ahead=2 * n_workers):
                clip = clips[place]
                if isinstance(clip, ClipFeatures):
                    clips[place] = self._completed(clip, decoded)
                bar.update(1)
        return clips

    def windows(self, path: Path, rule: WindowRule) -> ClipFeatures | BadClip:
        """Features of the windows of a video, a row for each; every frame is decoded and encoded at most once."""
        part = f"{rule.length:.12g}{rule.unit}-{rule.stride:.12g}{rule.unit}"
        try:
            key = content_key(path)
        except OSError as error:
            return BadClip(reason_of(error))
        stored, problems = self._stored(key, part), dict[str, str]()
        if missing := [source for source in self.sources if source not in stored]:
            views = {source: self._view(source) for source in missing}
            for source in missing:
                self.encoder(source)  # here: an encoder that cannot be loaded is no fault of the video
            try:
                new, problems = self._new_windows(path, rule, views)
            except (ValueError, OSError) as error:
                return BadClip(reason_of(error))
            for source, arrays in new.items():
                self.files[source].write(key, part, arrays)
            stored |= new
        if not stored:
            return BadClip(next(iter(problems.values())))
        windows = Windows(**{name: next(iter(stored.values()))[name] for name in _WINDOW_PARTS})
        features = {source: arrays["features"][arrays["rows"]] for source, arrays in stored.items()}  # -> (W, T, D)
        return ClipFeatures(key, features, problems, windows)

    def _stored(self, key: str, part: str) -> dict[str, dict[str, np.ndarray]]:
        """source -> stored arrays of a clip, for the sources that have any."""
        read = {source: files.read(key, part) for source, files in self.files.items()}
        return {source: arrays for source, arrays in read.items() if arrays is not None}

    def _new_windows(
        self, path: Path, rule: WindowRule, views: Mapping[str, SourceView]
    ) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, str]]:
        """source -> arrays to store, and the reasons of sources without; in one pass through the video."""
        view_rule = self.files[next(iter(views))].requested.rule
        with open_stream(path) as video:
            windows = plan_windows(rule, video.n_frames, seconds=video.seconds, view_rule=view_rule)
            numbers, rows = np.unique(windows.numbers, return_inverse=True)
            problems = _impossible(views, ViewPlan(video.n_frames, numbers[None]))
            possible = {source: view for source, view in views.items() if source not in problems}
            encoded = self._encoded_stream(video, numbers, possible)
        shared = {name: getattr(windows, name) for name in _WINDOW_PARTS}
        shared["rows"] = rows.reshape(windows.numbers.shape)
        problems |= {source: _NOT_FINITE for source, features in encoded.items() if not np.isfinite(features).all()}
        arrays = {source: {"features": part, **shared} for source, part in encoded.items() if source not in problems}
        return arrays, problems

    def _encoded_stream(
        self, video: FrameStream, numbers: np.ndarray, views: Mapping[str, SourceView]
    ) -> dict[str, np.ndarray]:
        """source -> (F, D) float16 of the frames with these numbers."""
        if not views:
            return {}
        encoded: dict[str, list[np.ndarray]] = {source: [] for source in views}
        bar = tqdm(total=len(numbers), desc="encoding", unit=" frames", disable=not self.progress)
        with bar, torch.inference_mode():
            for pictures in picture_chunks(video, numbers, views):
                for source, batch in pictures.items():
                    features = self.encoder(source).encode_images(torch.from_numpy(batch))
                    encoded[source].append(_to_float16(features.float().cpu().numpy()))
                    self.n_encoded_frames += len(batch)
                bar.update(len(batch))
        return {source: np.concatenate(parts) for source, parts in encoded.items()}

    def _completed(self, clip: ClipFeatures, decoded: Decoded) -> ClipFeatures | BadClip:
        """The clip with the sources that it lacked, which are kept from now on."""
        features, problems = dict(clip.features), dict(decoded.problems)
        for source in [source for source in self.sources if source not in features and source not in problems]:
            if isinstance(decoded, BadVideo):
                problems[source] = decoded.reason
                continue
            rule = self.files[source].requested.rule
            encoded, _ = encode_views(
                [decoded], source=source, encoder=self.encoder(source), rule=rule, batch_frames=self._batch_frames
            )
            self.n_encoded_frames += rule.n_frames
            clip_features = _to_float16(encoded[0])  # (1, T, D)
            if np.isfinite(clip_features).all():
                self.files[source].write(clip.key, _WHOLE, {"features": clip_features})
                features[source] = clip_features
            else:
                problems[source] = _NOT_FINITE
        return ClipFeatures(clip.key, features, problems) if features else BadClip(next(iter(problems.values())))

    def _task(self, path: Path, sources: Sequence[str]) -> DecodeTask:
        views = {source: self._view(source) for source in sources}
        return DecodeTask(path, path.name, views, self.files[sources[0]].requested.rule)

    def _view(self, source: str) -> SourceView:
        settings = self._settings(source)
        if settings.preprocess is None:
            raise ValueError(f"{self.files[source].folder} does not say how frames are preprocessed; delete it")
        return SourceView(self._sources[source], settings.preprocess)

    def _settings(self, source: str) -> StoreSettings:
        """All that decides the features; the encoder is loaded only where no earlier call has said it."""
        if (settings := self.files[source].settings()) is None:
            self.encoder(source)
            settings = self.files[source].settings()
        if settings is None:
            raise ValueError(f"{self.files[source].folder} was deleted while it was used; run again")
        return settings

    def identity(self, source: str) -> Mapping[str, str]:
        """The encoder whose features are kept, its weights too; loaded only where no earlier call has said it."""
        return self._settings(source).encoder

    def encoder(self, source: str) -> FrozenEncoder:
        """The encoder of a source, once it is seen to be the one that the kept features are of.

        Raises:
            StoreMismatch: if it is another one, as where the weights behind a name were replaced.
        """
        if source not in self._encoders:
            encoder = self._get_encoder(source)
            self.files[source].check_encoder(encoder)
            self._encoders[source] = encoder
        return self._encoders[source]


def _impossible(views: Mapping[str, SourceView], plan: ViewPlan) -> dict[str, str]:
    """source -> why it has nothing of a video."""
    problems = {}
    for source, view in views.items():
        try:
            view.source.needed_frames(plan)
        except ValueError as error:
            problems[source] = reason_of(error)
    return problems


def _to_float16(features: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # what is too large becomes infinite, and is told as that
        return features.astype(np.float16)


def _decoded(tasks: Mapping[int, DecodeTask], pool: DecodePool, *, n_ahead: int) -> Iterator[tuple[int, Decoded]]:
    """What the tasks give, in order; up to `n_ahead` more are being decoded meanwhile."""
    queue: deque[tuple[int, Submitted]] = deque()
    for place, task in tasks.items():
        queue.append((place, pool.submit([task])))
        if len(queue) > n_ahead:
            first, submitted = queue.popleft()
            yield first, pool.collect(submitted)[0]
    for place, submitted in queue:
        yield place, pool.collect(submitted)[0]
