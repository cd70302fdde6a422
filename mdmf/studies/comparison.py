"""Runs, or models of one run, set beside a reference on the same test episodes."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mdmf.files import write_atomic
from mdmf.report.answers import Answers, check_same_episodes, protocols_of, read_answers
from mdmf.report.tables import model_label, text_table
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


def read_all(named: Sequence[Named], protocols: Sequence[str] = ()) -> list[Answers]:
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
    answers = [read_answers(each.folder, protocol, each.model) for each, protocol in zip(named, chosen, strict=True)]
    keys = [(one.folder.resolve(), one.protocol, one.model) for one in answers]
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


def _told_apart(answers: Sequence[Answers]) -> list[Answers]:
    """Labels as short as they can be: run and model; with its whole path, or its test, where that is not enough."""
    labels = [one.label for one in answers]
    longer = [f"{one.folder}:{one.model}" for one in answers]
    longest = [f"{label} ({one.protocol})" for label, one in zip(longer, answers, strict=True)]
    for candidates in (labels, longer, longest):
        if len(set(candidates)) == len(candidates):
            labels = candidates
            break
    return [replace(one, label=label) for one, label in zip(answers, labels, strict=True)]


def compare(answers: Sequence[Answers], *, n_replicates: int = N_REPLICATES, seed: int = 0) -> dict[str, Any]:
    """Set each of the answers beside the first, on the same episodes (`read_all` has seen to that).

    Differences are in percent points, other minus reference. `interval` is half the width of the 95 % interval paired
    over episodes; `videos_low` and `videos_high` are the ends of that over test videos, None where it is not known
    (`mdmf/studies/video_bootstrap.py` says what is drawn again).
    """
    reference = answers[0]
    of_queries = reference.asked.query_classes
    asked_classes = np.unique(of_queries)
    masks = np.concatenate([np.ones((1, *of_queries.shape), bool), of_queries == asked_classes[:, None, None]])
    names = [reference.classes[number] for number in asked_classes]
    rows = []
    for other in answers[1:]:
        values = 100.0 * (other.right.astype(float) - reference.right)
        estimates = estimate(values, masks, reference.asked, n_replicates=n_replicates, seed=seed)
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
        "data": reference.result["data"],
        "protocol": reference.result["protocol"],
        "n_episodes": len(reference.right),
        "n_videos": int((reference.asked.classes_of_videos() >= 0).sum()),
        "n_classes": len(asked_classes),
        "n_replicates": n_replicates,
        "seed": seed,
        "reference": {**_who(reference), "accuracy_percent": 100.0 * float(reference.right.mean())},
        "others": rows,
    }


def _who(answers: Answers) -> dict[str, Any]:
    return {
        "label": answers.label,
        "folder": str(answers.folder),
        "model": answers.model,
        "test": answers.protocol,
        "checkpoint_sha256": answers.result["checkpoint_sha256"],
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


def comparison_table(result: Mapping[str, Any]) -> str:
    """Tables of a comparison: a row per run, then one per class of each run."""
    reference, protocol = result["reference"], result["protocol"]
    rows = [[_label(reference), f"{reference['accuracy_percent']:.2f}", "", "", "", ""]]
    for row in result["others"]:
        episodes, queries = row["episodes"], row["queries"]
        rows.append(
            [
                _label(row),
                f"{row['accuracy_percent']:.2f}",
                _paired_cell(row),
                _videos_cell(row),
                f"{episodes['win']} / {episodes['tie']} / {episodes['loss']}",
                f"{queries['win']} / {queries['both_right'] + queries['both_wrong']} / {queries['loss']}",
            ]
        )
    header = [
        "run",
        "accuracy %",
        "difference ± over episodes",
        "over videos",
        "episodes w / t / l",
        "queries w / t / l",
    ]
    title = (
        f"{result['data']}, {protocol['split']} classes: {protocol['n_way']}-way {protocol['n_shot']}-shot, the same "
        f"{result['n_episodes']:,} episodes of {result['n_videos']} videos of {result['n_classes']} classes\n"
        f"against {reference['label']}, in percent points"
    )
    parts = [title, "", text_table(header, rows)]
    for row in result["others"]:
        lines = [
            [
                name,
                f"{of['reference_percent']:.2f}",
                f"{of['accuracy_percent']:.2f}",
                _paired_cell(of),
                _videos_cell(of),
            ]
            for name, of in row["classes"].items()
        ]
        header = ["class", "reference %", f"{row['label']} %", "difference ± over episodes", "over videos"]
        parts += ["", text_table(header, lines)]
    return "\n".join([*parts, "", *_notes(result)])


def _notes(result: Mapping[str, Any]) -> list[str]:
    few = any(row["videos_low"] is None for row in result["others"])
    return [
        "(± over episodes: 95 %, paired: other episodes of these same videos)",
        f"(over videos: 95 %, {result['n_replicates']:,} bootstrap replicates: other videos of these classes; the one "
        "to go by. Videos count as independent: clips cut from one recording make it too narrow)",
        *(["(no interval over videos: it needs at least shots + 2 videos of every class)"] if few else []),
    ]


def _label(row: Mapping[str, Any]) -> str:
    return model_label(row["model"], row["label"])


def _paired_cell(row: Mapping[str, Any]) -> str:
    return f"{row['difference']:+.2f}" + ("" if row["interval"] is None else f" ± {row['interval']:.2f}")


def _videos_cell(row: Mapping[str, Any]) -> str:
    return "" if row["videos_low"] is None else f"[{row['videos_low']:+.2f}, {row['videos_high']:+.2f}]"


def comparison_csv(result: Mapping[str, Any]) -> str:
    """A line per run and class, and one per run with no class: all queries."""
    numbers = [
        "accuracy_percent",
        "reference_percent",
        "difference",
        "interval",
        "videos_low",
        "videos_high",
        "n_queries",
    ]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["run", "reference", "class", *numbers])
    for row in result["others"]:
        for name, of in {"": row, **row["classes"]}.items():
            writer.writerow([row["label"], result["reference"]["label"], name, *(of[number] for number in numbers)])
    return text.getvalue()


def write_comparison(
    result: Mapping[str, Any], *, out: Path, json_file: Path | None = None, csv_file: Path | None = None
) -> list[Path]:
    """Write the result as JSON and CSV, by default into `out`, named by the test and by what is compared.

    Returns:
        The two paths.
    """
    compared = [[row["folder"], row["model"], row["test"]] for row in [result["reference"], *result["others"]]]
    key = hashlib.sha256(json.dumps(compared).encode()).hexdigest()[:6]
    name = f"compare_{result['reference']['test']}_{key}"
    files = [json_file or out / f"{name}.json", csv_file or out / f"{name}.csv"]
    write_atomic(files[0], (json.dumps(result, indent=2, allow_nan=False) + "\n").encode())
    write_atomic(files[1], comparison_csv(result).encode())
    return files
