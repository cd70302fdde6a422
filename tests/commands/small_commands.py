"""Words of commands on a small world, and what they print and write."""

import json
from dataclasses import dataclass
from pathlib import Path

from mdmf.cli import main

SMALL = [
    *("training.n_steps=6", "training.episodes_per_step=2", "training.validate_every=3", "training.save_every=2"),
    *("training.validation_episodes=10", "training.device=cpu", "episode.n_query=1", "data.n_workers=0"),
    *("evaluation.n_episodes=30", "evaluation.batch_episodes=7"),
    *("encoder.library=tiny", "encoder.model=tiny_clip", "encoder.weights=shipped", "encoder.device=cpu"),
]

FLOW = ["data.flow.step=2", "data.flow.clip=6"]
BASELINES = ["zero_shot", "otam", "flow_otam", "late_otam"]
PLAIN = "test_5way_1shot_30episodes"


def small(root: Path, *more: str, store: Path | None = None) -> list[str]:
    """Words of a command; a method that is trained has a small head."""
    own_store = [] if store is None else [f"data.store={store}"]
    names = [word.removeprefix("model.name=") for word in more if word.startswith("model.name=")]
    head = ["model.hidden_size=32"] if set(names) <= {"amfar", "amfir"} else []
    return [f"data.root={root}", "data.name=shapes", "data.class_split=shapes", *SMALL, *head, *own_store, *more]


def result_of(folder: Path, name: str = PLAIN) -> dict:
    return json.loads((folder / f"{name}.json").read_text())


def error_of(capsys, command: str, *arguments: str) -> str:
    """What a command that must fail says; it fails with code 2 and one message."""
    capsys.readouterr()
    assert main([command, "--quiet", *arguments]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert "Traceback" not in said
    return said


@dataclass(frozen=True)
class TrainedOnBoth:
    """A run of rgb and flow in `folder`, where its features are, and what its command printed."""

    folder: Path
    stores: list[str]
    said: str
