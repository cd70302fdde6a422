"""One model's answers in a saved test, and whether two tests asked the same episodes."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from mdmf.results import Episodes, Result, ResultFiles, find_tests, read_episodes, read_result


@dataclass(frozen=True)
class SavedTest:
    """A test with its episodes.

    Attributes:
        folder: of the run.
        protocol: name of the test.
    """

    folder: Path
    protocol: str
    result: Result
    episodes: Episodes


@dataclass(frozen=True)
class SavedAnswers:
    """One model's answers in a test.

    Attributes:
        label: of its row in tables.
        model: its name in the result.
    """

    label: str
    test: SavedTest
    model: str

    @cached_property
    def right(self) -> np.ndarray:
        """(n, Q) bool, whether each query was answered rightly."""
        episodes = self.test.episodes
        return np.asarray(episodes.answers[self.model].predictions == episodes.labels)


def protocols_of(folder: Path) -> list[str]:
    """Names of the tests that a run folder holds whole: result and episodes.

    Raises:
        FileNotFoundError: if it holds none.
    """
    names = [files.protocol for files in find_tests(folder) if files.episodes.is_file()]
    if not names:
        raise FileNotFoundError(
            f"{folder} holds no test (test_<protocol>.json with its …_episodes.npz); test it first: "
            f"mdmf test --run {folder}"
        )
    return names


def read_saved_test(folder: Path, protocol: str) -> SavedTest:
    """Read a test and its episodes.

    Raises:
        FileNotFoundError: if there is no such test.
        ValueError: if the files are not what a test writes.
    """
    files = ResultFiles(folder, protocol)
    if not files.result.is_file() or not files.episodes.is_file():
        raise FileNotFoundError(f"{folder} has no test {protocol!r}; it has {', '.join(protocols_of(folder))}")
    result = read_result(files.result)
    return SavedTest(folder, protocol, result, read_episodes(files.episodes, result))


def answers_of(test: SavedTest, model: str | None = None) -> SavedAnswers:
    """The answers of one model; None is the tested model itself.

    Raises:
        ValueError: if the model was not tested.
    """
    model = model or test.result.model
    if model not in test.result.models:
        path = ResultFiles(test.folder, test.protocol).result
        raise ValueError(f"{path}: it has no model {model!r}; it has {', '.join(test.result.models)}")
    return SavedAnswers(f"{test.folder.resolve().name}:{model}", test, model)


def check_same_episodes(reference: SavedAnswers, other: SavedAnswers) -> None:
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


def _first_difference(reference: SavedAnswers, other: SavedAnswers) -> str | None:
    """In words; None if there is none."""
    here, there = reference.test.episodes, other.test.episodes
    (n, n_way, n_shot), (m, m_way, m_shot) = here.support.shape, there.support.shape
    sizes = [("way", m_way, n_way), ("shot", m_shot, n_shot)]
    sizes += [("queries in an episode", there.query.shape[1], here.query.shape[1])]
    sizes += [("episodes", m, n)]
    for what, size_there, size_here in sizes:
        if size_there != size_here:
            return f"{what}: {size_there:,} there, {size_here:,} here"
    kinds = ("class", "support video", "query video", "label")
    for what, names_here, names_there in zip(kinds, _names(reference.test), _names(other.test), strict=True):
        differs = (names_here != names_there).reshape(n, -1)
        if differs.any():
            episode, place = np.argwhere(differs)[0]
            first, second = (str(names.reshape(n, -1)[episode, place]) for names in (names_here, names_there))
            return f"{what} {place} of episode {episode} is {second!r} there, {first!r} here"
    return None


def _names(test: SavedTest) -> tuple[np.ndarray, ...]:
    """Classes, support videos, query videos and labels of all episodes, by name."""
    episodes, classes = test.episodes, np.array(test.result.classes)
    videos = episodes.video_ids
    return classes[episodes.class_ids], videos[episodes.support], videos[episodes.query], episodes.labels


def _remedy(reference: SavedAnswers, other: SavedAnswers) -> str:
    """The commands that test both alike, with the protocol of the reference."""
    protocol = reference.test.result.protocol
    names = ("split", "n_way", "n_shot", "n_query", "n_episodes", "seed")
    words = [f"evaluation.{name}={getattr(protocol, name)}" for name in names]
    words += [f"episode.group_disjoint={str(protocol.group_disjoint).lower()}"]
    baselines = [answers.test.result.settings["evaluation"]["baselines"] for answers in (reference, other)]
    words += [f"'evaluation.baselines=[{', '.join(dict.fromkeys(itertools.chain(*baselines)))}]'"]
    lines = [
        "To make them equal, test both again on the same data (data.root, its classes and splits), with the same",
        "evaluation.seed, n_episodes, way, shot and queries, and, where videos lack a source, the same baselines:",
    ]
    for folder in (reference.test.folder, other.test.folder):
        is_run = (folder / "config.yaml").is_file()
        lines.append(f"  mdmf test {f'--run {folder}' if is_run else '--cfg <its config>'} {' '.join(words)}")
    return "\n".join(lines)
