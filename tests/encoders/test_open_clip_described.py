import json
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from mdmf.encoders import open_clip_described
from mdmf.encoders.open_clip_described import load_described, load_tiny
from mdmf.structures import Preprocess

TINY_NUMBERS = {
    "crop_size": 24,
    "resize_size": 24,
    "resize_mode": "squash",
    "interpolation": "bilinear",
    "mean": [0.5, 0.5, 0.5],
    "std": [0.25, 0.25, 0.25],
}
TINY = {
    "embed_dim": 8,
    "vision_cfg": {
        "image_size": 24,
        "patch_size": 12,
        "layers": 1,
        "width": 16,
        "head_width": 8,
        "pool_type": "avg",
        "pos_embed_type": "sin_cos_2d",
    },
    "text_cfg": {"context_length": 6, "vocab_size": 6, "width": 8, "heads": 2, "layers": 1},
    "mdmf": {"preprocess": TINY_NUMBERS, "words": ["a", "circle", "red"]},
}


def _write(folder: Path, description: dict[str, Any]) -> Path:
    path = folder / "tiny_clip.json"
    path.write_text(json.dumps(description), encoding="utf-8")
    return path


def _frames(size: int) -> torch.Tensor:
    return torch.randint(0, 256, (2, size, size, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def _load(path: Path, weights: str = "random", **settings: Any) -> open_clip_described.OpenClipEncoder:
    return load_described(str(path), weights, **{"device": "cpu", "precision": "float32", **settings})


def test_features_equal_those_of_the_described_model(small_model: Path) -> None:
    encoder = _load(small_model, seed=4)
    with torch.random.fork_rng():
        torch.manual_seed(4)
        model = open_clip.CLIP(**json.loads(small_model.read_text())).eval()
    with torch.no_grad():
        image_features = model.encode_image(encoder.normalize(_frames(32)))
        text_features = model.encode_text(open_clip.SimpleTokenizer()(["a person jumps"]))
    torch.testing.assert_close(encoder.encode_images(_frames(32)), image_features, rtol=0, atol=1e-6)
    torch.testing.assert_close(encoder.encode_texts(["a person jumps"]), text_features, rtol=0, atol=1e-6)
    assert encoder.preprocess == Preprocess(32, 32)
    assert encoder.identity | {"weights_hash": ""} == {
        "library": "open_clip",
        "model": "small_clip",
        "weights": "random (seed 4)",
        "precision": "float32",
        "weights_hash": "",
    }


def test_random_weights_follow_the_seed_and_nothing_else(small_model: Path) -> None:
    first = _load(small_model, seed=0)
    torch.manual_seed(123)
    again, different = _load(small_model, seed=0), _load(small_model, seed=1)
    assert again.identity == first.identity
    assert different.identity["weights_hash"] != first.identity["weights_hash"]
    assert different.identity["weights"] == "random (seed 1)"


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_local_file_gives_the_same_encoder(small_model: Path, tmp_path: Path, suffix: str) -> None:
    random, path = _load(small_model, seed=5), tmp_path / f"mine{suffix}"
    if suffix == ".safetensors":
        save_file({name: tensor.contiguous() for name, tensor in random._model.state_dict().items()}, path)
    else:
        torch.save({"epoch": 1, "state_dict": random._model.state_dict()}, path)
    loaded = _load(small_model, str(path))
    assert loaded.identity == random.identity | {"weights": path.name}
    assert torch.equal(loaded.encode_images(_frames(32)), random.encode_images(_frames(32)))
    assert loaded.logit_scale == random.logit_scale


def test_file_of_another_model_is_refused(small_model: Path, tmp_path: Path) -> None:
    state = dict(_load(small_model)._model.state_dict())
    cut = state["visual.positional_embedding"][:-7]
    torch.save(state | {"visual.positional_embedding": cut}, tmp_path / "other_size.pt")
    torch.save({name: state[name] for name in list(state)[5:]}, tmp_path / "incomplete.pt")
    # open_clip alone would stretch the positions of the first file in silence
    with pytest.raises(
        ValueError, match=r"other_size\.pt does not fit model 'small_clip': its visual\.positional_embedding"
    ):
        _load(small_model, str(tmp_path / "other_size.pt"))
    with pytest.raises(ValueError, match=r"incomplete\.pt does not fit model 'small_clip'"):
        _load(small_model, str(tmp_path / "incomplete.pt"))
    with pytest.raises(FileNotFoundError, match="no weights file"):
        _load(small_model, str(tmp_path / "absent.pt"))


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_sixteen_bits_change_little(small_model: Path, precision: str) -> None:
    exact, rounded = _load(small_model), _load(small_model, precision=precision)
    for name, given in (("encode_images", _frames(32)), ("encode_texts", ["a person jumps", "a ball"])):
        features = getattr(rounded, name)(given)
        assert torch.cosine_similarity(features, getattr(exact, name)(given)).min() > 0.999
    assert rounded.identity["precision"] == precision
    assert rounded.identity["weights_hash"] == exact.identity["weights_hash"]


def test_described_numbers_and_words_are_used(tmp_path: Path) -> None:
    encoder = _load(_write(tmp_path, TINY))
    numbers = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}
    assert encoder.preprocess == Preprocess(24, 24, "squash", "bilinear", **numbers)
    assert encoder.encode_texts(["a red circle", "red"]).shape == (2, 8)
    with pytest.raises(ValueError, match="'square'"):
        encoder.encode_texts(["a red square"])


def test_tiny_reads_its_shipped_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random = _load(_write(tmp_path, TINY), seed=2)
    # shipped in half precision, as tools/make_demo_encoder.py does
    save_file(
        {name: value.half().contiguous() for name, value in random._model.state_dict().items()},
        tmp_path / "tiny_clip.safetensors",
    )
    monkeypatch.setattr(open_clip_described, "resource_folder", lambda kind: tmp_path if kind == "tiny" else None)
    shipped = load_tiny("", "", device="cpu", precision="auto")
    assert shipped.identity | {"weights_hash": ""} == {
        "library": "tiny",
        "model": "tiny_clip",
        "weights": "shipped",
        "precision": "float32",
        "weights_hash": "",
    }
    torch.testing.assert_close(shipped.encode_images(_frames(24)), random.encode_images(_frames(24)), rtol=0, atol=1e-2)
    assert load_tiny("tiny_clip", "shipped", device="cpu", precision="auto").identity == shipped.identity
    assert load_tiny("tiny_clip", "random", device="cpu", precision="auto").identity["weights"] == "random (seed 0)"
    with pytest.raises(ValueError, match="one model, 'tiny_clip', got 'tiny'"):
        load_tiny("tiny", "", device="cpu", precision="auto")


def test_missing_tiny_files_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_clip_described, "resource_folder", lambda _: tmp_path)
    with pytest.raises(FileNotFoundError, match=r"tiny_clip\.json"):
        load_tiny("", "", device="cpu", precision="auto")
    _write(tmp_path, TINY)
    with pytest.raises(FileNotFoundError, match=r"tiny_clip\.safetensors"):
        load_tiny("", "", device="cpu", precision="auto")


def test_published_tags_are_not_for_described_models(small_model: Path) -> None:
    with pytest.raises(ValueError, match="path of a local file or 'random', got 'openai'"):
        _load(small_model, "openai")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vision_cfg": {"image_size": 24, "patch": 12}}, "cannot build the model"),
        (
            {"mdmf": {"preprocess": {"resize_mode": "longest"}}},
            "cannot reproduce the preprocessing of model 'tiny_clip'",
        ),
        ({"mdmf": {"preprocess": {"crop_size": 20}}}, "crop_size 24"),
        ({"mdmf": {"preprocess": {"sise": 20}}}, "fields of Preprocess"),
        (
            {"vision_cfg": {"image_size": [24, 12], "patch_size": 12, "layers": 1, "width": 16, "head_width": 8}},
            "24 x 12",
        ),
    ],
)
def test_impossible_descriptions_are_clear_errors(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _load(_write(tmp_path, TINY | change))


def test_files_that_describe_no_model_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    for text, message in (
        ("{", "is not JSON"),
        ("[]", "not an open_clip model"),
        ('{"embed_dim": 3}', "not an open_clip model"),
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=message):
            _load(path)
    with pytest.raises(FileNotFoundError, match="no model configuration"):
        _load(tmp_path / "absent.json")
