"""Recognition of a user's own clips: a few examples of each action, then names for new clips, without training."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from torch import nn

from mdmf.config import load_settings
from mdmf.device import resolve_device
from mdmf.engine.checkpoint import FEATURE_SCALE, load_weights, read_notes
from mdmf.engine.run_folder import RunFolder
from mdmf.engine.workspace import Workspace
from mdmf.models.build import build_model
from mdmf.models.text_at_test import text_model
from mdmf.recognition.class_text import TextChoice, choose_text
from mdmf.recognition.clip_listing import SupportClips, list_queries, list_support, shown_path
from mdmf.recognition.clip_store import BadClip, ClipFeatures, ClipStore
from mdmf.recognition.predictions import UNKNOWN, Predictions, trusted_branches
from mdmf.recognition.support import feature_scales, unused_source_notes, usable_clips
from mdmf.recognition.task import ClipFrames, ClipTask
from mdmf.recognition.windows import NO_MOMENT, Moment, WindowRule
from mdmf.settings import Settings
from mdmf.source_settings import DEFAULT_SOURCE

logger = logging.getLogger(__name__)

DEFAULT_STORE = Path("stores/predict")
TEXT_CHOICES = ("auto", "on", "off")


@dataclass(frozen=True, eq=False)
class _Query:
    """A clip or window to name; without features of any source it has no answer."""

    clip: str
    key: str = ""
    features: ClipFrames = field(default_factory=dict)
    moment: Moment = NO_MOMENT
    note: str = ""

    @property
    def draw(self) -> float:
        """A number in [0, 1) that depends on the content of the clip alone, for models that draw prompts."""
        return int(hashlib.sha256(self.key.encode()).hexdigest()[:13], 16) / 16**13


class FewShotRecognizer:
    """Names clips after a few examples of each action, with the interface of scikit-learn: `fit`, then `predict`.

    Without a run nothing is trained: OTAM compares frozen features, and the text of the class names is combined with
    its answer. With a run the trained model of the run answers. Features are stored, so a second call is fast.

    Clips are decoded in the caller's own process unless `data.n_workers` is set (then from 32 new clips on): processes
    can only be started by a script that keeps its calls under `if __name__ == "__main__":`, or by the command.

    Args:
        run: a run folder; its settings, encoder and best weights are used.
        cfg: a config, or the name of a shipped one, instead of a run; default: `predict`.
        overrides: settings as `section.key=value`.
        text: whether the text of the class names is combined with the answer, with the weight `model.text_weight`:
            `auto` if every class name is made of words or there are prompts for these classes, `on` always, `off`
            never. It does not change how the model itself uses text.
        store: folder of the stored features; default: `stores/predict` in the current folder.
        progress: show progress bars for encoding.
        allow_code: let `encoder.library: module` and `model.name: module` import a user's own code.

    Attributes:
        classes_: names of the classes, after `fit`.
        notes_: remarks on the support, such as clips that were left out, after `fit`.

    Raises:
        FileNotFoundError: if there is no such run, config or checkpoint.
        ValueError: for settings that cannot be used, or a model that has to be trained first.
    """

    def __init__(
        self,
        run: str | Path | None = None,
        cfg: str | Path | None = None,
        *,
        overrides: Sequence[str] = (),
        text: str = "auto",
        store: str | Path | None = None,
        progress: bool = False,
        allow_code: bool = False,
    ) -> None:
        if run is not None and cfg is not None:
            raise ValueError("give a run or a config, not both: a run has its own settings")
        if text not in TEXT_CHOICES:
            raise ValueError(f"text must be one of {TEXT_CHOICES}, got {text!r}")
        self.run = None if run is None else RunFolder.open(Path(run).expanduser())
        self.settings = _read_settings(self.run, cfg or "predict", list(overrides))
        self.text = text
        # A prompt file given in this call is meant for these classes; the file of a run is meant for its own classes.
        prompts_are_given = any(override.startswith("data.prompts=") for override in overrides)
        self._prompts_are_for_these = self.settings.data.prompts is not None and (run is None or prompts_are_given)
        self._folder = DEFAULT_STORE if store is None else Path(store).expanduser()
        self._workspace = Workspace(self.settings, progress=progress, allow_code=allow_code)  # for its encoders
        self._method = self._workspace.method
        if run is None and self._method.is_trained:
            name = self.settings.model.table_name
            raise ValueError(
                f"model {name!r} has to be trained; give a run of it, or another model, as model.name=otam"
            )
        self._weights = self.run.best if self.run is not None and self._method.is_trained else None
        sources = {*self._method.used_sources}
        sources |= {DEFAULT_SOURCE} if text != "off" and self.settings.model.text_weight else set()
        self._store = ClipStore(
            self._folder,
            self.settings,
            sources=[source for source in self.settings.sources if source in sources],
            encoder=self._workspace.encoder,
            progress=progress,
        )
        self._task: ClipTask | None = None

    @property
    def classes_(self) -> tuple[str, ...]:
        """Names of the classes."""
        return tuple(self._fitted.clips)

    @property
    def notes_(self) -> tuple[str, ...]:
        """Remarks on the support."""
        return self._fitted.notes

    @property
    def n_encoded_frames(self) -> int:
        """Number of frames that this object encoded; 0 if all features were stored by an earlier call."""
        return self._store.n_encoded_frames

    @property
    def _fitted(self) -> ClipTask:
        if self._task is None:
            raise ValueError("the recognizer knows no action yet; call fit with a folder of examples first")
        return self._task

    def fit(self, support: SupportClips) -> Self:
        """Encode the examples of each action. No weights change.

        Args:
            support: a folder with a folder of clips per action, or class -> clips. There are two or more classes, each
                with one or more clips; classes may differ in their number. A bad clip is left out, with a note.

        Raises:
            FileNotFoundError: for a folder or clip that does not exist.
            ValueError: for fewer than two classes, a class without a usable clip, or one clip in two classes.
        """
        listing = list_support(support)
        if UNKNOWN in listing.clips:
            raise ValueError(f"a class cannot be called {UNKNOWN!r}: that is the answer for clips of no class")
        clips, clip_notes = usable_clips(listing, self._store.clips)
        trained_scales = {} if self._weights is None else read_notes(self._weights).get(FEATURE_SCALE, {})
        scales = feature_scales(clips, self._store.sources, trained=trained_scales)
        source_notes = unused_source_notes(clips, self._store.sources, of_model=self._method.used_sources)
        text = choose_text(
            list(clips),
            self.settings,
            reads_text=self._method.reads_text,
            option=self.text,
            prompts_are_for_these=self._prompts_are_for_these,
            folder=self._folder / "text",
            store=self._store,
        )
        examples = (clip for of_class in clips.values() for clip in of_class)
        sizes = {source: features.shape[-1] for clip in examples for source, features in clip.features.items()}
        model, text_only = self._models(sizes, text)
        device = resolve_device(self.settings.training.device)
        self._task = ClipTask(
            clips,
            scales,
            model=model.to(device),
            model_name=self.settings.model.table_name,
            device=device,
            class_text=None if text.features is None else text.features.scaled(list(clips)),
            text_model=text_only,
            text_weight=text.weight,
            notes=(*clip_notes, *listing.notes, *source_notes, *text.notes),
        )
        for note in clip_notes:
            logger.warning("%s", note)
        return self

    def predict(
        self,
        clips: str | Path | Iterable[str | Path],
        *,
        window: str | None = None,
        stride: str | None = None,
        unknown_below: float | None = None,
    ) -> Predictions:
        """Name clips, or the windows of long ones.

        Args:
            clips: files, or folders that are searched for clips.
            window: name windows of this length (`2s`, or `48f` for frames) instead of whole clips.
            stride: distance between the starts of two windows, in the unit of `window`; default: half of it.
            unknown_below: an answer with a smaller probability becomes `none of these`. Choose it on clips whose class
                is known: probabilities are not calibrated.

        Returns:
            A row for each clip or window. A clip that cannot be read has a row with the reason.

        Raises:
            FileNotFoundError: for a path that does not exist.
            ValueError: before `fit`, without a clip, or for a setting that cannot be used.
        """
        task = self._fitted
        paths, rule = parse_request(clips, window=window, stride=stride, unknown_below=unknown_below)
        queries = list(self._queries(paths, rule))
        answered = [query for query in queries if query.features]
        answers = task.answer([query.features for query in answered], [query.draw for query in answered])
        trusted = iter(trusted_branches(answers))
        has_answer = np.array([bool(query.features) for query in queries])
        return Predictions(
            classes=self.classes_,
            clips=tuple(query.clip for query in queries),
            posterior=_by_query(answers.posterior, has_answer),
            branch_posteriors={name: _by_query(part, has_answer) for name, part in answers.branch_posteriors.items()},
            trusted=tuple(next(trusted) if query.features else "" for query in queries),
            notes=tuple(query.note for query in queries),
            moments=None if rule is None else tuple(query.moment for query in queries),
            unknown_below=unknown_below,
            about=self._about(queries, rule, unknown_below),
        )

    def _models(self, feature_sizes: Mapping[str, int], text: TextChoice) -> tuple[nn.Module, nn.Module | None]:
        """The model with the weights of the run, and the one of the text alone if their answers are combined."""
        method = self._method
        logit_scale = 100.0 if text.features is None else text.features.logit_scale  # without text: unused
        model = build_model(
            method, feature_sizes=feature_sizes, n_frames=self.settings.frames.n_frames, logit_scale=logit_scale
        )
        if self._weights is not None:
            load_weights(self._weights, model)
        if not text.weight:
            return model, None
        return model, text_model(method, feature_size=feature_sizes[DEFAULT_SOURCE], logit_scale=logit_scale)

    def _queries(self, paths: Sequence[Path], rule: WindowRule | None) -> Iterator[_Query]:
        """The clips, or their windows, in order."""
        clips: Iterable[ClipFeatures | BadClip]
        clips = self._store.clips(paths) if rule is None else (self._store.windows(path, rule) for path in paths)
        class_by_key = {clip.key: name for name, examples in self._fitted.clips.items() for clip in examples}
        for path, clip in zip(paths, clips, strict=True):
            name = shown_path(path)
            if isinstance(clip, BadClip):
                yield _Query(name, note=f"not answered: {clip.reason}")
                continue
            notes = [f"no {source}: {why}" for source, why in clip.problems.items()]
            if clip.key in class_by_key:
                notes.append(f"is a support clip of {class_by_key[clip.key]}: its answer shows nothing")
            for row, moment in enumerate([NO_MOMENT] if clip.windows is None else clip.windows.moments()):
                key = clip.key if clip.windows is None else f"{clip.key} {row}"
                features = {source: part[row] for source, part in clip.features.items()}
                yield _Query(name, key, features, moment, "; ".join(notes))

    def _about(self, queries: Sequence[_Query], rule: WindowRule | None, unknown_below: float | None) -> dict[str, Any]:
        """The model, its settings and the remarks on all answers, as plain values."""
        encoder, task, notes = self.settings.encoder, self._fitted, list(self.notes_)
        lowest = 1 / len(task.clips)
        n_unread = sum(not query.features for query in queries)
        if n_unread:
            notes.append(f"{n_unread} of {len({query.clip for query in queries})} clips could not be read")
        if unknown_below is not None and unknown_below <= lowest:
            notes.append(
                f"the best of {len(task.clips)} classes always has {lowest:.2f} or more, so nothing can be below "
                f"{unknown_below}"
            )
        if encoder.weights == "random":
            notes.append("THE ENCODER'S WEIGHTS ARE RANDOM: these answers say nothing about real clips")
        if encoder.library == "tiny":
            notes.append("the tiny encoder has seen drawn shapes only: it shows how this works, not what is in a clip")
        return {
            "model": self.settings.model.table_name,
            "run": None if self.run is None else str(self.run.folder),
            "encoder": f"{encoder.library} {encoder.model} {encoder.weights}",
            "text_weight": task.text_weight,
            "window": None if rule is None else str(rule),
            "support": {name: len(examples) for name, examples in task.clips.items()},
            "notes": notes,
        }


def parse_request(
    clips: str | Path | Iterable[str | Path],
    *,
    window: str | None = None,
    stride: str | None = None,
    unknown_below: float | None = None,
) -> tuple[tuple[Path, ...], WindowRule | None]:
    """The clips and the rule of windows, if any, of the arguments of `predict`; checks them before any encoding.

    Raises:
        FileNotFoundError: for a path that does not exist.
        ValueError: without a clip, or for a setting that cannot be used.
    """
    if window is None and stride is not None:
        raise ValueError(f"a stride of {stride} needs a window, such as 2s")
    if unknown_below is not None and not 0 < unknown_below <= 1:
        raise ValueError(f"unknown_below is a probability in (0, 1], got {unknown_below}")
    rule = None if window is None else WindowRule.parse(window, stride)
    return list_queries(clips), rule


def _read_settings(run: RunFolder | None, cfg: str | Path, overrides: list[str]) -> Settings:
    if run is not None:
        settings = run.settings(overrides)
        run.check_same_features(settings)
    else:
        settings = load_settings(cfg, overrides)
    if settings.model.text_weight == "val":
        raise ValueError(
            "model.text_weight=val is chosen on val classes, and own clips have none; give a number, such as the "
            "text_weight in a test result of the run"
        )
    if settings.corrupt.by_source:
        raise ValueError("corrupt.* is for tests; own clips are answered as they are")
    return settings


def _by_query(values: np.ndarray, has_answer: np.ndarray) -> np.ndarray:
    """(E, Q, N) -> (n, N) float64, not a number for a query without an answer."""
    N = values.shape[-1]
    rows = np.full((len(has_answer), N), np.nan)
    rows[has_answer] = values.reshape(-1, N)[: has_answer.sum()]
    return rows
