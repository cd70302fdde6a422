"""Arrays of numbers that another program wrote: `.npy`, and safetensors and HDF5 files with a key per array.

Nothing here runs code from a file: a pickle inside an array file is refused.
"""

from __future__ import annotations

import zipfile
from abc import ABC, abstractmethod
from pathlib import Path
from tokenize import TokenError
from types import TracebackType
from typing import Any, Self

import numpy as np
from safetensors import SafetensorError, safe_open

ARRAY_SUFFIX = ".npy"
HDF5_SUFFIXES = (".h5", ".hdf5")
KEYED_SUFFIXES = (".safetensors", *HDF5_SUFFIXES)
_SAFETENSORS_FLOATS = ("F16", "F32", "F64")

# What numpy raises for a damaged file.
_NPY_ERRORS = (OSError, ValueError, EOFError, SyntaxError, TypeError, OverflowError, TokenError, zipfile.BadZipFile)


def open_npy(file: Path) -> np.ndarray:
    """The floating-point array in a `.npy` file, mapped: a header that claims more than the file holds is refused.

    Raises:
        ValueError: naming the file, if it holds no array of floats.
    """
    try:
        array = np.load(file, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise ValueError(f"there is no file {file}") from None
    except _NPY_ERRORS as error:
        raise ValueError(f"{file.name} cannot be read as an array of numbers: {error}") from error
    if not isinstance(array, np.ndarray):
        array.close()
        raise ValueError(f"{file.name} is an archive (.npz) with the name of an array (.npy)")
    if array.dtype.kind != "f":
        raise ValueError(f"{file.name} holds {array.dtype}; expected float16, float32 or float64")
    return array


class KeyedArrays(ABC):
    """The arrays of one file by key; a context manager.

    Raises:
        ValueError: naming the file, if it is missing or damaged.
    """

    def __init__(self, file: Path) -> None:
        self.file = file

    @abstractmethod
    def keys(self) -> list[str]:
        """The keys, sorted."""

    def has(self, key: str) -> bool:
        """Whether there is an array of this key."""
        try:
            self.shape(key)
        except ValueError:
            return False
        return True

    @abstractmethod
    def shape(self, key: str) -> tuple[int, ...]:
        """The shape of an array.

        Raises:
            ValueError: if there is no such key, or it holds no floats.
        """

    @abstractmethod
    def read(self, key: str) -> np.ndarray:
        """An array of floats.

        Raises:
            ValueError: if there is no such key, or it holds no floats.
        """

    @abstractmethod
    def close(self) -> None:
        """Close the file."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _no_key(self, key: str) -> ValueError:
        return ValueError(f"{self.file.name} has no key {key!r}")

    def _no_floats(self, key: str, type_name: str) -> ValueError:
        return ValueError(f"{key!r} of {self.file.name} holds {type_name}; save it as float16, float32 or float64")


class _SafetensorsArrays(KeyedArrays):
    def __init__(self, file: Path) -> None:
        super().__init__(file)
        try:
            self._open = safe_open(file, framework="numpy")
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{file} cannot be read as a safetensors file: {error}") from None
        self._keys = frozenset(self._open.keys())

    def keys(self) -> list[str]:
        return sorted(self._keys)

    def shape(self, key: str) -> tuple[int, ...]:
        if key not in self._keys:
            raise self._no_key(key)
        array = self._open.get_slice(key)
        if array.get_dtype() not in _SAFETENSORS_FLOATS:
            raise self._no_floats(key, array.get_dtype())
        return tuple(array.get_shape())

    def read(self, key: str) -> np.ndarray:
        self.shape(key)
        return self._open.get_tensor(key)

    def close(self) -> None:
        del self._open


class _Hdf5Arrays(KeyedArrays):
    def __init__(self, file: Path) -> None:
        super().__init__(file)
        try:
            import h5py
        except ImportError:
            raise ImportError(f"to read {file.name}, install h5py: pip install 'mdmf[hdf5]'") from None
        self._dataset: Any = h5py.Dataset
        try:
            self._open = h5py.File(file, "r")
        except OSError as error:
            raise ValueError(f"{file} cannot be read as an HDF5 file: {error}") from None

    def keys(self) -> list[str]:
        names: list[str] = []
        self._open.visititems(lambda name, item: names.append(name) if isinstance(item, self._dataset) else None)
        return sorted(names)

    def shape(self, key: str) -> tuple[int, ...]:
        array = self._open.get(key)
        if not isinstance(array, self._dataset):
            raise self._no_key(key)
        if array.dtype.kind != "f":
            raise self._no_floats(key, str(array.dtype))
        return tuple(array.shape)

    def read(self, key: str) -> np.ndarray:
        self.shape(key)
        try:
            return self._open[key][...]
        except OSError as error:
            raise ValueError(f"{key!r} of {self.file.name} cannot be read: {error}") from None

    def close(self) -> None:
        self._open.close()


def open_keyed(file: Path) -> KeyedArrays:
    """Open a safetensors or HDF5 file.

    Raises:
        ValueError: naming the file, if it is missing, damaged or of another kind.
        ImportError: if h5py is missing; says how to install it.
    """
    suffix = file.suffix.lower()
    if suffix not in KEYED_SUFFIXES:
        raise ValueError(f"{file} is no file of arrays by key; expected {', '.join(KEYED_SUFFIXES)}")
    return _Hdf5Arrays(file) if suffix in HDF5_SUFFIXES else _SafetensorsArrays(file)
