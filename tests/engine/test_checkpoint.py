import os

import pytest
import torch
from torch import nn

from mdmf.engine.checkpoint import load_state, load_weights, read_weights, save_state, save_weights


def test_weights_come_back_the_same(tmp_path):
    model, other = nn.Linear(3, 2), nn.Linear(3, 2)
    save_weights(tmp_path / "w.safetensors", model, metadata={"step": "3"})
    load_weights(tmp_path / "w.safetensors", other)
    assert torch.equal(model.weight, other.weight)
    assert [path.name for path in tmp_path.iterdir()] == ["w.safetensors"]


def test_says_how_a_checkpoint_does_not_fit(tmp_path):
    save_weights(tmp_path / "w.safetensors", nn.Linear(3, 2), metadata={})
    with pytest.raises(ValueError, match=r"has weight of shape \(2, 3\), the model's is \(2, 4\)"):
        load_weights(tmp_path / "w.safetensors", nn.Linear(4, 2))
    with pytest.raises(ValueError, match="has bias, which the model lacks"):
        load_weights(tmp_path / "w.safetensors", nn.Linear(3, 2, bias=False))
    with pytest.raises(ValueError, match=r"lacks 0\.weight"):
        load_weights(tmp_path / "w.safetensors", nn.Sequential(nn.Linear(3, 2)))


def test_bad_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        read_weights(tmp_path / "none.safetensors")
    (tmp_path / "text.safetensors").write_text("not weights")
    with pytest.raises(ValueError, match="not a complete safetensors file"):
        read_weights(tmp_path / "text.safetensors")
    save_weights(tmp_path / "cut.safetensors", nn.Linear(30, 20), metadata={})
    content = (tmp_path / "cut.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(content[:-100])
    with pytest.raises(ValueError, match="not a complete safetensors file"):
        read_weights(tmp_path / "cut.safetensors")


class Evil:
    def __reduce__(self):
        return os.system, ("touch ran_code",)


def test_a_state_never_runs_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"model": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(ValueError, match="not a training state of mdmf"):
        load_state(tmp_path / "evil.pt")
    assert not (tmp_path / "ran_code").exists()
    save_state(tmp_path / "good.pt", {"step": 3, "tensor": torch.arange(3)})
    assert load_state(tmp_path / "good.pt")["step"] == 3
