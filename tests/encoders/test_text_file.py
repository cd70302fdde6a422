import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from mdmf.encoders.text_file import read_class_text

VECTORS = {"jump rope": np.array([3.0, 4.0], np.float16), "run": np.array([0.0, 15.0], np.float16)}


@pytest.mark.parametrize("name", ["text.safetensors", "text.npz"])
def test_vectors_are_found_by_class_name_whatever_its_spelling(tmp_path, name):
    path = tmp_path / name
    (save_file(VECTORS, path) if name.endswith("s") else np.savez(path, **VECTORS))
    text = read_class_text(path, ["run", "Jump_Rope"])
    assert list(text.features) == ["run", "Jump_Rope"]
    torch.testing.assert_close(text.features["Jump_Rope"], torch.tensor([3.0, 4.0]))
    assert text.logit_scale == 100
    torch.testing.assert_close(text.scaled(["run"]), torch.tensor([[0.0, 15.0]]))  # of mean norm 10 already


def test_the_logit_scale_may_be_given(tmp_path):
    np.savez(tmp_path / "text.npz", **VECTORS, logit_scale=np.float32(20))
    assert read_class_text(tmp_path / "text.npz", ["run"]).logit_scale == 20


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"run": VECTORS["run"]}, r"no text feature of 'jump rope'; it has 'run'"),
        (VECTORS | {"run": np.ones(3, np.float32)}, "expected finite vectors of one size"),
        (VECTORS | {"run": np.full(2, np.nan)}, "expected finite vectors of one size"),
        (VECTORS | {"run": np.array(["a"], dtype=object)}, "cannot be read as text features"),
    ],
)
def test_what_is_missing_or_no_vector_is_named(tmp_path, arrays, message):
    np.savez(tmp_path / "text.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        read_class_text(tmp_path / "text.npz", ["jump rope", "run"])


@pytest.mark.parametrize("name", ["text.safetensors", "text.npz"])
def test_a_file_that_is_missing_or_damaged_is_named(tmp_path, name):
    with pytest.raises(ValueError, match=f"{name} cannot be read as text features"):
        read_class_text(tmp_path / name, ["run"])
    (tmp_path / name).write_bytes(b"123456789")
    with pytest.raises(ValueError, match=f"{name} cannot be read as text features"):
        read_class_text(tmp_path / name, ["run"])
