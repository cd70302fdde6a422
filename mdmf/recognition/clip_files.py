"""Where features of single clips are kept: a file for each clip, named by what is in the clip, not by its name.

A renamed or moved clip is known, a changed one is a new one. The files of one source, encoder and frame rule lie in a
folder of their own, with a manifest that names them.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_safetensors

from mdmf.data.features.store import MANIFEST, StoreSettings, check_same_settings
from mdmf.data.video.opening import FRAME_SUFFIXES
from mdmf.files import file_sha256, json_sha256, write_atomic
from mdmf.structures import ImageEncoder


def content_key(path: Path) -> str:
    """Names a video file, or a folder of frame images, by what is in it.

    Raises:
        OSError: if it cannot be read.
    """
    if not path.is_dir():
        return _file_hash(path)[:32]
    digest = hashlib.sha256()
    with os.scandir(path) as entries:
        names = sorted(entry.name for entry in entries if Path(entry.name).suffix.lower() in FRAME_SUFFIXES)
    for name in names:
        digest.update(f"{name}\n{_file_hash(path / name)}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()[:32]


class ClipFiles:
    """The files of one source.

    Args:
        parent: the folder in which theirs is made.
        requested: what decides the features, as far as it is known without loading the encoder.
    """

    def __init__(self, parent: Path, requested: StoreSettings) -> None:
        # What decides random views alone must not part test views that are the same.
        self.requested = replace(requested, rule=requested.rule.test_view)
        key = json_sha256(self.requested.to_json())[:10]
        self.folder = parent / f"{requested.source}-{key}"

    def read(self, key: str, part: str) -> dict[str, np.ndarray] | None:
        """What was kept of a clip; None for nothing, or a damaged file: it is made again.

        Args:
            key: of the clip's content.
            part: what of it, such as `clip`.
        """
        try:
            with safe_open(self._path(key, part), framework="numpy") as file:
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, it is no dict
        except (FileNotFoundError, SafetensorError):
            return None

    def write(self, key: str, part: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Keep arrays of a clip."""
        whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        write_atomic(self._path(key, part), to_safetensors(whole))

    def settings(self) -> StoreSettings | None:
        """All that decides the features, as the encoder said when it was first loaded; None if it never was.

        Raises:
            ValueError: if the manifest is damaged.
        """
        manifest = self._manifest()
        return None if manifest is None else StoreSettings.from_json(manifest["settings"])

    def check_encoder(self, encoder: ImageEncoder) -> None:
        """Write the manifest, or compare it with the encoder that is about to add features.

        Raises:
            StoreMismatch: listing what differs.
            ValueError: if the manifest is damaged.
        """
        settings = self.requested.with_encoder(encoder)
        manifest = self._manifest()
        if manifest is None:
            manifest = {"settings": settings.to_json()}
            write_atomic(self.folder / MANIFEST, (json.dumps(manifest, indent=2) + "\n").encode())
        check_same_settings(self.folder, manifest, settings)

    def _path(self, key: str, part: str) -> Path:
        return self.folder / f"{key}-{part}.safetensors"

    def _manifest(self) -> dict[str, Any] | None:
        path = self.folder / MANIFEST
        try:
            manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            StoreSettings.from_json(manifest["settings"])
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} is damaged ({error}); delete {self.folder} to encode again") from None
        return manifest


def _file_hash(path: Path) -> str:
    if path.exists() and not path.is_file():  # to read a pipe is to wait for ever
        raise OSError(f"{path.name} is neither a file nor a folder")
    return file_sha256(path)
