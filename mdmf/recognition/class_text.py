"""The text of a user's classes: its sentences, and whether it is combined with the answer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mdmf.class_names import class_key, some_of
from mdmf.data.features.store import StoreMismatch
from mdmf.encoders.prompts import PromptFile, class_name_in_words, class_sentences, load_prompts
from mdmf.encoders.text_cache import ClassText, cached_class_text
from mdmf.engine.recipes import prompt_file
from mdmf.recognition.clip_store import ClipStore
from mdmf.resources import resource_folder
from mdmf.settings import Settings
from mdmf.source_settings import DEFAULT_SOURCE

# Words that name a class without describing an action.
_EMPTY_WORD = re.compile(
    "actions?|activity|category|class|classes|clips?|cls|default|folder|group|item|label|misc|new|none|others?|test|"
    "thing|train|type|unknown|untitled|val|videos?"
)


def names_without_words(names: Sequence[str]) -> list[str]:
    """The class names that describe no action: they lack a word of three Latin letters (`class_01`, `A`, `x2`)."""
    words = {name: re.findall("[a-z]{3,}", class_name_in_words(name).lower()) for name in names}
    return [name for name in names if all(_EMPTY_WORD.fullmatch(word) for word in words[name])]


def sentences_of(names: Sequence[str], *, prompts: Path, is_for_these: bool) -> dict[str, list[str]]:
    """The sentences of each class.

    Args:
        names: the classes, in order.
        prompts: a prompt file.
        is_for_these: the file must contain every class. Otherwise, the name of a class that it does not contain is
            put into its templates, or into the default ones if it has none.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is malformed, or lacks a class that it must contain.
    """
    file = load_prompts(prompts)
    if is_for_these or file.classes is None:
        return class_sentences(file, names)
    keys = {class_key(name) for name in file.classes}
    templates = file.templates or load_prompts(resource_folder("prompts") / "default.yaml").templates
    by_template = PromptFile(file.path, templates, None)
    return {name: class_sentences(file if class_key(name) in keys else by_template, [name])[name] for name in names}


@dataclass(frozen=True, eq=False)
class TextChoice:
    """How the text of the classes is used.

    Attributes:
        features: None if neither the model nor the answer uses text.
        weight: of the text in the answer; 0: it is not combined with it.
        notes: remarks for the user.
    """

    features: ClassText | None
    weight: float
    notes: tuple[str, ...]


def choose_text(
    names: Sequence[str],
    settings: Settings,
    *,
    reads_text: bool,
    option: str,
    prompts_are_for_these: bool,
    folder: Path,
    store: ClipStore,
) -> TextChoice:
    """Decide whether the text of the classes is combined with the answer, and encode it if anything uses it.

    Args:
        names: the classes, in order.
        settings: `model.text_weight` is the weight of the text.
        reads_text: whether the method looks at the text of the classes.
        option: `on`, `off`, or `auto`: on if there are prompts for these classes, or if every name is made of words
            that the encoder can read.
        prompts_are_for_these: whether `data.prompts` was given for these classes.
        folder: of the stored text features.
        store: of the clips; its encoder of the frames encodes the text too.

    Raises:
        StoreMismatch: if the encoder is not the one of the stored features of the frames.
        ValueError: if text is needed, and the prompts or the encoder do not fit the class names.
    """
    weight = 0.0 if option == "off" else float(settings.model.text_weight)
    if option == "on" and not weight:
        raise ValueError("text 'on' needs a weight; give it as model.text_weight=0.5")
    notes = []
    silent = [] if prompts_are_for_these else names_without_words(names)
    if silent and reads_text:
        notes.append(
            f"the model goes by class names too, and {some_of(silent, 3)} says little; name the folders after what "
            f"happens, or give sentences with data.prompts=FILE"
        )
    if silent and weight and option == "auto":
        weight = 0.0
        notes.append(f"class names do not join in the answer: {some_of(silent, 3)} does not say what happens")
    if not (reads_text or weight):
        return TextChoice(None, 0.0, tuple(notes))
    sentences = sentences_of(names, prompts=prompt_file(settings), is_for_these=prompts_are_for_these)
    identity = store.identity(
        DEFAULT_SOURCE
    )  # outside the try block: a damaged store is not a problem of the class names
    try:
        features = cached_class_text(
            folder, sentences, identity=identity, encoder=lambda: store.encoder(DEFAULT_SOURCE)
        )
    except StoreMismatch:
        raise
    except ValueError as error:
        if reads_text or option == "on" or prompts_are_for_these:
            raise ValueError(f"{error}; give sentences for these classes with data.prompts=FILE") from None
        return TextChoice(None, 0.0, (*notes, f"class names do not join in the answer: {error}"))
    return TextChoice(features, weight, tuple(notes))
