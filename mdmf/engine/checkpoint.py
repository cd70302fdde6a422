"""Weights and training state on disk. Both are written whole or not at all, and reading one never runs code."""

import io
import json
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load as parse_safetensors
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn

from mdmf.files import write_atomic

# Beside a run's weights, as JSON of one name: safetensors writes several in an order of chance, and the same training
# must give the same bytes. Among them source -> what its features were multiplied by.
NOTES, FEATURE_SCALE = "mdmf", "feature_scale"


def save_weights(path: Path, model: nn.Module, *, metadata: Mapping[str, str]) -> None:
    """Write a model's weights as safetensors, with strings beside them."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    write_atomic(path, to_safetensors(tensors, metadata=dict(metadata)))


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is not a whole safetensors file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    try:
        return parse_safetensors(path.read_bytes())
    except SafetensorError as error:
        raise ValueError(f"{path} is not a whole safetensors file ({error})") from None


def read_notes(path: Path) -> dict[str, Any]:
    """What a run noted beside its weights; nothing for weights of before it noted any.

    Raises:
        FileNotFoundError: if there is no file.
        ValueError: if it is not a whole safetensors file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return dict(json.loads((file.metadata() or {}).get(NOTES, "{}")))
    except FileNotFoundError:
        raise FileNotFoundError(f"no checkpoint at {path}") from None
    except SafetensorError as error:
        raise ValueError(f"{path} is not a whole safetensors file ({error})") from None


def load_weights(path: Path, model: nn.Module) -> None:
    """Load weights into a model made with the same settings.

    Raises:
        FileNotFoundError: if there is no file.
        ValueError: naming the tensors that are missing, too many, or of another shape.
    """
    given, own = read_weights(path), model.state_dict()
    problems = [f"lacks {name}" for name in own if name not in given]
    problems += [f"has {name}, which the model has not" for name in given if name not in own]
    problems += [
        f"has {name} of shape {tuple(given[name].shape)}, the model's is {tuple(tensor.shape)}"
        for name, tensor in own.items()
        if name in given and given[name].shape != tensor.shape
    ]
    if problems:
        more = f"\n  … and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise ValueError(
            f"checkpoint {path} does not fit this model:\n  " + "\n  ".join(problems[:5]) + more + "\n"
            "  use the model and encoder settings of the run that made it (its config.yaml)"
        )
    model.load_state_dict(given)


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write a training state: tensors, numbers, strings, lists and dicts of them."""
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    write_atomic(path, buffer.getvalue())


def load_state(path: Path, *, parts: Sequence[str] = ()) -> dict[str, Any]:
    """Read a training state with `weights_only=True`, so that nothing in it can run.

    Args:
        parts: keys that it must have.

    Raises:
        ValueError: if the file is damaged, holds more than plain data, or lacks a part.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, KeyError, UnicodeDecodeError) as error:
        reason = type(error).__name__
        raise ValueError(
            f"{path} is not a training state of mdmf ({reason}); delete it to begin the run again"
        ) from None
    if not isinstance(state, dict) or not set(parts) <= state.keys():
        raise ValueError(f"{path} is not a training state of mdmf; delete it to begin the run again")
    return state
