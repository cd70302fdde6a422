"""What changed between two prompt files, as sentences."""

from pathlib import Path

import pytest

from mdmf.encoders.prompt_diff import prompt_difference
from mdmf.encoders.prompts import PromptFile

A, B = Path("a.yaml"), Path("b.yaml")


def prompts(classes: dict[str, str | tuple[str, ...]] | None, *templates: str, path: Path = A) -> PromptFile:
    return PromptFile(path, templates or ("a {}.",), classes)


def test_the_same_file_is_no_difference() -> None:
    own = prompts({"kick": "kicking", "run": ("a run.",)})
    difference = prompt_difference(own, own)
    assert difference.is_empty
    assert difference.n_same == 2


def test_changed_added_and_removed_classes_by_hand() -> None:
    before = prompts({"kick": "kicking", "run": "running", "sit": ("one.", "two.")})
    after = prompts({"kick": "a kick", "wave": "waving", "sit": ("two.", "three.")})
    difference = prompt_difference(before, after)
    assert difference.changed == {"kick": (("a kicking.",), ("a a kick.",)), "sit": (("one.",), ("three.",))}
    assert difference.classes_removed == {"run": ("a running.",)}
    assert difference.classes_added == {"wave": ("a waving.",)}
    assert (difference.templates_removed, difference.n_same, difference.is_empty) == ((), 0, False)


def test_swapping_the_files_swaps_old_and_new() -> None:
    before = prompts({"kick": "kicking", "run": "running"}, "a {}.", "b {}.")
    after = prompts({"kick": "a kick", "wave": "waving"}, "b {}.", "c {}.")
    there, back = prompt_difference(before, after), prompt_difference(after, before)
    assert (there.templates_removed, there.templates_added) == (back.templates_added, back.templates_removed)
    assert (there.classes_removed, there.classes_added) == (back.classes_added, back.classes_removed)
    assert {name: pair[::-1] for name, pair in there.changed.items()} == back.changed


def test_a_changed_template_is_told_once() -> None:
    difference = prompt_difference(prompts({"kick": "kicking"}), prompts({"kick": "kicking"}, "b {}."))
    assert (difference.templates_removed, difference.templates_added) == (("a {}.",), ("b {}.",))
    assert (difference.changed, difference.n_same, difference.is_empty) == ({}, 1, False)


def test_classes_match_up_to_spelling() -> None:
    assert prompt_difference(prompts({"ride bike": "x"}), prompts({"Ride_Bike": "x"})).is_empty


def test_the_same_sentences_in_another_form_are_no_difference() -> None:
    assert prompt_difference(prompts({"kick": "kicking"}), prompts({"kick": ("a kicking.",)})).is_empty


def test_a_file_without_classes_is_compared_on_those_of_the_other() -> None:
    difference = prompt_difference(prompts(None), prompts({"ride_bike": "riding a bike", "run": "run"}))
    assert difference.changed == {"ride_bike": (("a ride bike.",), ("a riding a bike.",))}
    assert difference.n_same == 1
    assert prompt_difference(prompts(None), prompts(None)).is_empty


def test_two_spellings_in_one_file_are_refused() -> None:
    with pytest.raises(ValueError, match="'kick ball' and 'kick_ball' are one class"):
        prompt_difference(prompts({"kick ball": "x", "kick_ball": "y"}), prompts(None))
