"""Files of weights and training states. They are written atomically, and reading one never runs code."""

import io
import json
import pickle
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn

from mdmf.files import write_atomic

# The metadata of weights are one JSON string: safetensors writes several strings in random order, and the same training
# must write the same bytes. FEATURE_SCALE is one of its keys: source -> factor that its features were multiplied by.
NOTES, FEATURE_SCALE = "mdmf", "feature_scale"


def save_weights(path: Path, model: nn.Module, *, metadata: Mapping[str, str]) -> None:
    """Write a model's weights as safetensors with metadata."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    write_atomic(path, to_safetensors(tensors, metadata=dict(metadata)))


@contextmanager
def _open_weights(path: Path) -> Iterator[Any]:
    """Open a safetensors file.

    Raises:
        FileNotFoundError: if there is no file.
        ValueError: if it is not a complete safetensors file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except SafetensorError as error:
        raise ValueError(f"{path} is not a complete safetensors file ({error})") from None


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, by name.

    Raises:
        FileNotFoundError: if there is no file.
        ValueError: if it is not a complete safetensors file.
    """
    with _open_weights(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (the file is no dictionary)


def read_notes(path: Path) -> dict[str, Any]:
    """The metadata that a run wrote with its weights (see `NOTES`); empty if it wrote none.

    Raises:
        FileNotFoundError: if there is no file.
        ValueError: if it is not a complete safetensors file.
    """
    with _open_weights(path) as file:
        return dict(json.loads((file.metadata() or {}).get(NOTES, "{}")))


def load_weights(path: Path, model: nn.Module) -> None:
    """Load weights into a model made with the same settings.

    Raises:
        FileNotFoundError: if there is no file.
        ValueError: listing missing and unexpected tensors, and those of another shape.
    """
    weights, expected = read_weights(path), model.state_dict()
    problems = [f"lacks {name}" for name in expected if name not in weights]
    problems += [f"has {name}, which the model lacks" for name in weights if name not in expected]
    problems += [
        f"has {name} of shape {tuple(weights[name].shape)}, the model's is {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in weights and weights[name].shape != tensor.shape
    ]
    if problems:
        more = f"\n  … and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise ValueError(
            f"checkpoint {path} does not fit this model:\n  " + "\n  ".join(problems[:5]) + more + "\n"
            "  use the model and encoder settings of the run that wrote it (its config.yaml)"
        )
    model.load_state_dict(weights)


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write a training state of tensors, numbers, strings, and lists and dictionaries of them."""
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    write_atomic(path, buffer.getvalue())


def load_state(path: Path, *, parts: Sequence[str] = ()) -> dict[str, Any]:
    """A training state, read with `weights_only=True`: no code in it is run.

    Args:
        parts: required keys.

    Raises:
        ValueError: if the file is damaged, has objects other than plain data, or lacks a part.
    """
    problem = f"{path} is not a training state of mdmf; delete it to begin the run again"
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, KeyError, UnicodeDecodeError) as error:
        raise ValueError(problem) from error
    if not isinstance(state, dict) or not set(parts) <= state.keys():
        raise ValueError(problem)
    return state
