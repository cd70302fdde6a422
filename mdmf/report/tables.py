"""Result tables as text. They read what a test wrote, and compute nothing of their own."""

from collections.abc import Mapping, Sequence
from typing import Any

OUR_READING = ("amfir",)  # methods whose equations are not public (METHODS 4)


def model_label(model: str, name: str | None = None) -> str:
    """A row's name: of the model, or of a config or run of it; what is our reading of a method says so."""
    return (name or model) + (" (our reading)" if model in OUR_READING else "")


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
        rows.append([model_label(name), accuracy_cell(numbers), *cells])
    title = (
        f"{result['data']}, {protocol['split']} classes: {protocol['n_way']}-way {protocol['n_shot']}-shot, "
        f"{protocol['n_episodes']:,} episodes of {protocol['n_query']} query per class, seed {protocol['seed']}"
    )
    if protocol["group_disjoint"]:
        title += ", support and query from different recordings"
    table = text_table(["model", "accuracy % (95 %)", *(f"{name} alone" for name in branch_names)], rows)
    if protocol["other_data"]:
        title += ", with other settings than an earlier test or than the run"
    if protocol["other_model"]:
        title += f", model changed after training ({protocol['other_model']})"
    notes = [*result["notes"]]
    notes += [f"{100 * share:.1f} % of the queries have no {source}" for source, share in result["missing"].items()]
    if result["text_weight"]:
        notes.append(f"weight of the text at test: {result['text_weight']}")
    diagnostics = diagnostics_table(result)
    parts = [title, "", table, "", *([diagnostics, ""] if diagnostics else []), *(f"({note})" for note in notes)]
    return "\n".join(parts)


def diagnostics_table(result: Mapping[str, Any]) -> str:
    """What two branches say of each other, a row per model that has two; empty where none has.

    `decidable`: queries on which exactly one branch is right; of these `trusted is right`: how often it is the more
    trusted one (that with the larger share in the answer; where shares are fixed, the surer one), and `teacher is
    right`: how often it is the one that would teach. `weight-gain r`: correlation of the first branch's share with its
    gain. `ECE`: expected calibration error of the fused answer and of each branch, in percent.
    """
    rows = []
    for name, numbers in result["models"].items():
        report = numbers.get("reliability")
        if report is None:
            continue
        errors, taught = numbers["calibration_error"], numbers.get("taught_share", {})
        correlation = numbers["gain_correlation"]
        rows.append(
            [
                model_label(name),
                str(report["n_decidable"]),
                _interval_cell(report["by_trust_percent"], report["by_trust_interval"]),
                _interval_cell(report["teacher_percent"], report["teacher_interval"]),
                "" if correlation is None else f"{correlation:.3f}",
                " / ".join(f"{100 * error:.1f}" for error in errors.values()),
                ", ".join(f"{branch} {100 * share:.1f}" for branch, share in taught.items() if share),
            ]
        )
    header = ["branches of", "decidable", "trusted is right %", "teacher is right %", "weight-gain r"]
    header += ["ECE % fused / each", "taught by %"]
    return text_table(header, rows) if rows else ""


def _interval_cell(percent: float | None, interval: float | None) -> str:
    return "" if percent is None else f"{percent:.1f} ± {interval:.1f}"


def ablation_table(result: Mapping[str, Any]) -> str:
    """The table of an ablation: mean ± standard deviation over seeds in percent, and the difference to row 1."""

    def cell(row: Mapping[str, Any], key: str) -> str:
        return _mean_cell(row["mean"][key], row["spread"][key]) if key in row["mean"] else ""

    rows = result["configs"]
    columns = list(dict.fromkeys(key for row in rows.values() for key in row["mean"]))
    first = next(iter(rows))
    lines = [
        [
            model_label(row["model"], name),
            *(cell(row, key) for key in columns[:1]),
            "" if name == first else _difference_cell(row["difference"]),
            *(cell(row, key) for key in columns[1:]),
        ]
        for name, row in rows.items()
    ]
    seeds = ", ".join(str(seed) for seed in result["seeds"])
    header = ["config", columns[0], f"against {first}", *columns[1:]]
    notes = (
        f"(percent; mean ± standard deviation over seeds {seeds}; in brackets the 95 % interval of the difference over"
    )
    return text_table(header, lines) + f"\n\n{notes} the same episodes, averaged over the seeds)"


def _difference_cell(difference: Mapping[str, Any]) -> str:
    return f"{_mean_cell(difference['mean'], difference['spread'], sign='+')} [±{difference['interval']:.2f}]"


def robustness_table(result: Mapping[str, Any]) -> str:
    """Accuracy against the strength of a corruption, a row per config: mean ± standard deviation over its runs."""
    strengths = [str(strength) for strength in result["strengths"]]
    lines = [
        [
            model_label(row["model"], name),
            *(_mean_cell(row["strengths"][s]["mean"], row["strengths"][s]["spread"]) for s in strengths),
        ]
        for name, row in result["rows"].items()
    ]
    title = f"accuracy in percent against the strength of {result['kind']} of {result['source']}"
    return f"{title}\n\n" + text_table(["run", *strengths], lines)


def _mean_cell(mean: float, spread: float | None, *, sign: str = "") -> str:
    return f"{mean:{sign}.2f}" + ("" if spread is None else f" ± {spread:.2f}")
