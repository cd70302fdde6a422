"""Naming somebody's own clips: a few examples of each action in, names for new clips out, no training."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
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
from mdmf.recognition.class_text import ChosenText, choose_text
from mdmf.recognition.clip_store import BadClip, ClipFeatures, ClipStore
from mdmf.recognition.own_answers import OwnAnswers
from mdmf.recognition.own_clips import SupportClips, find_queries, find_support, shown_path
from mdmf.recognition.own_support import OwnSupport, lacking_sources, make_support, usable_clips
from mdmf.recognition.predictions import NO_MOMENT, UNKNOWN, Moment, Predictions
from mdmf.recognition.windows import WindowRule
from mdmf.settings import DEFAULT_SOURCE, Settings

logger = logging.getLogger(__name__)

DEFAULT_CONFIG = "predict"
DEFAULT_STORE = Path("stores/predict")
TEXT_CHOICES = ("auto", "on", "off")


@dataclass(frozen=True)
class _Query:
    """One row to answer; without features there is nothing to answer it by."""

    clip: str
    key: str = ""
    features: Mapping[str, np.ndarray] | None = None
    moment: Moment = NO_MOMENT
    note: str = ""


@dataclass(frozen=True)
class _Fitted:
    """What is known after `fit`: who answers, clips by class, content of a clip -> its class, and notes."""

    answers: OwnAnswers
    n_shots: dict[str, int]
    class_of: dict[str, str]
    notes: tuple[str, ...]


class FewShotRecognizer:
    """Names clips after a few examples of each action, in the manner of scikit-learn: `fit`, then `predict`.

    Without a run nothing is trained: frozen features are compared by OTAM, together with the words of the class names.
    With a run its trained model answers. What was decoded and encoded once is kept, so a second call is fast.

    Clips are decoded in the caller's own process unless `data.n_workers` is set (then from 32 new clips on): processes
    can only be started by a script that keeps its calls under `if __name__ == "__main__":`, or by the command.

    Args:
        run: a run folder; its settings, encoder and best weights.
        cfg: a config, or the name of a shipped one, where there is no run; default: `predict`.
        overrides: settings as `section.key=value`.
        text: whether the class names' words join in, with the weight `model.text_weight`: `auto` where every class name
            is made of words or there are prompts for these classes, `on` always, `off` never. It does not change what a
            model itself does with text.
        store: where features are kept; default: `stores/predict` in the current folder.
        progress: show bars for what is encoded.
        allow_code: let `encoder.library: module` and `model.name: module` import a user's own code.

    Attributes:
        classes_: names, after `fit`.
        notes_: what must be known of the support, after `fit`.

    Raises:
        FileNotFoundError: if there is no such run, config or checkpoint.
        ValueError: for settings that cannot be used, or a model that is not trained.
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
        self.settings = _read_settings(self.run, cfg or DEFAULT_CONFIG, list(overrides))
        self.text = text
        # Prompts that somebody named now are meant for these classes; those of a run are meant for its own.
        prompts_are_given = any(word.startswith("data.prompts=") for word in overrides)
        self._prompts_are_for_these = self.settings.data.prompts is not None and (run is None or prompts_are_given)
        self._folder = DEFAULT_STORE if store is None else Path(store).expanduser()
        self._workspace = Workspace(self.settings, progress=progress, allow_code=allow_code)  # for its encoders
        needed = {*self.settings.model.used_sources}
        needed |= {DEFAULT_SOURCE} if text != "off" and self.settings.model.text_weight else set()
        self._store = ClipStore(
            self._folder,
            self.settings,
            sources=[source for source in self.settings.sources if source in needed],
            encoder=self._workspace.encoder,
            progress=progress,
        )
        self._fitted: _Fitted | None = None

    @property
    def classes_(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self._state.answers.support.classes

    @property
    def notes_(self) -> tuple[str, ...]:
        """What must be known of the support."""
        return self._state.notes

    @property
    def n_encoded_frames(self) -> int:
        """Frames that this object had to encode so far; 0 where all was kept from an earlier call."""
        return self._store.n_encoded_frames

    @property
    def _state(self) -> _Fitted:
        if self._fitted is None:
            raise ValueError("the recognizer knows no action yet; call fit with a folder of examples first")
        return self._fitted

    def fit(self, support: SupportClips) -> Self:
        """Learn what each action looks like: encode the examples. No weights change.

        Args:
            support: a folder with a folder of clips per action, or class -> clips. Any number of classes from two on,
                and of clips; classes may differ in the number of clips. A bad clip is left out, with a note.

        Raises:
            FileNotFoundError: for a folder or clip that does not exist.
            ValueError: for fewer than two classes, a class without a usable clip, or one clip in two classes.
        """
        found = find_support(support)
        if UNKNOWN in found.of_class:
            raise ValueError(f"a class cannot be called {UNKNOWN!r}: that is the answer for clips of no class")
        clips, clip_notes = usable_clips(found, self._store.clips)
        made = make_support(clips, self._store.sources, scale=self._trained_scale())
        source_notes = lacking_sources(made, self.settings.model.used_sources)
        text = choose_text(
            made.classes,
            self.settings,
            wanted=self.text,
            prompts_are_for_these=self._prompts_are_for_these,
            folder=self._folder / "text",
            identity=lambda: self._store.identity(DEFAULT_SOURCE),
            encoder=lambda: self._store.encoder(DEFAULT_SOURCE),
        )
        self._fitted = _Fitted(
            OwnAnswers(
                made,
                model=self._model(made, text),
                model_name=self.settings.model.table_name,
                class_text=None if text.features is None else text.features.scaled(made.classes),
                text_model=self._text_model(made, text),
                text_weight=text.weight,
                device=resolve_device(self.settings.training.device),
            ),
            n_shots={name: len(of_class) for name, of_class in clips.items()},
            class_of={clip.key: name for name, of_class in clips.items() for clip in of_class},
            notes=(*clip_notes, *found.notes, *source_notes, *text.notes),
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
        """Name clips, or what happens when in long ones.

        Args:
            clips: files, or folders that are searched for clips.
            window: name windows of this length (`2s`, or `48f` for frames), not clips as a whole.
            stride: from window to window, in the unit of `window`; default: half of it.
            unknown_below: answers with a smaller probability become `none of these`. Try it on clips of yours:
                probabilities are not calibrated.

        Returns:
            A row for each clip, or window. A clip that cannot be read has a row that says why.

        Raises:
            FileNotFoundError: for a path that does not exist.
            ValueError: before `fit`, for no clip, or a setting that is none.
        """
        state = self._state
        paths, rule = check_question(clips, window=window, stride=stride, unknown_below=unknown_below)
        rows = list(self._whole_clips(paths) if rule is None else self._windows(paths, rule))
        asked = [row for row in rows if row.features]
        answers = state.answers.answer([row.features or {} for row in asked], [_draw(row) for row in asked])
        has_answer = np.array([bool(row.features) for row in rows], dtype=bool)
        trusted = iter(answers.trusted)
        return Predictions(
            classes=self.classes_,
            clips=tuple(row.clip for row in rows),
            posterior=_spread(answers.posterior, has_answer),
            branch_posteriors={name: _spread(part, has_answer) for name, part in answers.branches.items()},
            trusted=tuple(next(trusted) if there else "" for there in has_answer),
            notes=tuple(row.note for row in rows),
            moments=None if rule is None else tuple(row.moment for row in rows),
            unknown_below=unknown_below,
            about=self._about(rows, rule, unknown_below),
        )

    def _model(self, support: OwnSupport, text: ChosenText) -> nn.Module:
        """The model of the settings, with the run's weights."""
        model = build_model(
            self.settings.model,
            feature_sizes={source: features.shape[-1] for source, features in support.features.items()},
            n_frames=self.settings.frames.n_frames,
            allow_code=self._workspace.allow_code,
            **({} if text.features is None else {"logit_scale": text.features.logit_scale}),
        )
        if self.settings.model.is_trained and self.run is not None:
            load_weights(self.run.best, model)
        return model

    def _text_model(self, support: OwnSupport, text: ChosenText) -> nn.Module | None:
        """The text's own answer, where it joins in."""
        if not text.weight or text.features is None:
            return None
        size = support.features[DEFAULT_SOURCE].shape[-1]
        return text_model(self.settings.model, logit_scale=text.features.logit_scale, feature_size=size)

    def _trained_scale(self) -> dict[str, float]:
        """source -> what a run's features were multiplied by; weights of before this was noted say nothing of it."""
        if self.run is None or not self.settings.model.is_trained:
            return {}
        return dict(read_notes(self.run.best).get(FEATURE_SCALE, {}))

    def _whole_clips(self, paths: Sequence[Path]) -> Iterator[_Query]:
        for path, clip in zip(paths, self._store.clips(paths), strict=True):
            if isinstance(clip, BadClip):
                yield _Query(shown_path(path), note=f"not answered: {clip.reason}")
            else:
                features = {source: part[0] for source, part in clip.features.items()}
                yield _Query(shown_path(path), clip.key, features, note=self._note(clip))

    def _windows(self, paths: Sequence[Path], rule: WindowRule) -> Iterator[_Query]:
        for path in paths:
            clip = self._store.windows(path, rule)
            if isinstance(clip, BadClip) or clip.windows is None:
                reason = clip.reason if isinstance(clip, BadClip) else "it has no windows"
                yield _Query(shown_path(path), note=f"not answered: {reason}")
                continue
            for row, moment in enumerate(clip.windows.moments()):
                features = {source: part[row] for source, part in clip.features.items()}
                yield _Query(shown_path(path), f"{clip.key} {row}", features, Moment(*moment), self._note(clip))

    def _note(self, clip: ClipFeatures) -> str:
        """What must be known of an answer."""
        notes = [f"no {source}: {why}" for source, why in clip.problems.items()]
        if (name := self._state.class_of.get(clip.key)) is not None:
            notes.append(f"is a support clip of {name}: its answer shows nothing")
        return "; ".join(notes)

    def _about(self, rows: Sequence[_Query], rule: WindowRule | None, unknown_below: float | None) -> dict[str, Any]:
        """Who answered, by what, and what must be known of it."""
        state, encoder = self._state, self.settings.encoder
        notes = list(state.notes)
        n_bad = sum(not row.features for row in rows)
        if n_bad:
            notes.append(f"{n_bad} of {len({row.clip for row in rows})} clips could not be read")
        if unknown_below is not None and unknown_below <= 1 / len(self.classes_):
            notes.append(
                f"the best of {len(self.classes_)} classes always has {1 / len(self.classes_):.2f} or more, so "
                f"nothing can be below {unknown_below}"
            )
        if encoder.weights == "random":
            notes.append("THE ENCODER'S WEIGHTS ARE RANDOM: these answers say nothing about real clips")
        if encoder.library == "tiny":
            notes.append("the tiny encoder has seen drawn shapes only: it shows how this works, not what is in a clip")
        return {
            "model": self.settings.model.table_name,
            "run": None if self.run is None else str(self.run.folder),
            "encoder": f"{encoder.library} {encoder.model} {encoder.weights}",
            "text_weight": state.answers.text_weight,
            "window": None if rule is None else str(rule),
            "support": state.n_shots,
            "notes": notes,
        }


def check_question(
    clips: str | Path | Iterable[str | Path],
    *,
    window: str | None = None,
    stride: str | None = None,
    unknown_below: float | None = None,
) -> tuple[tuple[Path, ...], WindowRule | None]:
    """See before anything is encoded whether it can be answered: the arguments are those of `predict`.

    Returns:
        The clips, and the windows, if any.

    Raises:
        FileNotFoundError: for a path that does not exist.
        ValueError: for no clip, or a setting that is none.
    """
    if window is None and stride is not None:
        raise ValueError(f"a stride of {stride} needs a window, such as 2s")
    if unknown_below is not None and not 0 < unknown_below <= 1:
        raise ValueError(f"unknown_below is a probability in (0, 1], got {unknown_below}")
    rule = None if window is None else WindowRule.parse(window, stride)
    return find_queries(clips), rule


def _read_settings(run: RunFolder | None, cfg: str | Path, overrides: list[str]) -> Settings:
    if run is not None:
        settings = run.settings(overrides)
        run.check_same_features(settings)
    else:
        settings = load_settings(cfg, overrides)
    name = settings.model.table_name
    if settings.model.is_trained and run is None:
        raise ValueError(f"model {name!r} has to be trained; give a run of it, or one that has not, as model.name=otam")
    if settings.model.text_weight == "val":
        raise ValueError(
            "model.text_weight=val is chosen on val classes, and own clips have none; give a number, such as the "
            "text_weight in a test result of the run"
        )
    if settings.corrupt.by_source:
        raise ValueError("corrupt.* is for tests; own clips are answered as they are")
    return settings


def _draw(query: _Query) -> float:
    """A number in [0, 1) that depends on the content of the clip alone, for models that draw."""
    return int(hashlib.sha256(query.key.encode()).hexdigest()[:13], 16) / 16**13


def _spread(answers: np.ndarray, has_answer: np.ndarray) -> np.ndarray:
    """(n_answered, N) -> (n, N), not a number where there is no answer."""
    spread = np.full((len(has_answer), answers.shape[1]), np.nan, dtype=np.float64)
    spread[has_answer] = answers
    return spread
