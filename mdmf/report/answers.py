"""What a run answered in a test: its result and its episodes file, read and set beside those of another run."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mdmf.results import read_test_result, result_model
from mdmf.studies.video_bootstrap import AskedVideos


@dataclass(frozen=True)
class Answers:
    """One model's answers to the episodes of a test.

    Attributes:
        label: of this row in tables.
        folder: of the run.
        protocol: name of the test.
        model: name of the model.
        result: what `test_<protocol>.json` holds.
        classes: names of the split's classes.
        video_ids: names of the videos.
        asked: the episodes, by the numbers of these classes and videos.
        right: (n, Q) bool, whether each query was answered rightly.
    """

    label: str
    folder: Path
    protocol: str
    model: str
    result: dict[str, Any]
    classes: tuple[str, ...]
    video_ids: tuple[str, ...]
    asked: AskedVideos
    right: np.ndarray


def protocols_of(folder: Path) -> list[str]:
    """Names of the tests that a run folder holds whole: result and episodes.

    Raises:
        FileNotFoundError: if it holds none.
    """
    files = sorted(folder.glob("test_*.json"))
    names = [path.stem.removeprefix("test_") for path in files if _episodes_file(path).is_file()]
    if not names:
        raise FileNotFoundError(
            f"{folder} holds no test (test_<protocol>.json with its …_episodes.npz); test it first: "
            f"mdmf test --run {folder}"
        )
    return names


def _episodes_file(result: Path) -> Path:
    return result.with_name(f"{result.stem}_episodes.npz")


def read_answers(folder: Path, protocol: str, model: str | None = None) -> Answers:
    """Read one model's answers from a run folder.

    Args:
        model: its name in the result; None is the run's own model.

    Raises:
        FileNotFoundError: if there is no such test.
        ValueError: if the model was not tested, or the files are not what a test writes.
    """
    path = folder / f"test_{protocol}.json"
    if not path.is_file() or not _episodes_file(path).is_file():
        raise FileNotFoundError(f"{folder} has no test {protocol!r}; it has {', '.join(protocols_of(folder))}")
    result = read_test_result(path)
    try:
        model = model or result_model(result)
        if model not in result["models"]:
            raise ValueError(f"it has no model {model!r}; it has {', '.join(result['models'])}")
        classes = tuple(result["models"][model]["per_class_percent"])
        with np.load(_episodes_file(path), allow_pickle=False) as arrays:  # without pickle: nothing in it may run
            names = ("class_ids", "support_videos", "query_videos", "query_labels")
            asked = AskedVideos(*(arrays[name].astype(np.int64) for name in names))
            predictions = arrays[f"{model}/predictions"]
            video_ids = tuple(str(name) for name in arrays["video_ids"])
            _check(asked, predictions, classes, video_ids)
    except (KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} and its episodes are not what `mdmf test` writes ({error}); test again") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    label, right = f"{folder.resolve().name}:{model}", predictions == asked.labels
    return Answers(label, folder, protocol, model, result, classes, video_ids, asked, right)


def _check(asked: AskedVideos, predictions: np.ndarray, classes: Sequence[str], video_ids: Sequence[str]) -> None:
    """Whether the arrays of an episodes file belong together.

    Raises:
        ValueError: if they do not.
    """
    if [asked.class_ids.ndim, asked.support.ndim, asked.query.ndim, asked.labels.ndim] != [2, 3, 2, 2]:
        raise ValueError("its arrays have other dimensions than a test's; test again")
    n_episodes, n_way = asked.class_ids.shape
    shapes = {values.shape for values in (predictions, asked.query, asked.labels)}
    if len(shapes) > 1 or len(asked.support) != n_episodes or len(predictions) != n_episodes:
        raise ValueError("its arrays are of different numbers of episodes or queries; test again")
    if predictions.dtype.kind not in "iu":
        raise ValueError(f"its predictions are no whole numbers but {predictions.dtype}; test again")
    numbers = {"class": (asked.class_ids, classes), "label": (asked.labels, range(n_way))}
    numbers |= {"prediction": (predictions, range(n_way))}
    numbers |= {"support video": (asked.support, video_ids), "query video": (asked.query, video_ids)}
    for what, (found, known) in numbers.items():
        if found.min(initial=0) < 0 or found.max(initial=-1) >= len(known):
            raise ValueError(f"a {what} of an episode has a number that is none of 0..{len(known) - 1}; test again")


def check_same_episodes(reference: Answers, other: Answers) -> None:
    """Two runs can be compared query by query only if they were asked the same.

    Raises:
        ValueError: naming the first difference, and how to make them equal.
    """
    difference = _first_difference(reference, other)
    if difference:
        raise ValueError(
            f"{other.label} was tested on other episodes than {reference.label}, so they cannot be paired: "
            f"{difference}.\n{_remedy(reference, other)}"
        )


def _first_difference(reference: Answers, other: Answers) -> str | None:
    """In words; None if there is none."""
    (n, n_way, n_shot), (m, m_way, m_shot) = reference.asked.support.shape, other.asked.support.shape
    sizes = [("way", m_way, n_way), ("shot", m_shot, n_shot)]
    sizes += [("queries in an episode", other.asked.query.shape[1], reference.asked.query.shape[1])]
    sizes += [("episodes", m, n)]
    for what, there, here in sizes:
        if there != here:
            return f"{what}: {there:,} there, {here:,} here"
    names = [_names(answers) for answers in (reference, other)]
    for what, here, theirs in zip(("class", "support video", "query video", "label"), *names, strict=True):
        differs = (here != theirs).reshape(n, -1)
        if differs.any():
            episode, place = np.argwhere(differs)[0]
            here, theirs = (values.reshape(n, -1)[episode, place] for values in (here, theirs))
            return f"{what} {place} of episode {episode} is {str(theirs)!r} there, {str(here)!r} here"
    return None


def _names(answers: Answers) -> tuple[np.ndarray, ...]:
    """Classes, support videos, query videos and labels of all episodes, by name."""
    asked = answers.asked
    classes, videos = np.array(answers.classes), np.array(answers.video_ids)
    return classes[asked.class_ids], videos[asked.support], videos[asked.query], asked.labels


def _remedy(reference: Answers, other: Answers) -> str:
    """The commands that test both alike, with the protocol of the reference."""
    protocol = reference.result["protocol"]
    words = [f"evaluation.{name}={protocol[name]}" for name in ("split", "n_way", "n_shot", "n_query")]
    words += [f"evaluation.{name}={protocol[name]}" for name in ("n_episodes", "seed")]
    words += [f"episode.group_disjoint={str(protocol['group_disjoint']).lower()}"]
    own = [answers.result["settings"]["evaluation"]["baselines"] for answers in (reference, other)]
    baselines = ", ".join(dict.fromkeys(name for names in own for name in names))
    words += [f"'evaluation.baselines=[{baselines}]'"]
    lines = [
        "To make them equal, test both again on the same data (data.root, its classes and splits), with the same",
        "evaluation.seed, n_episodes, way, shot and queries, and, where videos lack a source, the same baselines:",
    ]
    for answers in (reference, other):
        is_run = (answers.folder / "config.yaml").is_file()
        lines.append(f"  mdmf test {f'--run {answers.folder}' if is_run else '--cfg <its config>'} {' '.join(words)}")
    return "\n".join(lines)
