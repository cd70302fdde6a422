import ast
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from mdmf.encoders import clip, frozen, weights
from mdmf.encoders.clip import load_encoder
from mdmf.structures import Preprocess

IDENTITY = {"library": "module", "model": "mine", "weights": "w", "precision": "float32", "weights_hash": "0" * 16}

OWN_ENCODER = f"""
import torch
from mdmf.structures import Preprocess

class Mine:
    identity = {IDENTITY}
    preprocess = Preprocess(8, 8)
    feature_size = 3
    logit_scale = 100.0

    def __init__(self, **given):
        self.given = given

    def encode_images(self, frames):
        return frames.float().mean(dim=(1, 2))

    def encode_texts(self, sentences):
        return torch.zeros(len(sentences), 3)

def make(*, device, precision, weights):
    return Mine(device=device, precision=precision, weights=weights)

def forgetful(**given):
    mine = Mine(**given)
    mine.identity, mine.logit_scale = {{"library": "module"}}, None
    return mine

def misshapen(**given):
    mine = Mine(**given)
    mine.feature_size = 4
    return mine

not_a_function = 3
"""


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "own_encoder_for_test.py").write_text(OWN_ENCODER, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_encoder_for_test", raising=False)
    return "own_encoder_for_test"


def _load_own(name: str, **settings: Any) -> Any:
    return load_encoder(library="module", model=name, weights="w", allow_code=True, **settings)


def test_own_encoder_gets_the_settings(own_module: str) -> None:
    encoder = _load_own(f"{own_module}:make", device="cpu", precision="bfloat16")
    assert encoder.given == {"device": "cpu", "precision": "bfloat16", "weights": "w"}
    assert encoder.identity == IDENTITY
    assert encoder.preprocess == Preprocess(8, 8)


def test_own_encoder_is_not_imported_without_consent(own_module: str) -> None:
    with pytest.raises(ValueError, match=r"import 'own_encoder_for_test'.*--allow-code"):
        load_encoder(library="module", model=f"{own_module}:make")
    assert own_module not in sys.modules


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("absent", "has no function 'absent'"),
        ("not_a_function", "has no function 'not_a_function'"),
        (
            "forgetful",
            r"returned a Mine, which is no encoder; it needs identity: .*weights_hash; logit_scale: a float$",
        ),
        ("misshapen", r"must return float32 of shape .*\(2, 4\); got torch.float32 \(2, 3\)"),
    ],
)
def test_own_encoder_is_checked_once_at_the_start(own_module: str, factory: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _load_own(f"{own_module}:{factory}")


def test_dotted_paths_that_lead_nowhere() -> None:
    with pytest.raises(ValueError, match="no module 'absent_package_for_test'"):
        _load_own("absent_package_for_test.encoders:make")
    for name in ("json.loads", ":make", "json:", ""):
        with pytest.raises(ValueError, match=r"'package\.module:factory', got"):
            _load_own(name)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"library": "clip"}, "library must be one of open_clip, transformers, tiny, module, got 'clip'"),
        ({"library": "tiny", "precision": "half"}, "precision must be 'auto' or one of"),
        ({"library": "open_clip"}, "needs a model and weights"),
        ({"library": "open_clip", "model": "ViT-B-16"}, "needs a model and weights, got model 'ViT-B-16'"),
        ({"library": "transformers", "weights": "random"}, "needs a model and weights"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_encoder(**settings)


def test_every_library_is_reached(small_model: Path) -> None:
    encoder = load_encoder(library="open_clip", model=str(small_model), weights="random", seed=3)
    assert encoder.identity["weights"] == "random (seed 3)"
    assert encoder.identity["precision"] == "float32"  # `auto` of a small model
    assert encoder.encode_images(torch.zeros(1, 32, 32, 3, dtype=torch.uint8)).shape == (1, encoder.feature_size)
    with pytest.raises(ValueError, match="no model 'ViT-B-17'; nearest: ViT-B-16"):
        load_encoder(library="open_clip", model="ViT-B-17", weights="openai")
    with pytest.raises(FileNotFoundError, match="no model folder"):
        load_encoder(library="transformers", model="./absent", weights="random")
    with pytest.raises(ValueError, match="one model, 'tiny_clip'"):
        load_encoder(library="tiny", model="huge_clip")


@pytest.mark.parametrize("module", [clip, frozen, weights])
def test_heavy_libraries_are_imported_only_when_asked_for(module: ModuleType) -> None:
    statements = ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8")).body
    names = [alias.name for statement in statements if isinstance(statement, ast.Import) for alias in statement.names]
    names += [str(statement.module) for statement in statements if isinstance(statement, ast.ImportFrom)]
    assert "torch" in names
    assert not {"open_clip", "transformers", "torchvision", "timm"} & {name.split(".")[0] for name in names}
    assert not any(
        name.endswith(("open_clip_encoder", "open_clip_described", "transformers_encoder")) for name in names
    )
