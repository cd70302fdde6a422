"""Prompts as text: the sentences of each class, their scores, and what changed between two files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mdmf.encoders.prompt_diff import PromptDifference
from mdmf.report.tables import text_table


def sentences_text(sentences: Mapping[str, Sequence[str]], classes: Mapping[str, Sequence[str]]) -> str:
    """Every sentence as it is sent, class by class and split by split.

    Args:
        sentences: class -> its sentences.
        classes: split -> its classes.
    """
    parts = []
    for split, names in classes.items():
        if names:
            parts.append(f"{split} ({len(names)} classes)")
            parts += [f"  {name}\n" + "\n".join(f"    {each}" for each in sentences[name]) for name in names]
    return "\n".join(parts)


def scores_text(result: Mapping[str, Any]) -> str:
    """A row for all prompts together and for each template, then the most confused pairs.

    Args:
        result: what `mdmf.studies.prompt_scores.score_prompts` gave, as a dict.
    """
    rows = [
        [
            score["name"],
            f"{score['percent']:.2f} ± {score['interval']:.2f}",
            "" if score["difference"] is None else f"{score['difference']:+.2f} ± {score['difference_interval']:.2f}",
        ]
        for score in result["scores"]
    ]
    title = (
        f"{result['file']}: zero-shot on {result['split']}, {result['n_videos']:,} videos, each out of all "
        f"{result['n_classes']} classes (chance {100 / result['n_classes']:.1f} %)"
    )
    parts = [title, text_table(["prompts", "accuracy % (95 %)", "against all together"], rows)]
    if result["confusions"]:
        pairs = [
            [each["true_class"], each["predicted"], f"{each['n_videos']} of {each['n_of_class']}"]
            for each in result["confusions"]
        ]
        parts.append("most confused, all prompts together:\n\n" + text_table(["class", "taken for", "videos"], pairs))
    if result["same_sentences"]:
        groups = "\n".join(f"  {' = '.join(group)}" for group in result["same_sentences"])
        parts.append(
            f"classes with the same sentences, which no prompt tells apart (a group of n counts 1/n):\n{groups}"
        )
    parts.append("\n".join(f"({note})" for note in ("intervals are over videos", *result["notes"])))
    return "\n\n".join(parts)


def difference_text(difference: PromptDifference, before: str, after: str) -> str:
    """What is gone (-) and what is new (+), as sentences.

    Args:
        difference: of two files.
        before, after: what they are called.
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
    for name, (gone, come) in difference.changed.items():
        lines += ["", name, *_signed(gone, come)]
    counts = (
        f"{len(difference.changed)} classes changed, {len(difference.classes_added)} added, "
        f"{len(difference.classes_removed)} removed, {difference.n_same} have the same text"
    )
    return "\n".join([*lines, "", counts])


def _signed(gone: Sequence[str], come: Sequence[str]) -> list[str]:
    return [f"  - {each}" for each in gone] + [f"  + {each}" for each in come]
