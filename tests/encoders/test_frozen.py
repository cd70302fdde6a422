from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torchvision.transforms import Compose, Normalize, ToTensor

from mdmf.encoders import frozen
from mdmf.encoders.frozen import ClipEncoder, make_preprocess, resolve_precision, seeded
from mdmf.structures import Preprocess

PREPROCESS = Preprocess(4, 4, mean=(0.4, 0.5, 0.6), std=(0.1, 0.2, 0.3))


class _Sums(nn.Module):
    """Image features: the mean of each channel; text features: the length of the sentence."""

    def __init__(self) -> None:
        super().__init__()
        self.visual = nn.Linear(3, 3)
        nn.init.eye_(self.visual.weight)
        nn.init.zeros_(self.visual.bias)
        self.logit_scale = nn.Parameter(torch.tensor(100.0).log())


class _SumsEncoder(ClipEncoder):
    def _embed_pixels(self, pixels: Tensor) -> Tensor:
        return self._model.visual(pixels.mean(dim=(2, 3)))

    def _embed_sentences(self, sentences: list[str]) -> Tensor:
        return torch.tensor([[float(len(sentence))] * 3 for sentence in sentences], dtype=self._dtype)


def _encoder(precision: str = "float32") -> _SumsEncoder:
    model = _Sums()
    names = {"library": "test", "model": "sums", "weights": "fixed"}
    return _SumsEncoder(
        model, visual=model.visual, names=names, preprocess=PREPROCESS, device="cpu", precision=precision
    )


def test_normalize_equals_totensor_and_normalize() -> None:
    frames = torch.randint(0, 256, (5, 4, 4, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    transform = Compose([ToTensor(), Normalize(PREPROCESS.mean, PREPROCESS.std)])
    expected = torch.stack([transform(frame.numpy()) for frame in frames])
    torch.testing.assert_close(_encoder().normalize(frames), expected, rtol=0, atol=1e-6)


def test_image_features_by_hand() -> None:
    frames = torch.zeros(1, 4, 4, 3, dtype=torch.uint8)
    frames[..., 0] = 255
    expected = torch.tensor([[(1 - 0.4) / 0.1, -0.5 / 0.2, -0.6 / 0.3]])
    torch.testing.assert_close(_encoder().encode_images(frames), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "frames",
    [
        torch.zeros(1, 5, 5, 3, dtype=torch.uint8),
        torch.zeros(1, 3, 4, 4, dtype=torch.uint8),
        torch.zeros(4, 4, 3, dtype=torch.uint8),
        torch.zeros(1, 4, 4, 3),
    ],
)
def test_frames_of_another_size_order_or_dtype_are_refused(frames: Tensor) -> None:
    with pytest.raises(ValueError, match=r"expected uint8 frames of shape \(B, 4, 4, 3\)"):
        _encoder().encode_images(frames)


def test_no_frames_give_no_features() -> None:
    assert _encoder().encode_images(torch.zeros(0, 4, 4, 3, dtype=torch.uint8)).shape == (0, 3)


def test_many_sentences_come_back_in_order_whatever_the_chunks() -> None:
    sentences = ["x" * (number % 7) for number in range(600)]
    features = _encoder().encode_texts(sentences)
    assert features.shape == (600, 3)
    assert features[:, 0].tolist() == [float(len(sentence)) for sentence in sentences]


@pytest.mark.parametrize("sentences", [[], "one sentence, not a list"])
def test_texts_must_be_a_list_of_sentences(sentences: list[str]) -> None:
    with pytest.raises(ValueError, match="list of at least one sentence"):
        _encoder().encode_texts(sentences)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_features_are_float32_and_usable_in_training(precision: str) -> None:
    encoder = _encoder(precision)
    for features in (
        encoder.encode_images(torch.zeros(2, 4, 4, 3, dtype=torch.uint8)),
        encoder.encode_texts(["a", "b"]),
    ):
        assert features.dtype == torch.float32
        assert not features.is_inference()
        nn.Linear(3, 1)(features).sum().backward()  # an inference tensor would raise here


def test_model_is_frozen_and_described() -> None:
    encoder = _encoder("bfloat16")
    parameters = list(encoder._model.parameters())
    assert not any(parameter.requires_grad for parameter in parameters)
    assert {parameter.dtype for parameter in parameters} == {torch.bfloat16}
    assert not encoder._model.training
    assert encoder.feature_size == 3
    assert encoder.logit_scale == pytest.approx(100.0, rel=1e-6)  # taken before rounding to bfloat16
    assert encoder.identity | {"weights_hash": ""} == {
        "library": "test",
        "model": "sums",
        "weights": "fixed",
        "precision": "bfloat16",
        "weights_hash": "",
    }


def test_weights_hash_is_the_same_whatever_the_precision() -> None:
    hashes = {_encoder(precision).identity["weights_hash"] for precision in ("float32", "bfloat16", "float16")}
    assert len(hashes) == 1


@pytest.mark.parametrize(
    ("n_parameters", "has_bfloat16", "expected"),
    [(19_999_999, True, "float32"), (20_000_000, True, "bfloat16"), (20_000_000, False, "float32")],
)
def test_auto_precision_on_a_cpu(
    monkeypatch: pytest.MonkeyPatch, n_parameters: int, has_bfloat16: bool, expected: str
) -> None:
    monkeypatch.setattr(frozen, "cpu_has_bfloat16", lambda: has_bfloat16)
    device = torch.device("cpu")
    assert resolve_precision("auto", device=device, n_visual_parameters=n_parameters) == expected
    assert resolve_precision("float16", device=device, n_visual_parameters=n_parameters) == "float16"


@pytest.mark.parametrize(("capability", "expected"), [((7, 5), "float16"), ((8, 0), "bfloat16"), ((9, 0), "bfloat16")])
def test_auto_precision_on_a_gpu(monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], expected: str) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    device = torch.device("cuda:1")
    assert resolve_precision("auto", device=device, n_visual_parameters=86_000_000) == expected
    assert resolve_precision("auto", device=device, n_visual_parameters=1_000_000) == "float32"


def test_processor_without_bfloat16_is_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: "flags : fpu avx2 avx512f avx512_bf16x")
    monkeypatch.setattr(Path, "is_file", lambda _: True)
    assert frozen.cpu_has_bfloat16.__wrapped__() is False
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: "flags : fpu avx512_bf16 avx512f")
    assert frozen.cpu_has_bfloat16.__wrapped__() is True


def test_preprocessing_that_cannot_be_reproduced_names_the_model() -> None:
    numbers = {"crop_size": 4, "resize_size": 4, "mean": (0, 0, 0), "std": (1, 1, 1)}
    with pytest.raises(ValueError, match=r"preprocessing of model 'a-model'.*'longest'"):
        make_preprocess("a-model", resize_mode="longest", interpolation="bicubic", **numbers)
    with pytest.raises(ValueError, match=r"model 'a-model' expects 1 channels"):
        make_preprocess("a-model", resize_mode="squash", interpolation="bicubic", **numbers | {"mean": (0,)})


def test_seeding_repeats_and_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    expected_next = torch.rand(1)
    torch.manual_seed(5)
    with seeded(0):
        first = torch.rand(3)
    with seeded(0):
        assert torch.equal(torch.rand(3), first)
    assert torch.equal(torch.rand(1), expected_next)
