"""Frozen encoders of transformers: CLIP-like models (CLIP, SigLIP and similar) by model id or local folder."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from mdmf.encoders.frozen import ClipEncoder, make_preprocess, seeded
from mdmf.encoders.weights import RANDOM, first_line, names_a_file, quick_hub, read_weights, unavailable
from mdmf.structures import Preprocess

PRETRAINED = "pretrained"
# Models with the default configuration of the library: random weights of them need no file.
_KNOWN_CONFIGURATIONS = {
    "openai/clip-vit-base-patch32": transformers.CLIPConfig,
    "google/siglip-base-patch16-224": transformers.SiglipConfig,
}
_INTERPOLATIONS = {2: "bilinear", 3: "bicubic"}  # PIL's numbers
_SIGLIP_MEAN = _SIGLIP_STD = (0.5, 0.5, 0.5)


class TransformersEncoder(ClipEncoder):
    """A FrozenEncoder around a transformers model; its tokenizer is read for the first sentence."""

    def __init__(self, model: Any, *, source: str, **settings: Any) -> None:
        self._source = source
        self._tokenizer: Any = None
        self._is_siglip = model.config.model_type.startswith("siglip")
        super().__init__(model, visual=getattr(model, "vision_model", model), **settings)

    def _embed_pixels(self, pixels: Tensor) -> Tensor:
        return _features(self._model.get_image_features(pixel_values=pixels))

    def _embed_sentences(self, sentences: list[str]) -> Tensor:
        if self._tokenizer is None:
            self._tokenizer = _read_tokenizer(self._source, n_tokens=self._model.config.text_config.vocab_size)
        n_positions = self._model.config.text_config.max_position_embeddings
        tokens = self._tokenizer(
            sentences,
            padding="max_length" if self._is_siglip else True,
            truncation=True,
            max_length=min(n_positions, self._tokenizer.model_max_length),
            return_tensors="pt",
        )
        # SigLIP was trained on sentences padded to full length, without an attention mask.
        names = ["input_ids"] if self._is_siglip else ["input_ids", "attention_mask"]
        return _features(self._model.get_text_features(**{name: tokens[name].to(self.device) for name in names}))


def load_transformers(
    model: str, weights: str, *, device: str | torch.device, precision: str, seed: int = 0
) -> TransformersEncoder:
    """Load a CLIP-like model of transformers; code in a model repository is never run.

    Args:
        model: a model id (`openai/clip-vit-base-patch16`) or a local folder with `config.json`.
        weights: `pretrained` (those of the id or folder; also the meaning of an empty text), the path of a local
            file, or `random`.
        seed: seed of random weights.

    Raises:
        ValueError: for a model without joint image and text features, weights that do not fit, or preprocessing that
            mdmf cannot reproduce.
        FileNotFoundError: if the folder is missing, or the model is not on this machine and cannot be downloaded.
    """
    source = _source(model)
    is_file = weights not in ("", PRETRAINED, RANDOM)
    if is_file and not names_a_file(weights):
        raise ValueError(f"weights of {model!r} are {PRETRAINED!r}, {RANDOM!r} or the path of a file, got {weights!r}")
    try:
        with _hub_if_needed(source):
            is_published = weights in ("", PRETRAINED)
            module = _published_model(source) if is_published else _random_model(source, seed=0 if is_file else seed)
            preprocess = _read_preprocess(source, module.config, is_random=weights == RANDOM)
    except OSError as error:
        if Path(source).is_dir():
            raise FileNotFoundError(f"model folder {source} is incomplete: {first_line(error)}") from error
        raise unavailable("transformers", model, weights or PRETRAINED, [], error) from error
    weights_name = f"{RANDOM} (seed {seed})" if weights == RANDOM else PRETRAINED
    if is_file:
        weights_name = _load_file(module, Path(weights).expanduser(), model=model)
    name = Path(source).resolve().name if Path(source).is_dir() else model
    return TransformersEncoder(
        module,
        source=source,
        names={"library": "transformers", "model": name, "weights": weights_name},
        preprocess=preprocess,
        device=device,
        precision=precision,
    )


def _source(model: str) -> str:
    """The model id, or the folder with `~` resolved."""
    path = Path(model).expanduser()
    if path.is_dir():
        return str(path)
    if model.startswith(("/", "~", ".")) or model.count("/") > 1:
        raise FileNotFoundError(f"no model folder {path}; give a local folder with config.json, or a model id")
    return model


def _hub_if_needed(source: str) -> AbstractContextManager[None]:
    return nullcontext() if Path(source).is_dir() else quick_hub()


def _published_model(source: str) -> Any:
    module, loading = transformers.AutoModel.from_pretrained(source, trust_remote_code=False, output_loading_info=True)
    _check_clip_like(module, source)
    if loading["missing_keys"]:  # the library would leave these at random values
        missing = ", ".join(sorted(loading["missing_keys"])[:3])
        raise ValueError(f"the weights of {source!r} lack {len(loading['missing_keys'])} tensors ({missing}, ...)")
    return module


def _random_model(source: str, *, seed: int) -> Any:
    if source in _KNOWN_CONFIGURATIONS:
        configuration = _KNOWN_CONFIGURATIONS[source]()
    else:
        configuration = transformers.AutoConfig.from_pretrained(source, trust_remote_code=False)
    with seeded(seed):
        module = transformers.AutoModel.from_config(configuration, trust_remote_code=False)
    _check_clip_like(module, source)
    return module


def _check_clip_like(module: nn.Module, source: str) -> None:
    required = ("get_image_features", "get_text_features", "logit_scale")
    missing = [name for name in required if not hasattr(module, name)]
    if missing:
        raise ValueError(
            f"{source!r} is a {type(module).__name__} without {', '.join(missing)}; mdmf needs a model with joint "
            "image and text features, such as CLIPModel or SiglipModel"
        )


def _load_file(module: nn.Module, path: Path, *, model: str) -> str:
    """Load a local file into the model, and return its name for the identity."""
    # Files of earlier versions of the library also contain the buffer position_ids, which is not a weight.
    state = {name: tensor for name, tensor in read_weights(path).items() if not name.endswith("position_ids")}
    try:
        module.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise ValueError(
            f"{path} does not fit model {model!r}; choose the model it is for: {str(error)[:400]}"
        ) from error
    return path.name


def _read_preprocess(source: str, configuration: Any, *, is_random: bool) -> Preprocess:
    has_processor = not Path(source).is_dir() or (Path(source) / "preprocessor_config.json").is_file()
    if is_random and (source in _KNOWN_CONFIGURATIONS or not has_processor):
        return _default_preprocess(source, configuration)
    processor = transformers.AutoImageProcessor.from_pretrained(source, trust_remote_code=False)
    return preprocess_of_processor(processor.to_dict(), model=source)


def _default_preprocess(source: str, configuration: Any) -> Preprocess:
    """The default preprocessing of this kind of model; for random weights, which have no image processor."""
    size = configuration.vision_config.image_size
    if configuration.model_type.startswith("siglip"):
        return Preprocess(size, size, resize_mode="squash", mean=_SIGLIP_MEAN, std=_SIGLIP_STD)
    return Preprocess(size, size)


def preprocess_of_processor(settings: dict[str, Any], *, model: str) -> Preprocess:
    """The settings of an image processor (`preprocessor_config.json`) as a record.

    Resizing uses PIL, as in the training of these models; pixels differ slightly from the torchvision backend of
    transformers. If a crop removes an odd number of rows or columns, transformers may start one pixel earlier.

    Raises:
        ValueError: naming the model, if mdmf cannot reproduce the preprocessing.
    """
    resize_mode, resize_size = _resize(settings.get("size") or {})
    crop = settings.get("crop_size") or {}
    sides = {crop.get("height"), crop.get("width")} if settings.get("do_center_crop") else {resize_size}
    interpolation = _INTERPOLATIONS.get(settings.get("resample", -1), "unknown")
    steps = [settings.get(step) for step in ("do_resize", "do_rescale", "do_normalize")]
    is_plain = all(steps) and not settings.get("do_pad") and abs(settings["rescale_factor"] * 255 - 1) < 1e-6
    is_cropped = bool(settings.get("do_center_crop")) or resize_mode == "squash"
    if not (is_plain and is_cropped and resize_size and len(sides) == 1 and None not in sides):
        raise ValueError(
            f"mdmf cannot reproduce the preprocessing of model {model!r}. mdmf resizes to a shortest edge or a square, "
            f"crops a square, scales by 1/255 and normalises; the image processor of the model has {settings}"
        )
    return make_preprocess(
        model,
        crop_size=int(sides.pop() or 0),
        resize_size=resize_size,
        resize_mode=resize_mode,
        interpolation=interpolation,
        mean=settings["image_mean"],
        std=settings["image_std"],
    )


def _resize(size: dict[str, int | None]) -> tuple[str, int]:
    """Mode and size of a resize; size 0 if it is neither to a shortest edge nor to a square."""
    sides = {name: value for name, value in size.items() if value is not None}
    if sides.keys() == {"shortest_edge"}:
        return "shortest", int(sides["shortest_edge"])
    if sides.keys() == {"height", "width"} and sides["height"] == sides["width"]:
        return "squash", int(sides["height"])
    return "squash", 0


def _read_tokenizer(source: str, *, n_tokens: int) -> Any:
    try:
        with _hub_if_needed(source):
            tokenizer = transformers.AutoTokenizer.from_pretrained(source, trust_remote_code=False)
        if len(tokenizer) < n_tokens / 2:  # transformers 5 returns an empty tokenizer if its files are missing
            raise ValueError(f"the tokenizer has {len(tokenizer)} tokens, the model {n_tokens}")
    except (OSError, ValueError, ImportError) as error:
        raise FileNotFoundError(
            f"the tokenizer of transformers model {source!r} is not on this machine and cannot be downloaded "
            f"({first_line(error)}); put its files next to config.json, or run once with a connection"
        ) from error
    return tokenizer


def _features(output: Any) -> Tensor:
    """The projected features: transformers 4 returns a tensor, transformers 5 an output object."""
    return output if isinstance(output, Tensor) else output.pooler_output
