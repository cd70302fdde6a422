import contextlib
import hashlib
import pickle
import struct
import threading
import time
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants as hub_constants
from safetensors.torch import save_file

from mdmf.encoders import weights as weights_module
from mdmf.encoders.weights import names_a_file, quick_hub, read_weights, weights_hash


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {"b.weight": torch.randn(3, 4, generator=generator), "a": torch.tensor(2.5), "n": torch.arange(3)}


def test_hash_worked_out_by_hand() -> None:
    state = {"w": torch.tensor([1.0, 2.0]), "n": torch.tensor(7)}
    written = b"n torch.int64 ()\n" + struct.pack("<q", 7) + b"w torch.float32 (2,)\n" + struct.pack("<2f", 1, 2)
    assert weights_hash(state) == hashlib.sha256(written).hexdigest()[:16]


def test_hash_does_not_depend_on_order_or_memory_layout(state: dict[str, torch.Tensor]) -> None:
    shuffled = {name: state[name] for name in reversed(list(state))}
    shuffled["b.weight"] = state["b.weight"].t().contiguous().t()
    assert weights_hash(shuffled) == weights_hash(state)


def test_hash_of_a_half_precision_file_is_that_of_the_same_numbers_in_float32(state: dict[str, torch.Tensor]) -> None:
    half = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    widened = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in half.items()}
    assert weights_hash(half) == weights_hash(widened)


@pytest.mark.parametrize("change", ["value", "name", "shape", "dtype"])
def test_hash_sees_every_change(state: dict[str, torch.Tensor], change: str) -> None:
    changed = dict(state)
    if change == "value":
        changed["b.weight"] = state["b.weight"].clone()
        changed["b.weight"][2, 3] += 1e-6
    elif change == "name":
        changed["b.bias"] = changed.pop("b.weight")
    elif change == "shape":
        changed["b.weight"] = state["b.weight"].reshape(4, 3)
    else:
        changed["n"] = state["n"].to(torch.int32)
    assert weights_hash(changed) != weights_hash(state)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".bin"])
def test_weights_come_back_as_written(state: dict[str, torch.Tensor], tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    if suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({"epoch": 3, "state_dict": state}, path)
    read = read_weights(path)
    assert read.keys() == state.keys()
    assert all(torch.equal(read[name], state[name]) for name in state)


class _Bomb:
    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("ran"),))


def test_code_in_a_weights_file_is_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"w": _Bomb()}, tmp_path / "bomb.pt")
    (tmp_path / "plain_pickle.pt").write_bytes(pickle.dumps({"w": _Bomb()}))
    for name in ("bomb.pt", "plain_pickle.pt"):
        with pytest.raises(ValueError, match="cannot be read as plain tensors"):
            read_weights(tmp_path / name)
    assert not (tmp_path / "ran").exists()


def test_torchscript_archive_is_refused_with_the_way_out(tmp_path: Path) -> None:
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(tmp_path / "model.pt"))
    with pytest.raises(ValueError, match=r"TorchScript archive.*torch\.jit\.load"):
        read_weights(tmp_path / "model.pt")


@pytest.mark.parametrize("name", ["cut.safetensors", "cut.pt", "empty.pt", "empty.safetensors"])
def test_damaged_file_is_a_clear_error(state: dict[str, torch.Tensor], tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if path.suffix == ".pt":
        torch.save(state, path)
    else:
        save_file(state, path)
    path.write_bytes(path.read_bytes()[:60] if name.startswith("cut") else b"")
    with pytest.raises(ValueError, match=name):
        read_weights(path)


def test_other_contents_and_missing_files_are_refused(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "list.pt")
    torch.save({"epoch": 3}, tmp_path / "numbers.pt")
    (tmp_path / "weights.npz").write_bytes(b"x")
    for name in ("list.pt", "numbers.pt"):
        with pytest.raises(ValueError, match="has no state dict"):
            read_weights(tmp_path / name)
    with pytest.raises(ValueError, match=r"\.safetensors or \.pt"):
        read_weights(tmp_path / "weights.npz")
    with pytest.raises(FileNotFoundError, match=r"no weights file .*absent\.pt"):
        read_weights(tmp_path / "absent.pt")


def test_tags_are_not_taken_for_paths() -> None:
    assert not names_a_file("openai")
    assert not names_a_file("laion2b_s34b_b79k")
    assert names_a_file("absent.safetensors")
    assert names_a_file("some/folder/weights")


def test_hub_is_offline_inside_when_nothing_answers_and_as_before_after(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub_constants, "ENDPOINT", "http://127.0.0.1:9")  # the discard port: refused at once
    start = time.monotonic()
    inside = []
    with contextlib.suppress(KeyError), quick_hub():
        inside.append(hub_constants.HF_HUB_OFFLINE)
        raise KeyError("the switch must be put back after an error too")
    assert inside == [True]
    assert hub_constants.HF_HUB_OFFLINE is False
    assert time.monotonic() - start < 3


def test_hub_that_never_answers_costs_no_more_than_the_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_constants, "HF_HUB_OFFLINE", False)
    end = threading.Event()

    def hang(*_: object, **__: object) -> None:
        end.wait(10)
        raise OSError("at last")

    monkeypatch.setattr(weights_module.urllib.request, "urlopen", hang)
    start = time.monotonic()
    with quick_hub(timeout_seconds=0.1):
        assert hub_constants.HF_HUB_OFFLINE is True
    assert time.monotonic() - start < 2
    end.set()
