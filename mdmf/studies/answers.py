"""The answers of one model in a saved test, and whether two tests have the same episodes."""

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
        folder: run folder.
        protocol: name of the test.
        result: its numbers.
        episodes: its episodes and answers.
    """

    folder: Path
    protocol: str
    result: Result
    episodes: Episodes


@dataclass(frozen=True)
class SavedAnswers:
    """The answers of one model in a test.

    Attributes:
        label: name of its row in tables.
        test: the test.
        model: name of the model in the result.
    """

    label: str
    test: SavedTest
    model: str

    @cached_property
    def is_correct(self) -> np.ndarray:
        """(n, Q) bool, whether the answer to each query is correct."""
        episodes = self.test.episodes
        return np.asarray(episodes.answers[self.model].predictions == episodes.labels)


def protocols_of(folder: Path) -> list[str]:
    """Names of the tests in a run folder that have both result and episodes.

    Raises:
        FileNotFoundError: if there is none.
    """
    names = [files.protocol for files in find_tests(folder) if files.episodes.is_file()]
    if not names:
        raise FileNotFoundError(
            f"{folder} has no test (test_<protocol>.json with its …_episodes.npz); test it first: "
            f"mdmf test --run {folder}"
        )
    return names


def read_saved_test(folder: Path, protocol: str) -> SavedTest:
    """A test and its episodes.

    Raises:
        FileNotFoundError: if there is no such test.
        ValueError: if the files are damaged or of an unknown version.
    """
    files = ResultFiles(folder, protocol)
    if not files.result.is_file() or not files.episodes.is_file():
        raise FileNotFoundError(f"{folder} has no test {protocol!r}; it has {', '.join(protocols_of(folder))}")
    result = read_result(files.result)
    return SavedTest(folder, protocol, result, read_episodes(files.episodes, result))


def answers_of(test: SavedTest, model: str | None = None) -> SavedAnswers:
    """The answers of one model; None for the tested model, not a baseline.

    Raises:
        ValueError: if the model was not tested.
    """
    model = model or test.result.model
    if model not in test.result.models:
        path = ResultFiles(test.folder, test.protocol).result
        raise ValueError(f"{path} has no model {model!r}; it has {', '.join(test.result.models)}")
    return SavedAnswers(f"{test.folder.resolve().name}:{model}", test, model)


def check_same_episodes(reference: SavedAnswers, other: SavedAnswers) -> None:
    """Check that two tests have the same episodes, so that they can be compared query by query.

    Raises:
        ValueError: with the first difference, and the commands that make the tests equal.
    """
    difference = _first_difference(reference, other)
    if difference:
        raise ValueError(
            f"{other.label} was tested on other episodes than {reference.label} and cannot be paired with it: "
            f"{difference}.\n{_remedy(reference, other)}"
        )


def _first_difference(reference: SavedAnswers, other: SavedAnswers) -> str | None:
    """The first difference of two tests in words; None if they have the same episodes."""
    sizes, other_sizes = _sizes(reference.test), _sizes(other.test)
    for what, size in sizes.items():
        if other_sizes[what] != size:
            return f"{what}: {other_sizes[what]:,} instead of {size:,}"
    n = sizes["episodes"]
    kinds = ("class", "support video", "query video", "label")
    for what, names, other_names in zip(kinds, _names(reference.test), _names(other.test), strict=True):
        differs = (names != other_names).reshape(n, -1)
        if differs.any():
            episode, place = np.argwhere(differs)[0]
            expected, value = (str(values.reshape(n, -1)[episode, place]) for values in (names, other_names))
            return f"{what} {place} of episode {episode} is {value!r} instead of {expected!r}"
    return None


def _sizes(test: SavedTest) -> dict[str, int]:
    (n, n_way, n_shot), n_queries = test.episodes.support.shape, test.episodes.query.shape[1]
    return {"way": n_way, "shot": n_shot, "queries in an episode": n_queries, "episodes": n}


def _names(test: SavedTest) -> tuple[np.ndarray, ...]:
    """Classes, support videos, query videos and labels of all episodes, by name."""
    episodes, classes = test.episodes, np.array(test.result.classes)
    videos = episodes.video_ids
    return classes[episodes.class_ids], videos[episodes.support], videos[episodes.query], episodes.labels


def _remedy(reference: SavedAnswers, other: SavedAnswers) -> str:
    """The commands that test both runs with the protocol of the reference."""
    protocol = reference.test.result.protocol
    names = ("split", "n_way", "n_shot", "n_query", "n_episodes", "seed")
    words = [f"evaluation.{name}={getattr(protocol, name)}" for name in names]
    words += [f"episode.group_disjoint={str(protocol.group_disjoint).lower()}"]
    baselines = [answers.test.result.settings["evaluation"]["baselines"] for answers in (reference, other)]
    words += [f"'evaluation.baselines=[{', '.join(dict.fromkeys(itertools.chain(*baselines)))}]'"]
    lines = [
        "Test both again on the same data (data.root, classes and splits), with the same evaluation.seed, n_episodes,",
        "way, shot and queries and, if some videos lack a source, with the same baselines:",
    ]
    for folder in (reference.test.folder, other.test.folder):
        is_run = (folder / "config.yaml").is_file()
        lines.append(f"  mdmf test {f'--run {folder}' if is_run else '--cfg <its config>'} {' '.join(words)}")
    return "\n".join(lines)
