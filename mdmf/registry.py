"""Plug-ins by name, one file each: methods, kinds of sources, listing formats.

A new part is a new file in the registry's package; nothing else names it.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Registry(Generic[T]):
    """Entries by name.

    The modules of the package are imported, and register their entries, when an entry is first looked up.

    Args:
        what: the entries are, for messages: `method`.
        package: dotted name of the package whose modules register entries.
    """

    def __init__(self, what: str, package: str) -> None:
        self.what, self._package = what, package
        self._entries: dict[str, T] = {}
        self._modules: dict[str, str] = {}  # name -> module that registered it
        self._is_loaded = False

    def add(self, name: str, entry: T, *, module: str) -> None:
        """Register an entry of a module; a module that is imported again replaces its entry.

        Raises:
            ValueError: if another module has registered the name.
        """
        owner = self._modules.setdefault(name, module)
        if owner != module:
            raise ValueError(f"a {self.what} named {name!r} is registered by {owner!r} already; choose another name")
        self._entries[name] = entry

    def __getitem__(self, name: str) -> T:
        self._load()
        if name not in self._entries:
            nearest = difflib.get_close_matches(name, self._entries, n=1, cutoff=0.5)
            hint = f"did you mean {nearest[0]!r}? " if nearest else ""
            raise ValueError(f"unknown {self.what} {name!r}; {hint}Known: {', '.join(self)}")
        return self._entries[name]

    def __contains__(self, name: str) -> bool:
        self._load()
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        self._load()
        return iter(sorted(self._entries))

    def _load(self) -> None:
        if self._is_loaded:
            return
        package = importlib.import_module(self._package)
        for module in sorted(info.name for info in pkgutil.iter_modules(package.__path__)):
            importlib.import_module(f"{self._package}.{module}")
        self._is_loaded = True


# Filled when the packages are imported; each package documents its entries.
METHODS: Registry[Any] = Registry("method", "mdmf.models.zoo")
SOURCE_KINDS: Registry[Any] = Registry("kind of source", "mdmf.data.sources")
LISTING_FORMATS: Registry[Any] = Registry("listing format", "mdmf.data.listing")
