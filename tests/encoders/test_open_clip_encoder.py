import json
import os
import time
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from huggingface_hub import constants as hub_constants
from open_clip.pretrained import get_pretrained_cfg
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from safetensors.torch import save_file

from mdmf.data.views.preprocess import resize_crop
from mdmf.encoders.open_clip_encoder import OpenClipEncoder, load_open_clip
from mdmf.structures import Preprocess

SMALLEST = "ViT-S-32-alt"  # of open_clip's own list


@pytest.fixture(scope="module")
def smallest() -> OpenClipEncoder:
    return load_open_clip(SMALLEST, "random", device="cpu", precision="float32", seed=0)


def _frames(size: int, n_frames: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (n_frames, size, size, 3), dtype=torch.uint8, generator=generator)


def test_features_equal_the_librarys_own(smallest: OpenClipEncoder) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = open_clip.create_model(SMALLEST).eval()
    transform = image_transform_v2(PreprocessCfg(**model.visual.preprocess_cfg), is_train=False)
    frames, sentences = _frames(224), ["a person kicks a ball", "a person jumps"]
    with torch.no_grad():
        image_features = model.encode_image(torch.stack([transform(Image.fromarray(f.numpy())) for f in frames]))
        text_features = model.encode_text(open_clip.get_tokenizer(SMALLEST)(sentences))
    torch.testing.assert_close(smallest.encode_images(frames), image_features, rtol=0, atol=1e-5)
    torch.testing.assert_close(smallest.encode_texts(sentences), text_features, rtol=0, atol=1e-5)
    assert smallest.feature_size == image_features.shape[1]
    assert smallest.logit_scale == pytest.approx(model.logit_scale.exp().item())
    assert smallest.identity["weights"] == "random (seed 0)"


@pytest.mark.parametrize(
    ("model", "tag"), [("ViT-B-32-quickgelu", "openai"), ("ViT-B-16-SigLIP", "webli"), ("MobileCLIP-S1", "datacompdr")]
)
def test_frames_are_prepared_as_by_the_librarys_transform(
    real_frames: list[np.ndarray], smallest: OpenClipEncoder, model: str, tag: str
) -> None:
    settings = get_pretrained_cfg(model, tag)
    numbers = {key: settings[key] for key in ("mean", "std", "interpolation", "resize_mode")}
    transform = image_transform_v2(PreprocessCfg(size=224, **numbers), is_train=False)
    preprocess = Preprocess(224, 224, **numbers)
    encoder = object.__new__(OpenClipEncoder)  # only its numbers are needed, not its weights
    encoder.device = torch.device("cpu")
    encoder._mean, encoder._std = (torch.tensor(numbers[key]).reshape(1, 3, 1, 1) for key in ("mean", "std"))
    for frame in real_frames:
        cropped = torch.from_numpy(resize_crop(frame, preprocess))[None]
        expected = transform(Image.fromarray(frame))[None]
        torch.testing.assert_close(encoder.normalize(cropped), expected, rtol=0, atol=1e-5)


def test_golden_photo_is_prepared_as_by_openai(shared_data: Path, smallest: OpenClipEncoder) -> None:
    folder = shared_data / "golden" / "clip_reference"
    photo = np.asarray(Image.open(folder / "franz-kafka.jpg").convert("RGB"))
    assert smallest.preprocess == Preprocess(224, 224)
    pixels = smallest.normalize(torch.from_numpy(resize_crop(photo, smallest.preprocess))[None])
    expected = torch.from_numpy(np.load(folder / "expected_preprocessed_image.npy")).reshape(1, 3, 224, 224)
    torch.testing.assert_close(pixels, expected, rtol=0, atol=1e-5)


def test_local_file_gives_the_same_encoder(smallest: OpenClipEncoder, tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in smallest._model.state_dict().items()}, path)
    loaded = load_open_clip(SMALLEST, str(path), device="cpu", precision="float32")
    assert loaded.identity == smallest.identity | {"weights": "mine.safetensors"}
    assert torch.equal(loaded.encode_images(_frames(224)), smallest.encode_images(_frames(224)))


def test_unknown_model_and_tag_name_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"no model 'ViT-B-16-quikgelu'; nearest: ViT-B-16-quickgelu"):
        load_open_clip("ViT-B-16-quikgelu", "openai", device="cpu", precision="float32")
    with pytest.raises(ValueError, match=r"no weights 'openia' for model 'ViT-B-16'; nearest: openai"):
        load_open_clip("ViT-B/16", "openia", device="cpu", precision="float32")
    with pytest.raises(ValueError, match=r"no weights 'openai' for model 'ViT-S-16'; known: none"):
        load_open_clip("ViT-S-16", "openai", device="cpu", precision="float32")


def test_weights_that_cannot_be_had_fail_in_seconds_with_the_ways_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(hub_constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub_constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(hub_constants, "ENDPOINT", "http://127.0.0.1:9")
    start = time.monotonic()
    with pytest.raises(FileNotFoundError) as caught:
        load_open_clip("ViT-B-16-quickgelu", "openai", device="cpu", precision="auto")
    assert time.monotonic() - start < 5
    for words in (
        "'openai'",
        "'ViT-B-16-quickgelu'",
        "local file",
        "dfn2b",
        "encoder.library=tiny",
        "encoder.weights=random",
    ):
        assert words in str(caught.value)


def test_preprocessing_follows_the_model_for_local_and_random_weights() -> None:
    from mdmf.encoders.open_clip_encoder import _common_preprocessing

    assert _common_preprocessing("ViT-B-16-SigLIP")["resize_mode"] == "squash"
    assert _common_preprocessing("MobileCLIP-S1")["mean"] == (0.0, 0.0, 0.0)


def test_ambiguous_preprocessing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    from mdmf.encoders.open_clip_encoder import _common_preprocessing

    assert _common_preprocessing("ViT-L-14") == {}
    assert "ViT-L-14 differ in preprocessing" in caplog.text


def test_tag_trained_with_quick_gelu_gets_it_whatever_the_model_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, object] = {}

    def create_model(name: str, **settings: object) -> None:
        asked.update(settings, name=name)
        raise RuntimeError("stop here")

    monkeypatch.setattr(open_clip, "create_model", create_model)
    for tag, expected in (("openai", True), ("laion2b_s34b_b88k", False)):
        with pytest.raises(FileNotFoundError, match="stop here"):
            load_open_clip("ViT-B-16", tag, device="cpu", precision="float32")
        assert asked["force_quick_gelu"] is expected
        assert asked["require_pretrained"] is True


@pytest.mark.slow
def test_random_vit_b_32_equals_the_librarys_own(short_form: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the short form with two layers in each tower."""
    if short_form:
        small = open_clip.get_model_config("ViT-B-32-quickgelu")
        small["vision_cfg"]["layers"] = small["text_cfg"]["layers"] = 2
        monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "ViT-B-32-quickgelu", small)
    encoder = load_open_clip("ViT-B-32-quickgelu", "random", device="cpu", precision="float32", seed=3)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = open_clip.create_model("ViT-B-32-quickgelu").eval()
    frames = _frames(224)
    with torch.no_grad():
        expected = model.encode_image(encoder.normalize(frames))
    torch.testing.assert_close(encoder.encode_images(frames), expected, rtol=0, atol=1e-5)
    rounded = load_open_clip("ViT-B-32-quickgelu", "random", device="cpu", precision="bfloat16", seed=3)
    assert torch.cosine_similarity(rounded.encode_images(frames), expected).min() > 0.999


@pytest.mark.slow
def test_real_openai_weights_give_openais_embeddings(shared_data: Path) -> None:
    path = os.environ.get("MDMF_CLIP_VITB32")
    if not path:
        pytest.skip("MDMF_CLIP_VITB32 does not name a file of OpenAI's ViT-B/32 weights")
    folder = shared_data / "golden" / "clip_reference"
    golden = json.loads((folder / "golden.json").read_text(encoding="utf-8"))
    encoder = load_open_clip("ViT-B-32-quickgelu", path, device="cpu", precision="float32")
    photo = np.asarray(Image.open(folder / "franz-kafka.jpg").convert("RGB"))
    image = encoder.encode_images(torch.from_numpy(resize_crop(photo, encoder.preprocess))[None])
    texts = encoder.encode_texts(golden["texts"])
    expected = golden["ViT-B/32"]
    torch.testing.assert_close(image[0, :5], torch.tensor(expected["image_first5"]), rtol=0, atol=1e-3)
    torch.testing.assert_close(texts[0, :5], torch.tensor(expected["text0_first5"]), rtol=0, atol=1e-3)
    logits = encoder.logit_scale * torch.cosine_similarity(image, texts)
    torch.testing.assert_close(logits, torch.tensor(expected["logits_per_image"]), rtol=0, atol=0.05)
