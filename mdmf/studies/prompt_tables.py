"""Prompts as text: the sentences of each class, their scores, and the differences of two files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mdmf.encoders.prompt_diff import PromptDifference
from mdmf.report.table import Cell, Table, number
from mdmf.studies.prompt_scores import PromptScores


def sentences_text(sentences: Mapping[str, Sequence[str]], classes: Mapping[str, Sequence[str]]) -> str:
    """Every sentence, class by class and split by split.

    Args:
        sentences: class -> its sentences.
        classes: split -> its classes.
    """
    parts = []
    for split, names in classes.items():
        if names:
            parts.append(f"{split} ({len(names)} classes)")
            parts += ["\n    ".join([f"  {name}", *sentences[name]]) for name in names]
    return "\n".join(parts)


def score_tables(scores: PromptScores) -> list[Table]:
    """The accuracies of all prompts together and of each template, and the most frequent confusions."""
    rows = []
    for score in scores.scores:
        difference = number(score.difference, "+.2f", interval=score.difference_interval)
        rows.append([Cell(score.name), number(score.percent, interval=score.interval), difference])
    caption = (
        f"{scores.file}: zero-shot on {scores.split}, {scores.n_videos:,} videos, each out of all {scores.n_classes} "
        f"classes (chance {100 / scores.n_classes:.1f} %)"
    )
    header = ["prompts", "accuracy % (95 %)", "against all together"]
    tables = [Table("prompts", caption, header, rows, notes=["intervals are over videos", *scores.notes])]
    if scores.confusions:
        pairs = [
            (pair.true_class, pair.predicted, f"{pair.n_videos} of {pair.n_of_class}") for pair in scores.confusions
        ]
        caption = "most confused, all prompts together:"
        tables.append(Table("confusions", caption, ["class", "taken for", "videos"], pairs))
    return tables


def scores_text(scores: PromptScores) -> str:
    """The tables, and the classes that have the same sentences."""
    parts = [table.text() for table in score_tables(scores)]
    if scores.same_sentences:
        groups = "\n".join(f"  {' = '.join(group)}" for group in scores.same_sentences)
        parts.append(
            f"classes with the same sentences, which no prompt tells apart (a group of n counts 1/n):\n{groups}"
        )
    return "\n\n".join(parts)


def difference_text(difference: PromptDifference, before: str, after: str) -> str:
    """The removed (-) and added (+) templates and sentences.

    Args:
        difference: difference of two files.
        before, after: names of the files.
    """
    lines = [f"- {before}", f"+ {after}"]
    if difference.is_empty:
        return "\n".join([*lines, "", f"no difference ({difference.n_same} classes)"])
    if difference.templates_removed or difference.templates_added:
        lines += ["", "templates", *_signed(difference.templates_removed, difference.templates_added)]
    for name, sentences in difference.classes_removed.items():
        lines += ["", f"{name} (removed)", *_signed(sentences, ())]
    for name, sentences in difference.classes_added.items():
        lines += ["", f"{name} (added)", *_signed((), sentences)]
    for name, (removed, added) in difference.changed.items():
        lines += ["", name, *_signed(removed, added)]
    counts = (
        f"{len(difference.changed)} classes changed, {len(difference.classes_added)} added, "
        f"{len(difference.classes_removed)} removed, {difference.n_same} have the same text"
    )
    return "\n".join([*lines, "", counts])


def _signed(removed: Sequence[str], added: Sequence[str]) -> list[str]:
    return [f"  - {sentence}" for sentence in removed] + [f"  + {sentence}" for sentence in added]
