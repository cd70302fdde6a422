import pytest

from mdmf.config import check_settings
from mdmf.engine.workspace import requested_encoder


def asked(**encoder) -> dict[str, str]:
    return requested_encoder(check_settings({"encoder": encoder}, source="test"))


def test_random_weights_are_named_with_their_seed():
    assert "random (seed 3)" in asked(weights="random", seed=3)["requested"]


def test_a_local_file_is_named_by_its_content(tmp_path):
    path, moved = tmp_path / "w.safetensors", tmp_path / "other.safetensors"
    path.write_bytes(b"one")
    moved.write_bytes(b"one")
    first = asked(weights=str(path))
    assert first == asked(weights=str(moved))
    moved.write_bytes(b"two")
    assert first != asked(weights=str(moved))


def test_precision_matters_only_where_it_is_asked_for():
    assert "precision" not in asked()
    assert asked(precision="bfloat16")["precision"] == "bfloat16"


@pytest.mark.parametrize("change", [{"model": "ViT-L-14"}, {"weights": "laion2b"}, {"library": "transformers"}])
def test_another_encoder_is_another_request(change):
    assert asked(**change) != asked()
