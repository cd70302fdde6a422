"""Result tables as text. They read what a test wrote, and compute nothing of their own."""

from collections.abc import Mapping, Sequence
from typing import Any


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, its columns padded so that it reads well in a terminal too; the first is left-aligned."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        first, *others = [
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return "| " + " | ".join([first, *others]) + " |"

    rule = "|" + "|".join("-" * (width + 1) + (":" if column else "-") for column, width in enumerate(widths)) + "|"
    return "\n".join([line(header), rule, *map(line, rows)])


def accuracy_cell(numbers: Mapping[str, float]) -> str:
    """`79.12 ± 0.35`, in percent with the 95 % interval."""
    return f"{numbers['accuracy_percent']:.2f} ± {numbers['interval']:.2f}"


def result_table(result: Mapping[str, Any]) -> str:
    """The table of one test: a row per model, with its branches where it has any, and what must be known about it."""
    protocol = result["protocol"]
    branch_names = list(dict.fromkeys(name for numbers in result["models"].values() for name in numbers["branches"]))
    rows = []
    for name, numbers in result["models"].items():
        branches = numbers["branches"]
        cells = [accuracy_cell(branches[branch]) if branch in branches else "" for branch in branch_names]
        rows.append([name, accuracy_cell(numbers), *cells])
    title = (
        f"{result['data']}, {protocol['split']} classes: {protocol['n_way']}-way {protocol['n_shot']}-shot, "
        f"{protocol['n_episodes']:,} episodes of {protocol['n_query']} query per class, seed {protocol['seed']}"
    )
    if protocol["group_disjoint"]:
        title += ", support and query from different recordings"
    table = text_table(["model", "accuracy % (95 %)", *(f"{name} alone" for name in branch_names)], rows)
    notes = [*result["notes"]]
    if result["text_weight"]:
        notes.append(f"weight of the text at test: {result['text_weight']}")
    return "\n".join([title, "", table, "", *(f"({note})" for note in notes)])


def ablation_table(result: Mapping[str, Any]) -> str:
    """The table of an ablation: mean ± standard deviation over seeds in percent, and the difference to row 1."""

    def cell(row: Mapping[str, Any], key: str) -> str:
        return _mean_cell(row["mean"][key], row["spread"][key]) if key in row["mean"] else ""

    rows = result["configs"]
    columns = list(dict.fromkeys(key for row in rows.values() for key in row["mean"]))
    first = next(iter(rows))
    lines = [
        [
            name,
            *(cell(row, key) for key in columns[:1]),
            "" if name == first else _mean_cell(row["difference"]["mean"], row["difference"]["spread"], sign="+"),
            *(cell(row, key) for key in columns[1:]),
        ]
        for name, row in rows.items()
    ]
    seeds = ", ".join(str(seed) for seed in result["seeds"])
    header = ["config", columns[0], f"against {first}", *columns[1:]]
    return text_table(header, lines) + f"\n\n(percent; mean ± standard deviation over seeds {seeds})"


def _mean_cell(mean: float, spread: float | None, *, sign: str = "") -> str:
    return f"{mean:{sign}.2f}" + ("" if spread is None else f" ± {spread:.2f}")
