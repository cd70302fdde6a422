"""`mdmf prompts`: the sentences of the classes, their accuracy on val, and the differences of two files."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from mdmf.commands.shared import open_workspace
from mdmf.config import load_settings
from mdmf.resources import resource_folder, shipped_names

if TYPE_CHECKING:
    from mdmf.engine.workspace import Workspace

HELP = "show the prompts, score them on val, or show the differences of two prompt files"
TAKES_SETTINGS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "action",
        choices=("show", "score", "diff"),
        help="show --cfg C: every sentence; score --cfg C: zero-shot accuracy of each template on val; diff A B: files",
    )
    parser.add_argument("files", nargs="*", metavar="F", help="diff: two prompt files, or names of shipped ones")
    parser.add_argument("--cfg", metavar="C", help="show, score: config file, or the name of a shipped one")
    parser.add_argument(
        "--class", dest="class_names", nargs="+", default=(), metavar="NAME", help="show: only these classes"
    )


def run(arguments: argparse.Namespace) -> None:
    """Show, score or compare prompts."""
    if arguments.class_names and arguments.action != "show":
        raise ValueError("--class is an option of show; score and diff are of all classes")
    if arguments.action == "diff":
        _diff(arguments)
        return
    if arguments.files:
        raise ValueError(
            f"prompts {arguments.action} reads the prompts of --cfg; give another file as "
            f"data.prompts={arguments.files[0]}"
        )
    if arguments.cfg is None:
        raise ValueError(f"prompts {arguments.action} needs --cfg, a config file or the name of a shipped one")
    if arguments.action == "show":
        _show(arguments)
    else:
        _score(arguments)


def _workspace(arguments: argparse.Namespace) -> Workspace:
    from mdmf.studies.prompt_scores import zero_shot_settings

    settings = load_settings(arguments.cfg, arguments.overrides)
    return open_workspace(arguments, zero_shot_settings(settings))


def _show(arguments: argparse.Namespace) -> None:
    from mdmf.engine.recipes import prompt_file
    from mdmf.studies.prompt_scores import classes_named
    from mdmf.studies.prompt_tables import sentences_text

    workspace = _workspace(arguments)
    classes = classes_named(workspace.index.classes, arguments.class_names)
    print(f"\n{prompt_file(workspace.settings)}\n")
    print(sentences_text(workspace.sentences, classes))


def _score(arguments: argparse.Namespace) -> None:
    from mdmf.encoders.prompts import load_prompts
    from mdmf.engine.recipes import prompt_file
    from mdmf.studies.prompt_scores import score_prompts
    from mdmf.studies.prompt_tables import scores_text

    workspace = _workspace(arguments)
    scores = score_prompts(workspace, load_prompts(prompt_file(workspace.settings)))
    print(f"\n{scores_text(scores)}")


def _diff(arguments: argparse.Namespace) -> None:
    from mdmf.encoders.prompt_diff import prompt_difference
    from mdmf.encoders.prompts import load_prompts
    from mdmf.studies.prompt_tables import difference_text

    if len(arguments.files) != 2 or arguments.cfg is not None or arguments.overrides:
        raise ValueError("prompts diff takes two prompt files (or names of shipped ones) and nothing else")
    before, after = (_prompt_file(name) for name in arguments.files)
    print(difference_text(prompt_difference(load_prompts(before), load_prompts(after)), str(before), str(after)))


def _prompt_file(name_or_path: str) -> Path:
    """Path of a prompt file, or of a shipped one by its name."""
    path = Path(name_or_path)
    is_name = not path.exists() and name_or_path in shipped_names("prompts")
    return resource_folder("prompts") / f"{name_or_path}.yaml" if is_name else path
