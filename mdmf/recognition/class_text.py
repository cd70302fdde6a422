"""Words for the classes of somebody's own clips: which sentences, whether they say anything, and their features."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mdmf.class_names import class_key, some_of
from mdmf.data.features.store import StoreMismatch
from mdmf.encoders.clip import FrozenEncoder
from mdmf.encoders.prompts import PromptFile, class_name_in_words, class_sentences, load_prompts
from mdmf.encoders.text_cache import ClassText, cached_class_text
from mdmf.engine.workspace import prompt_file
from mdmf.resources import resource_folder
from mdmf.settings import Settings

# What people call a class when they do not say what happens in it.
_EMPTY_WORDS = frozenset(
    (
        *("action", "actions", "activity", "category", "class", "classes", "clip", "clips", "cls", "default", "folder"),
        *("group", "item", "label", "misc", "new", "none", "other", "others", "test", "thing", "train", "type"),
        *("unknown", "untitled", "val", "video", "videos"),
    )
)


def names_without_words(names: Sequence[str]) -> list[str]:
    """The class names that do not say what happens: without a word of three Latin letters (`class_01`, `A`, `x2`)."""

    def says_something(name: str) -> bool:
        words = re.findall(r"[a-z]{3,}", class_name_in_words(name).lower())
        return any(word not in _EMPTY_WORDS for word in words)

    return [name for name in names if not says_something(name)]


def own_sentences(names: Sequence[str], *, prompts: Path, is_for_these: bool) -> dict[str, list[str]]:
    """The sentences of each class.

    Args:
        names: the classes, in order.
        prompts: a prompt file.
        is_for_these: the file must know every class. Else, a class that it does not know is put into its templates, or
            into the default ones where it has none.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is malformed, or must know a class and does not.
    """
    file = load_prompts(prompts)
    if is_for_these or file.classes is None:
        return class_sentences(file, names)
    keys = {class_key(name) for name in file.classes}
    known = [name for name in names if class_key(name) in keys]
    templates = file.templates or load_prompts(resource_folder("prompts") / "default.yaml").templates
    others = [name for name in names if name not in known]
    made = class_sentences(file, known) | class_sentences(PromptFile(file.path, templates, None), others)
    return {name: made[name] for name in names}


@dataclass(frozen=True, eq=False)
class ChosenText:
    """What the class names say, and to whom.

    Attributes:
        features: None where nothing looks at them.
        weight: of the words in the answer, as the model `zero_shot` understands them; 0: they do not join in.
        notes: what must be known of it.
    """

    features: ClassText | None
    weight: float
    notes: tuple[str, ...]


def choose_text(
    names: Sequence[str],
    settings: Settings,
    *,
    wanted: str,
    prompts_are_for_these: bool,
    folder: Path,
    identity: Callable[[], Mapping[str, str]],
    encoder: Callable[[], FrozenEncoder],
) -> ChosenText:
    """Whether words of classes join in the answer, and their features where they do or the model looks at them.

    Args:
        names: the classes, in order.
        settings: `model.text_weight` is the weight; 0: they never join in.
        wanted: `on`, `off`, or `auto`: where there are prompts for these classes, or every name is made of words and
            the encoder can read them.
        prompts_are_for_these: whether `data.prompts` was given for these classes.
        folder: where text features are kept.
        identity: names the encoder of the frames, its weights too.
        encoder: gives it.

    Raises:
        StoreMismatch: if the encoder is not the one that the frames' features are of.
        ValueError: if text is needed, and the prompts or the encoder do not go with the class names.
    """
    is_read = settings.model.reads_text
    weight = 0.0 if wanted == "off" else float(settings.model.text_weight)
    if wanted == "on" and not weight:
        raise ValueError("text 'on' needs a weight; give it as model.text_weight=0.5")
    notes = []
    silent = [] if prompts_are_for_these else names_without_words(names)
    if silent and is_read:
        notes.append(
            f"the model goes by class names too, and {some_of(silent, 3)} says little; name the folders after what "
            f"happens, or give sentences with data.prompts=FILE"
        )
    if silent and weight and wanted == "auto":
        weight = 0.0
        notes.append(f"class names do not join in the answer: {some_of(silent, 3)} does not say what happens")
    if not (is_read or weight):
        return ChosenText(None, 0.0, tuple(notes))
    sentences = own_sentences(names, prompts=prompt_file(settings), is_for_these=prompts_are_for_these)
    made_by = identity()  # what is wrong with the kept features is no fault of the class names
    try:
        features = cached_class_text(folder, sentences, identity=made_by, encoder=encoder)
        return ChosenText(features, weight, tuple(notes))
    except StoreMismatch:
        raise
    except ValueError as error:
        if is_read or wanted == "on" or prompts_are_for_these:
            raise ValueError(f"{error}; give sentences for these classes with data.prompts=FILE") from None
        return ChosenText(None, 0.0, (*notes, f"class names do not join in the answer: {error}"))
