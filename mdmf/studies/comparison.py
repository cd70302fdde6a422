"""Comparison of runs, or models of one run, with a reference on the same test episodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from mdmf.files import json_sha256, write_atomic, write_json
from mdmf.report.table import Cell, Row, Table, number, row_label
from mdmf.studies.answers import SavedAnswers, answers_of, check_same_episodes, protocols_of, read_saved_test
from mdmf.studies.video_bootstrap import Estimate, estimate

N_REPLICATES = 2000


@dataclass(frozen=True)
class ModelOfRun:
    """A run folder and the name of a model in its tests; None for the model of the run."""

    folder: Path
    model: str | None = None

    @classmethod
    def parse(cls, text: str, *, model: str | None = None) -> ModelOfRun:
        """Parse `RUN` or `RUN:MODEL`; an existing folder whose name has a colon is a `RUN`.

        Args:
            text: the words of the command line.
            model: name of the model for `RUN`.

        Raises:
            FileNotFoundError: if there is no such folder.
        """
        folder, colon, name = text.rpartition(":")
        if Path(text).is_dir():
            return cls(Path(text), model)
        if not colon or not name or not Path(folder).is_dir():
            raise FileNotFoundError(f"{text!r} is not a run folder; expected RUN, or RUN:MODEL such as runs/demo:otam")
        return cls(Path(folder), name)


def read_all(runs: Sequence[ModelOfRun], protocols: Sequence[str] = ()) -> list[SavedAnswers]:
    """The answers of all compared models, the reference first, with different labels.

    Args:
        runs: the reference first.
        protocols: name of the test, one for all or one for each; default: the only test that all folders have.

    Raises:
        ValueError: for fewer than two models, a repeated model, an ambiguous test, or different episodes.
        FileNotFoundError: for a missing test.
    """
    if len(runs) < 2:
        raise ValueError("a comparison needs at least two models: RUN_A RUN_B, or RUN:m2df RUN:otam of one run")
    if len(protocols) not in (0, 1, len(runs)):
        raise ValueError(
            f"--protocol needs one name for all, or one for each of the {len(runs)} runs, got {len(protocols)}"
        )
    tests = list(protocols) or _common_protocol([run.folder for run in runs])
    tests = tests * len(runs) if len(tests) == 1 else tests
    read = cache(read_saved_test)  # two models of one test share its files
    answers = [answers_of(read(run.folder, test), run.model) for run, test in zip(runs, tests, strict=True)]
    keys = [(each.test.folder.resolve(), each.test.protocol, each.model) for each in answers]
    repeated = [each.label for each, key in zip(answers, keys, strict=True) if keys.count(key) > 1]
    if repeated:
        raise ValueError(f"{repeated[0]} is given twice; name another run, or another model of it as RUN:MODEL")
    for other in answers[1:]:
        check_same_episodes(answers[0], other)
    return _with_unique_labels(answers)


def _common_protocol(folders: Sequence[Path]) -> list[str]:
    """The only test that all folders have or, if there is none, the only test of each folder."""
    names_of = [protocols_of(folder) for folder in folders]
    common = [name for name in names_of[0] if all(name in names for names in names_of)]
    if len(common) == 1:
        return common
    if not common and all(len(names) == 1 for names in names_of):
        return [names[0] for names in names_of]
    lines = [f"  {folder}: {', '.join(names)}" for folder, names in dict(zip(folders, names_of, strict=True)).items()]
    raise ValueError(
        "\n".join(["the folders have several tests; name one with --protocol, one for all or one for each:", *lines])
    )


def _with_unique_labels(answers: Sequence[SavedAnswers]) -> list[SavedAnswers]:
    """Label by run and model or, where labels would be equal, by the path of the run, or by path and test."""
    short = [each.label for each in answers]
    paths = [f"{each.test.folder}:{each.model}" for each in answers]
    tests = [f"{path} ({each.test.protocol})" for path, each in zip(paths, answers, strict=True)]
    labels = next((labels for labels in (short, paths, tests) if len(set(labels)) == len(labels)), short)
    return [replace(each, label=label) for each, label in zip(answers, labels, strict=True)]


def compare(answers: Sequence[SavedAnswers], *, n_replicates: int = N_REPLICATES, seed: int = 0) -> dict[str, Any]:
    """Compare each of the answers with the first, on the same episodes (checked by `read_all`).

    Differences are in percent points, other minus reference. `interval` is half the width of the 95 % interval paired
    over episodes; `videos_low` and `videos_high` are the ends of the 95 % interval over test videos, None where it is
    unknown (see `mdmf/studies/video_bootstrap.py`).
    """
    reference, episodes = answers[0], answers[0].test.episodes
    query_classes = episodes.query_classes
    class_ids = np.unique(query_classes)
    masks = np.concatenate([np.ones((1, *query_classes.shape), bool), query_classes == class_ids[:, None, None]])
    names = [reference.test.result.classes[class_id] for class_id in class_ids]
    rows = []
    for other in answers[1:]:
        values = 100.0 * (other.is_correct.astype(float) - reference.is_correct)
        estimates = estimate(values, masks, episodes, n_replicates=n_replicates, seed=seed)
        overall, *by_class = [
            _difference(difference, other.is_correct[mask], reference.is_correct[mask])
            for difference, mask in zip(estimates, masks, strict=True)
        ]
        rows.append(
            {
                **_identity(other),
                **overall,
                **_wins(other.is_correct, reference.is_correct),
                "classes": dict(zip(names, by_class, strict=True)),
            }
        )
    return {
        "data": reference.test.result.data,
        "protocol": reference.test.result.protocol.as_json(),
        "n_episodes": len(reference.is_correct),
        "n_videos": int((episodes.classes_of_videos() >= 0).sum()),
        "n_classes": len(class_ids),
        "n_replicates": n_replicates,
        "seed": seed,
        "reference": {**_identity(reference), "accuracy_percent": 100.0 * float(reference.is_correct.mean())},
        "others": rows,
    }


def _identity(answers: SavedAnswers) -> dict[str, Any]:
    result = answers.test.result
    return {
        "label": answers.label,
        "folder": str(answers.test.folder),
        "model": answers.model,
        "our_reading": result.is_our_reading(answers.model),
        "test": answers.test.protocol,
        "checkpoint_sha256": result.checkpoint_sha256,
    }


def _difference(difference: Estimate, correct: np.ndarray, reference: np.ndarray) -> dict[str, Any]:
    """Numbers of some queries; `correct` and `reference` are whether each is answered correctly."""
    return {
        "accuracy_percent": 100.0 * float(correct.mean()),
        "reference_percent": 100.0 * float(reference.mean()),
        "difference": difference.mean,
        "interval": difference.episode_interval,
        "videos_low": difference.low,
        "videos_high": difference.high,
        "n_queries": int(correct.size),
    }


def _wins(correct: np.ndarray, reference: np.ndarray) -> dict[str, dict[str, int]]:
    """Numbers of episodes and of queries on which a model is better than the reference, equal, or worse."""
    margin = correct.sum(axis=1) - reference.sum(axis=1)
    return {
        "episodes": {"win": int((margin > 0).sum()), "tie": int((margin == 0).sum()), "loss": int((margin < 0).sum())},
        "queries": {
            "win": int((correct & ~reference).sum()),
            "both_right": int((correct & reference).sum()),
            "both_wrong": int((~correct & ~reference).sum()),
            "loss": int((~correct & reference).sum()),
        },
    }


def comparison_tables(result: Mapping[str, Any]) -> list[Table]:
    """A table with a row per run, and one per run with a row per class."""
    reference, protocol = result["reference"], result["protocol"]
    rows: list[Row] = [[_label(reference), number(reference["accuracy_percent"]), *[""] * 4]]
    for row in result["others"]:
        episodes, queries = row["episodes"], row["queries"]
        of_episodes = f"{episodes['win']} / {episodes['tie']} / {episodes['loss']}"
        of_queries = f"{queries['win']} / {queries['both_right'] + queries['both_wrong']} / {queries['loss']}"
        rows.append([_label(row), number(row["accuracy_percent"]), *_differences(row), of_episodes, of_queries])
    caption = (
        f"{result['data']}, {protocol['split']} classes: {protocol['n_way']}-way {protocol['n_shot']}-shot, the same "
        f"{result['n_episodes']:,} episodes of {result['n_videos']} videos of {result['n_classes']} classes\n"
        f"against {reference['label']}, in percent points"
    )
    differences = ["difference ± over episodes", "over videos"]
    header = ["run", "accuracy %", *differences, "episodes w / t / l", "queries w / t / l"]
    tables = [Table("comparison", caption, header, rows)]
    for row in result["others"]:
        of_classes = [
            [name, number(numbers["reference_percent"]), number(numbers["accuracy_percent"]), *_differences(numbers)]
            for name, numbers in row["classes"].items()
        ]
        notes = _notes(result) if row is result["others"][-1] else ()
        header = ["class", "reference %", f"{row['label']} %", *differences]
        tables.append(Table(f"classes_{row['label']}", "", header, of_classes, notes=notes))
    return tables


def _notes(result: Mapping[str, Any]) -> list[str]:
    few = any(row["videos_low"] is None for row in result["others"])
    return [
        "± over episodes: 95 %, paired: other episodes of these same videos",
        f"over videos: 95 %, {result['n_replicates']:,} bootstrap replicates: other videos of these classes; the one "
        "to go by. Videos count as independent: clips cut from one recording make it too narrow",
        *(["no interval over videos: it needs at least shots + 2 videos of every class"] if few else []),
    ]


def _label(row: Mapping[str, Any]) -> str:
    return row_label(row["label"], our_reading=row["our_reading"])


def _differences(numbers: Mapping[str, Any]) -> list[Cell]:
    """The difference with its interval over episodes, and its interval over videos."""
    low, high = numbers["videos_low"], numbers["videos_high"]
    over_videos = "" if low is None else f"[{low:+.2f}, {high:+.2f}]"
    return [number(numbers["difference"], "+.2f", interval=numbers["interval"]), Cell(over_videos)]


def comparison_list(result: Mapping[str, Any]) -> Table:
    """A row per run and class; the row without a class is over all queries."""
    keys = ["accuracy_percent", "reference_percent", "difference", "interval"]
    keys += ["videos_low", "videos_high", "n_queries"]
    reference = result["reference"]["label"]
    rows: list[Row] = [
        [row["label"], reference, name, *(number(numbers[key], "") for key in keys)]
        for row in result["others"]
        for name, numbers in {"": row, **row["classes"]}.items()
    ]
    return Table("comparison", "", ["run", "reference", "class", *keys], rows)


def write_comparison(
    result: Mapping[str, Any], *, out: Path, json_file: Path | None = None, csv_file: Path | None = None
) -> list[Path]:
    """Write the result as JSON and CSV; default names in `out` tell the test and a hash of the compared models.

    Returns:
        The two paths.
    """
    models = [[row["folder"], row["model"], row["test"]] for row in [result["reference"], *result["others"]]]
    key = json_sha256(models)[:6]
    name = f"compare_{result['reference']['test']}_{key}"
    files = [json_file or out / f"{name}.json", csv_file or out / f"{name}.csv"]
    write_json(files[0], result)
    write_atomic(files[1], comparison_list(result).csv().encode())
    return files
