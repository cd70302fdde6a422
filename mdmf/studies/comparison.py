"""Runs, or models of one run, set beside a reference on the same test episodes."""

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
class Named:
    """What is to be compared: a run folder, and the name of a model in its tests; None is the run's own."""

    folder: Path
    model: str | None = None

    @classmethod
    def parse(cls, text: str, *, model: str | None = None) -> Named:
        """Read `RUN` or `RUN:MODEL`; a folder whose own name holds a colon is meant before a model is.

        Args:
            model: for what names none.

        Raises:
            FileNotFoundError: if there is no such folder.
        """
        folder, colon, name = text.rpartition(":")
        if Path(text).is_dir():
            return cls(Path(text), model)
        if not colon or not name or not Path(folder).is_dir():
            raise FileNotFoundError(f"{text!r} is no run folder; expected RUN, or RUN:MODEL such as runs/demo:otam")
        return cls(Path(folder), name)


def read_all(named: Sequence[Named], protocols: Sequence[str] = ()) -> list[SavedAnswers]:
    """The answers of all that is compared, the reference first; each is told from the others by its label.

    Args:
        protocols: name of the test, one for all or one for each; none: the only one that all folders hold.

    Raises:
        ValueError: if less than two are given, one is given twice, the test is not clear, or episodes differ.
        FileNotFoundError: if a test is not there.
    """
    if len(named) < 2:
        raise ValueError("a comparison needs two: RUN_A RUN_B, or two models of one run, RUN:m2df RUN:otam")
    if len(protocols) not in (0, 1, len(named)):
        raise ValueError(
            f"--protocol is given once for all, or once for each of the {len(named)}, got {len(protocols)}"
        )
    chosen = list(protocols) or _common_protocol([each.folder for each in named])
    chosen = chosen * len(named) if len(chosen) == 1 else chosen
    read = cache(read_saved_test)  # two models of one test share its files
    answers = [answers_of(read(each.folder, test), each.model) for each, test in zip(named, chosen, strict=True)]
    keys = [(one.test.folder.resolve(), one.test.protocol, one.model) for one in answers]
    twice = [one.label for one, key in zip(answers, keys, strict=True) if keys.count(key) > 1]
    if twice:
        raise ValueError(f"{twice[0]} is given twice; name another run, or another model of it as RUN:MODEL")
    for other in answers[1:]:
        check_same_episodes(answers[0], other)
    return _told_apart(answers)


def _common_protocol(folders: Sequence[Path]) -> list[str]:
    """The only test that all folders hold, or, if none is common, the only one of each."""
    held = [protocols_of(folder) for folder in folders]
    common = [name for name in held[0] if all(name in names for names in held)]
    if len(common) == 1:
        return common
    if not common and all(len(names) == 1 for names in held):
        return [names[0] for names in held]
    lines = [f"  {folder}: {', '.join(names)}" for folder, names in dict(zip(folders, held, strict=True)).items()]
    raise ValueError("\n".join(["which test is meant? Name it with --protocol, one for all or one for each:", *lines]))


def _told_apart(answers: Sequence[SavedAnswers]) -> list[SavedAnswers]:
    """Labels as short as they can be: run and model; with its whole path, or its test, where that is not enough."""
    labels = [one.label for one in answers]
    longer = [f"{one.test.folder}:{one.model}" for one in answers]
    longest = [f"{label} ({one.test.protocol})" for label, one in zip(longer, answers, strict=True)]
    for candidates in (labels, longer, longest):
        if len(set(candidates)) == len(candidates):
            labels = candidates
            break
    return [replace(one, label=label) for one, label in zip(answers, labels, strict=True)]


def compare(answers: Sequence[SavedAnswers], *, n_replicates: int = N_REPLICATES, seed: int = 0) -> dict[str, Any]:
    """Set each of the answers beside the first, on the same episodes (`read_all` has seen to that).

    Differences are in percent points, other minus reference. `interval` is half the width of the 95 % interval paired
    over episodes; `videos_low` and `videos_high` are the ends of that over test videos, None where it is not known
    (`mdmf/studies/video_bootstrap.py` says what is drawn again).
    """
    reference, episodes = answers[0], answers[0].test.episodes
    query_classes = episodes.query_classes
    asked_classes = np.unique(query_classes)
    masks = np.concatenate([np.ones((1, *query_classes.shape), bool), query_classes == asked_classes[:, None, None]])
    names = [reference.test.result.classes[place] for place in asked_classes]
    rows = []
    for other in answers[1:]:
        values = 100.0 * (other.right.astype(float) - reference.right)
        estimates = estimate(values, masks, episodes, n_replicates=n_replicates, seed=seed)
        overall, *by_class = [
            _difference(one, other.right[mask], reference.right[mask])
            for one, mask in zip(estimates, masks, strict=True)
        ]
        rows.append(
            {
                **_who(other),
                **overall,
                **_wins(other.right, reference.right),
                "classes": dict(zip(names, by_class, strict=True)),
            }
        )
    return {
        "data": reference.test.result.data,
        "protocol": reference.test.result.protocol.as_json(),
        "n_episodes": len(reference.right),
        "n_videos": int((episodes.classes_of_videos() >= 0).sum()),
        "n_classes": len(asked_classes),
        "n_replicates": n_replicates,
        "seed": seed,
        "reference": {**_who(reference), "accuracy_percent": 100.0 * float(reference.right.mean())},
        "others": rows,
    }


def _who(answers: SavedAnswers) -> dict[str, Any]:
    result = answers.test.result
    return {
        "label": answers.label,
        "folder": str(answers.test.folder),
        "model": answers.model,
        "our_reading": result.is_our_reading(answers.model),
        "test": answers.test.protocol,
        "checkpoint_sha256": result.checkpoint_sha256,
    }


def _difference(of: Estimate, right: np.ndarray, reference_right: np.ndarray) -> dict[str, Any]:
    return {
        "accuracy_percent": 100.0 * float(right.mean()),
        "reference_percent": 100.0 * float(reference_right.mean()),
        "difference": of.mean,
        "interval": None if of.episode_interval != of.episode_interval else of.episode_interval,
        "videos_low": of.low,
        "videos_high": of.high,
        "n_queries": int(right.size),
    }


def _wins(right: np.ndarray, reference_right: np.ndarray) -> dict[str, dict[str, int]]:
    """How often it is better than the reference, as good, or worse: in an episode, and for a query."""
    margin = right.sum(axis=1) - reference_right.sum(axis=1)
    return {
        "episodes": {"win": int((margin > 0).sum()), "tie": int((margin == 0).sum()), "loss": int((margin < 0).sum())},
        "queries": {
            "win": int((right & ~reference_right).sum()),
            "both_right": int((right & reference_right).sum()),
            "both_wrong": int((~right & ~reference_right).sum()),
            "loss": int((~right & reference_right).sum()),
        },
    }


def comparison_tables(result: Mapping[str, Any]) -> list[Table]:
    """A row per run, then, run by run, a row per class."""
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
    """The difference with its interval over episodes, and its ends over videos."""
    low, high = numbers["videos_low"], numbers["videos_high"]
    over_videos = "" if low is None else f"[{low:+.2f}, {high:+.2f}]"
    return [number(numbers["difference"], "+.2f", interval=numbers["interval"]), Cell(over_videos)]


def comparison_list(result: Mapping[str, Any]) -> Table:
    """A row per run and class, and one per run without a class: all queries."""
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
    """Write the result as JSON and CSV, by default into `out`, named by the test and by what is compared.

    Returns:
        The two paths.
    """
    compared = [[row["folder"], row["model"], row["test"]] for row in [result["reference"], *result["others"]]]
    key = json_sha256(compared)[:6]
    name = f"compare_{result['reference']['test']}_{key}"
    files = [json_file or out / f"{name}.json", csv_file or out / f"{name}.csv"]
    write_json(files[0], result)
    write_atomic(files[1], comparison_list(result).csv().encode())
    return files
