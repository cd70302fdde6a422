"""Weights of frozen encoders: safe reading, a hash of their content, and short waits for a hub."""

from __future__ import annotations

import hashlib
import os
import pickle
import queue
import socket
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from huggingface_hub import constants as hub_constants
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

WEIGHT_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")
RANDOM = "random"


def weights_hash(state: Mapping[str, Tensor]) -> str:
    """A hash of weights: the start of a SHA-256 over names, dtypes, shapes and bytes, in order of name.

    Floating-point weights are hashed as float32, so a file in half precision and the same values in float32 agree.

    Args:
        state: the state dict of a module, before it is cast to another precision.

    Returns:
        16 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu()
        tensor = tensor.float() if tensor.is_floating_point() else tensor
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def names_a_file(weights: str) -> bool:
    """Whether `weights` is a path, and not a name of published weights."""
    path = Path(weights).expanduser()
    return path.is_file() or path.suffix.lower() in WEIGHT_SUFFIXES or os.sep in weights


def read_weights(path: Path) -> dict[str, Tensor]:
    """The state dict of a safetensors or torch file; no code in the file is run.

    For a training checkpoint, its entry `state_dict`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for another suffix, a damaged file, a file with code (TorchScript, arbitrary pickles) or with
            content other than named tensors.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no weights file {path}; give the path of a {' or '.join(WEIGHT_SUFFIXES)} file")
    if path.suffix.lower() not in WEIGHT_SUFFIXES:
        raise ValueError(f"expected weights in a {' or '.join(WEIGHT_SUFFIXES)} file, got {path}")
    state = _read_safetensors(path) if path.suffix.lower() == ".safetensors" else _read_torch(path)
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"{path} has no state dict (names to tensors); save one with torch.save(model.state_dict())")
    return state


def _read_safetensors(path: Path) -> object:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is not a readable safetensors file: {error}") from error


def _read_torch(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError) as error:
        if "TorchScript" in str(error):
            raise ValueError(
                f"{path} is a TorchScript archive with code, which is never run from a weights file. If you trust it, "
                "convert it to plain weights once, in Python: state = torch.jit.load(path, map_location='cpu')"
                ".state_dict(); torch.save({name: state[name] for name in state if '.' in name or state[name].ndim or "
                "name == 'logit_scale'}, new_path)"
            ) from error
        raise ValueError(
            f"{path} cannot be read as plain tensors (torch.load with weights_only=True): {first_line(error)}"
        ) from error


def unavailable(
    library: str, model: str, weights: str, other_weights: Sequence[str], error: Exception
) -> FileNotFoundError:
    """The error for published weights that are neither on this machine nor available, with remedies."""
    others = f" ({', '.join(other_weights)})" if other_weights else ""
    return FileNotFoundError(
        f"the weights {weights!r} of {library} model {model!r} are not on this machine and cannot be downloaded "
        f"({first_line(error)}). Remedies: (1) encoder.weights=PATH of a local file of this model (.safetensors "
        f"or .pt); (2) choose other weights{others}, or run once with a connection, which stores them; (3) only to "
        "try the program: encoder.library=tiny encoder.model=tiny_clip encoder.weights=shipped (trained on drawn "
        "shapes), or encoder.weights=random"
    )


def first_line(error: BaseException) -> str:
    """The first line of an error message, or the type of the error if the message is empty."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@contextmanager
def quick_hub(*, timeout_seconds: float = 5.0) -> Iterator[None]:
    """Avoid minutes of retries inside the block if no model hub can be reached.

    If the hub does not answer one probe in time, the block runs in the offline mode of the hub library: cached files
    are used, and missing files fail at once. Other downloads have a time limit per network operation.
    """
    offline_before, socket_timeout_before = hub_constants.HF_HUB_OFFLINE, socket.getdefaulttimeout()
    # open_clip passes no argument for this to huggingface_hub: its module-level switch is the only way.
    hub_constants.HF_HUB_OFFLINE = offline_before or not _hub_answers(timeout_seconds)
    socket.setdefaulttimeout(4 * timeout_seconds)
    try:
        yield
    finally:
        hub_constants.HF_HUB_OFFLINE = offline_before
        socket.setdefaulttimeout(socket_timeout_before)


def _hub_answers(timeout_seconds: float) -> bool:
    """Whether the address of the hub answers, through the proxies of the environment if it has any."""
    answers: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def probe() -> None:
        try:
            request = urllib.request.Request(hub_constants.ENDPOINT, method="HEAD")
            with urllib.request.urlopen(request, timeout=timeout_seconds):
                answers.put(True)
        except urllib.error.HTTPError:
            answers.put(True)  # a refusal is an answer
        except OSError as error:  # a host with an unknown certificate answers; the hub client checks certificates
            answers.put(isinstance(getattr(error, "reason", None), ssl.SSLError))

    # A thread, because the lookup of a host name has no timeout.
    threading.Thread(target=probe, name="hub-probe", daemon=True).start()
    try:
        return answers.get(timeout=timeout_seconds)
    except queue.Empty:
        return False
