import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from huggingface_hub import constants as hub_constants

from mdmf.data.views.preprocess import resize_crop
from mdmf.encoders.frozen import ClipEncoder
from mdmf.encoders.transformers_encoder import TransformersEncoder, load_transformers, preprocess_of_processor
from mdmf.structures import Preprocess

SENTENCES = ["ab a", "b"]
TOWER = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
# A CLIP-like word-piece list: two letters, each also as the end of a word, and CLIP's two special words.
VOCABULARY = {"a": 0, "b": 1, "a</w>": 2, "b</w>": 3, "<|startoftext|>": 4, "<|endoftext|>": 5}


def _pil_processor(kind: str, **settings: Any) -> Any:
    """The library's PIL image processor: `...ImageProcessorPil` in transformers 5, `...ImageProcessor` before."""
    name = f"{kind}ImageProcessor"
    return getattr(transformers, f"{name}Pil", getattr(transformers, name))(**settings)


def _configuration(kind: str) -> Any:
    text = {"vocab_size": 6, "max_position_embeddings": 10, "bos_token_id": 4, "eos_token_id": 5, "pad_token_id": 5}
    vision = {"image_size": 32, "patch_size": 8}
    configuration_class = {"clip": transformers.CLIPConfig, "siglip": transformers.SiglipConfig}[kind]
    settings = {"projection_dim": 8} if kind == "clip" else {}
    towers = {"text_config": {**TOWER, **text, **settings}, "vision_config": {**TOWER, **vision, **settings}}
    return configuration_class(**towers, **settings)


@pytest.fixture(params=["clip", "siglip"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A small model saved with the library itself: weights, image processor and tokenizer."""
    kind = request.param
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = transformers.AutoModel.from_config(_configuration(kind))
    folder = tmp_path / f"small_{kind}"
    model.save_pretrained(folder)
    if kind == "clip":
        processor = _pil_processor("CLIP", size={"shortest_edge": 36}, crop_size={"height": 32, "width": 32})
    else:
        processor = _pil_processor("Siglip", size={"height": 32, "width": 32})
    processor.save_pretrained(folder)
    _tokenizer(folder).save_pretrained(folder)
    return folder


def _tokenizer(folder: Path) -> Any:
    (folder / "vocab.json").write_text(json.dumps(VOCABULARY), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    if int(transformers.__version__.split(".")[0]) >= 5:
        return transformers.CLIPTokenizer(vocab=VOCABULARY, merges=[], model_max_length=10)
    return transformers.CLIPTokenizerFast(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=10)


def _load(folder: Path | str, weights: str = "", **settings: Any) -> TransformersEncoder:
    return load_transformers(str(folder), weights, **{"device": "cpu", "precision": "float32", **settings})


def _pooled(output: Any) -> torch.Tensor:
    return output if isinstance(output, torch.Tensor) else output.pooler_output


def test_features_equal_the_librarys_own(folder: Path) -> None:
    encoder = _load(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    processor = _pil_processor("CLIP" if folder.name == "small_clip" else "Siglip")
    processor = type(processor).from_pretrained(folder)
    frames = [np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)]
    tokens = transformers.AutoTokenizer.from_pretrained(folder)(SENTENCES, padding="max_length", return_tensors="pt")
    with torch.no_grad():
        image_features = _pooled(model.get_image_features(**processor(images=frames, return_tensors="pt")))
        text_features = _pooled(model.get_text_features(input_ids=tokens["input_ids"]))
    cropped = torch.from_numpy(np.stack([resize_crop(frame, encoder.preprocess) for frame in frames]))
    torch.testing.assert_close(encoder.encode_images(cropped), image_features, rtol=0, atol=1e-5)
    torch.testing.assert_close(encoder.encode_texts(SENTENCES), text_features, rtol=0, atol=1e-5)
    assert encoder.logit_scale == pytest.approx(model.logit_scale.exp().item())
    assert encoder.identity["weights"] == "pretrained"
    assert encoder.identity["model"] == folder.name


def test_a_sentence_means_the_same_alone_and_beside_a_longer_one(folder: Path) -> None:
    encoder = _load(folder)
    together = encoder.encode_texts(["b", "ab a ab"])
    torch.testing.assert_close(encoder.encode_texts(["b"])[0], together[0], rtol=0, atol=1e-5)


def test_long_sentences_are_cut_to_the_models_length(folder: Path) -> None:
    assert torch.isfinite(_load(folder).encode_texts(["ab " * 50])).all()


def test_sixteen_bits_change_little(folder: Path) -> None:
    exact, rounded = _load(folder), _load(folder, precision="bfloat16")
    frames = torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert torch.cosine_similarity(exact.encode_images(frames), rounded.encode_images(frames)).min() > 0.99
    assert torch.cosine_similarity(exact.encode_texts(SENTENCES), rounded.encode_texts(SENTENCES)).min() > 0.99
    assert rounded.identity["weights_hash"] == exact.identity["weights_hash"]


def test_half_precision_files_are_read_as_float32(folder: Path) -> None:
    transformers.AutoModel.from_pretrained(folder).half().save_pretrained(folder)
    encoder = _load(folder)
    assert {parameter.dtype for parameter in encoder._model.parameters()} == {torch.float32}


def test_random_weights_need_only_a_configuration(folder: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "config.json").write_bytes((folder / "config.json").read_bytes())
    encoders = [_load(bare, "random", seed=seed) for seed in (0, 0, 1)]
    hashes = [encoder.identity["weights_hash"] for encoder in encoders]
    assert hashes[0] == hashes[1] != hashes[2]
    assert encoders[2].identity["weights"] == "random (seed 1)"
    assert encoders[0].preprocess.resize_mode == ("squash" if "siglip" in folder.name else "shortest")
    with pytest.raises(FileNotFoundError, match="tokenizer"):
        encoders[0].encode_texts(["a"])
    with pytest.raises(FileNotFoundError, match="incomplete"):
        _load(bare)


def test_local_file_of_weights(folder: Path, tmp_path: Path) -> None:
    random = _load(folder, "random", seed=7)
    state = {**random._model.state_dict(), "text_model.embeddings.position_ids": torch.arange(10)[None]}
    torch.save(state, tmp_path / "mine.pt")
    loaded = _load(folder, str(tmp_path / "mine.pt"))
    assert loaded.identity == random.identity | {"weights": "mine.pt"}
    torch.save({"x": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"other\.pt does not fit model"):
        _load(folder, str(tmp_path / "other.pt"))
    with pytest.raises(ValueError, match="'pretrained', 'random' or the path of a file, got 'openai'"):
        _load(folder, "openai")


def test_incomplete_weights_are_refused_not_filled_at_random(folder: Path) -> None:
    model = transformers.AutoModel.from_pretrained(folder)
    state = {name: value for name, value in model.state_dict().items() if "vision_model.embeddings" not in name}
    model.save_pretrained(folder, state_dict=state)
    with pytest.raises(ValueError, match=r"lack \d+ tensors \(vision_model\.embeddings"):
        _load(folder)


def test_models_without_joint_features_are_refused(tmp_path: Path) -> None:
    configuration = transformers.CLIPVisionConfig(**TOWER, image_size=32, patch_size=8)
    transformers.CLIPVisionModel(configuration).save_pretrained(tmp_path / "vision")
    with pytest.raises(ValueError, match=r"CLIPVisionModel without .*get_text_features"):
        _load(tmp_path / "vision", "random")


def test_code_of_a_model_folder_is_never_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    (folder / "own.py").write_text("open('ran', 'w')\n", encoding="utf-8")
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    settings |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Config", "AutoModel": "own.Model"}}
    (folder / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    with pytest.raises(ValueError, match="trust_remote_code"):
        _load(folder)
    assert not (folder / "ran").exists()


def test_model_that_cannot_be_had_fails_in_seconds_with_the_ways_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(hub_constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub_constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(hub_constants, "HF_HUB_CACHE", str(tmp_path))
    start = time.monotonic()
    with pytest.raises(FileNotFoundError) as caught:
        _load("openai/clip-vit-base-patch16")
    assert time.monotonic() - start < 5
    for words in (
        "'pretrained'",
        "'openai/clip-vit-base-patch16'",
        "local file",
        "encoder.library=tiny",
        "encoder.weights=random",
    ):
        assert words in str(caught.value)
    with pytest.raises(FileNotFoundError, match="no model folder"):
        _load(tmp_path / "absent")


def _as_by_encoder(frame: np.ndarray, preprocess: Preprocess) -> torch.Tensor:
    normalizer = type("Normalizer", (), {"device": torch.device("cpu")})()
    normalizer._mean, normalizer._std = (
        torch.tensor(numbers).reshape(1, 3, 1, 1) for numbers in (preprocess.mean, preprocess.std)
    )
    return ClipEncoder.normalize(normalizer, torch.from_numpy(resize_crop(frame, preprocess))[None])


@pytest.mark.parametrize("kind", ["CLIP", "Siglip"])
def test_frames_are_prepared_as_by_the_librarys_pil_processor(real_frames: list[np.ndarray], kind: str) -> None:
    processor = _pil_processor(kind)
    preprocess = preprocess_of_processor(processor.to_dict(), model=kind)
    n_compared = 0
    for frame in real_frames:
        height, width = frame.shape[:2]
        cut = int(224 * max(height, width) / min(height, width)) - 224
        if kind == "CLIP" and cut % 4 == 3:
            continue  # transformers begins the crop one pixel earlier than torchvision (see preprocess_of_processor)
        expected = processor(images=[frame], return_tensors="pt")["pixel_values"]
        torch.testing.assert_close(_as_by_encoder(frame, preprocess), expected, rtol=0, atol=1e-5)
        n_compared += 1
    assert n_compared >= 2


@pytest.mark.parametrize(
    "change",
    [
        {"do_resize": False},
        {"do_center_crop": False},
        {"do_normalize": False},
        {"do_pad": True},
        {"rescale_factor": 1 / 127.5},
        {"resample": 0},
        {"size": {"height": 224, "width": 336}},
        {"size": {"shortest_edge": 224, "longest_edge": 448}},
        {"size": {"longest_edge": 224}},
        {"crop_size": {"height": 224, "width": 200}},
        {"crop_size": {"height": 256, "width": 256}},
    ],
)
def test_preprocessing_that_cannot_be_reproduced_is_refused(change: dict[str, Any]) -> None:
    settings = _pil_processor("CLIP").to_dict()
    assert preprocess_of_processor(settings, model="a-model") == Preprocess(224, 224)
    with pytest.raises(ValueError, match="cannot reproduce the preprocessing of model 'a-model'"):
        preprocess_of_processor(settings | change, model="a-model")


@pytest.mark.slow
@pytest.mark.parametrize("model", ["openai/clip-vit-base-patch32", "google/siglip-base-patch16-224"])
def test_random_weights_of_well_known_models_need_no_file(model: str) -> None:
    encoder = _load(model, "random", precision="auto")
    assert encoder.preprocess.crop_size == 224
    assert encoder.feature_size == {"openai/clip-vit-base-patch32": 512}.get(model, 768)
