"""Weights of frozen encoders: read without running code, named by their content, asked of a hub without long waits."""

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
    """Name weights by what they are: the start of a SHA-256 over names, dtypes, shapes and bytes, in order of name.

    Floating-point weights are hashed as float32: a file kept in half precision and the same numbers in float32 agree.

    Args:
        state: a module's state dict, before any rounding to the precision that it will run in.

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
    """Whether `weights` is meant as a path and not as the name of published weights."""
    path = Path(weights).expanduser()
    return path.is_file() or path.suffix.lower() in WEIGHT_SUFFIXES or os.sep in weights


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a state dict from a safetensors or torch file; nothing in the file is run.

    A training checkpoint with a `state_dict` entry gives that entry.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for another suffix, a damaged file, a file that holds code (TorchScript, arbitrary pickles) or
            something other than named tensors.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no weights file {path}; give the path of a {' or '.join(WEIGHT_SUFFIXES)} file")
    if path.suffix.lower() not in WEIGHT_SUFFIXES:
        raise ValueError(f"expected weights in a {' or '.join(WEIGHT_SUFFIXES)} file, got {path}")
    state = _read_safetensors(path) if path.suffix.lower() == ".safetensors" else _read_torch(path)
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"{path} holds no state dict (names to tensors); save one with torch.save(model.state_dict())")
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
                f"{path} is a TorchScript archive: it holds code, which is never run from a weights file. If you trust "
                "it, make plain weights of it once, in Python: state = torch.jit.load(path, map_location='cpu')"
                ".state_dict(); torch.save({name: state[name] for name in state if '.' in name or state[name].ndim or "
                "name == 'logit_scale'}, new_path)"
            ) from error
        raise ValueError(
            f"{path} cannot be read as plain tensors (torch.load with weights_only=True): {first_line(error)}"
        ) from error


def unavailable(
    library: str, model: str, weights: str, other_weights: Sequence[str], error: Exception
) -> FileNotFoundError:
    """The error for published weights that this machine has not and cannot get, with the ways out."""
    others = f" ({', '.join(other_weights)})" if other_weights else ""
    return FileNotFoundError(
        f"the weights {weights!r} of {library} model {model!r} are not on this machine and cannot be downloaded "
        f"({first_line(error)}). Ways out: (1) encoder.weights=PATH of a local file of this model (.safetensors "
        f"or .pt); (2) choose other weights{others}, or run once with a connection so that they are kept; (3) to "
        "try the program only: encoder.library=tiny encoder.model=tiny_clip encoder.weights=shipped, or "
        "encoder.weights=random, which know nothing of the world"
    )


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or its type where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@contextmanager
def quick_hub(*, timeout_seconds: float = 5.0) -> Iterator[None]:
    """Ask model hubs inside this block without the libraries' minutes of retries where no hub can be reached.

    If the hub does not answer one probe in time, the block runs in the hub library's offline mode: cached files are
    found at once, and what is missing fails at once. Other downloads get a time limit per network operation.
    """
    offline_before, socket_timeout_before = hub_constants.HF_HUB_OFFLINE, socket.getdefaulttimeout()
    # huggingface_hub has no argument for this that open_clip would pass on: its module-level switch is the only way.
    hub_constants.HF_HUB_OFFLINE = offline_before or not _hub_answers(timeout_seconds)
    socket.setdefaulttimeout(4 * timeout_seconds)
    try:
        yield
    finally:
        hub_constants.HF_HUB_OFFLINE = offline_before
        socket.setdefaulttimeout(socket_timeout_before)


def _hub_answers(timeout_seconds: float) -> bool:
    """Whether anything at all answers at the hub's address, through the environment's proxies if there are any."""
    answers: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def probe() -> None:
        try:
            request = urllib.request.Request(hub_constants.ENDPOINT, method="HEAD")
            with urllib.request.urlopen(request, timeout=timeout_seconds):
                answers.put(True)
        except urllib.error.HTTPError:
            answers.put(True)  # a refusal is an answer
        except OSError as error:  # certificates are the hub client's own matter: a host that shows one does answer
            answers.put(isinstance(getattr(error, "reason", None), ssl.SSLError))

    # A thread, because looking up a host name obeys no timeout.
    threading.Thread(target=probe, name="hub-probe", daemon=True).start()
    try:
        return answers.get(timeout=timeout_seconds)
    except queue.Empty:
        return False
