"""Text features of classes that another program made, in a file: in the place of an encoder's."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file

from mdmf.class_names import class_key, some_of
from mdmf.encoders.text_cache import ClassText

DEFAULT_LOGIT_SCALE = 100.0  # of CLIP
_LOGIT_SCALE = "logit_scale"


def read_class_text(path: Path, names: Sequence[str]) -> ClassText:
    """The text features of some classes.

    Args:
        path: a safetensors or `.npz` file with one vector per class name (case, spaces and underscores may differ), and
            `logit_scale`, the multiplier of cosine similarities, if it is not 100.
        names: of the classes.

    Raises:
        ValueError: if the file cannot be read, a class is missing, or a vector is not finite or of another size.
    """
    arrays = _read(path)
    by_key = {class_key(name): np.asarray(array) for name, array in arrays.items() if name != _LOGIT_SCALE}
    missing = [name for name in names if class_key(name) not in by_key]
    if missing:
        raise ValueError(f"{path} has no text feature of {some_of(missing)}; it has {some_of(list(arrays))}")
    features = {name: by_key[class_key(name)].astype(np.float32) for name in names}
    size = next(iter(features.values())).shape
    for name, feature in features.items():
        if feature.ndim != 1 or feature.shape != size or not np.isfinite(feature).all():
            raise ValueError(f"{path}: expected finite vectors of one size, got {feature.shape} for {name!r}")
    scale = float(np.asarray(arrays.get(_LOGIT_SCALE, DEFAULT_LOGIT_SCALE)).item())
    return ClassText({name: torch.from_numpy(feature) for name, feature in features.items()}, scale)


def _read(path: Path) -> Mapping[str, np.ndarray]:
    try:
        if path.suffix.lower() != ".npz":
            return load_file(path)
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, SafetensorError, TypeError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} cannot be read as text features (safetensors or .npz): {error}") from None
