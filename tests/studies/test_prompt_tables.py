"""Prompts as text."""

from dataclasses import replace
from pathlib import Path

from mdmf.encoders.prompt_diff import prompt_difference
from mdmf.encoders.prompts import PromptFile
from mdmf.studies.prompt_scores import Confusion, PromptScores, Score
from mdmf.studies.prompt_tables import difference_text, scores_text, sentences_text

SCORES = PromptScores(
    file=Path("p.yaml"),
    split="val",
    n_classes=8,
    n_videos=1200,
    scores=(Score("all together", 41.234, 2.0), Score("a {}.", 41.234, 2.0, 1.5, 0.25)),
    confusions=(Confusion("kick", "run", 7, 24),),
    same_sentences=(),
    notes=("an encoder",),
)


def test_sentences_class_by_class_and_split_by_split():
    said = sentences_text({"kick": ["a.", "b."], "run": ["c."]}, {"train": ["kick"], "val": [], "test": ["run"]})
    assert said.splitlines() == [
        *("train (1 classes)", "  kick", "    a.", "    b."),
        *("test (1 classes)", "  run", "    c."),
    ]


def test_scores_with_their_intervals_and_confusions():
    said = scores_text(SCORES)
    assert "p.yaml: zero-shot on val, 1,200 videos, each out of all 8 classes (chance 12.5 %)" in said
    assert "| a {}.        |      41.23 ± 2.00 |         +1.50 ± 0.25 |" in said
    assert "| kick  |       run | 7 of 24 |" in said
    assert "\n\n(intervals are over videos)\n(an encoder)\n\n" in said
    assert "same sentences" not in said
    assert "  a = b" in scores_text(replace(SCORES, same_sentences=(("a", "b"),)))


def test_a_difference_as_sentences():
    before = PromptFile(Path("a"), ("a {}.",), {"kick": "kicking", "run": "running", "sit": "sitting"})
    after = PromptFile(Path("b"), ("a {}.",), {"kick": "a kick", "wave": "waving", "sit": "sitting"})
    assert difference_text(prompt_difference(before, after), "a", "b").splitlines() == [
        *("- a", "+ b", ""),
        *("run (removed)", "  - a running.", ""),
        *("wave (added)", "  + a waving.", ""),
        *("kick", "  - a kicking.", "  + a a kick.", ""),
        "1 classes changed, 1 added, 1 removed, 1 have the same text",
    ]
    assert difference_text(prompt_difference(before, before), "a", "a").endswith("no difference (3 classes)")
