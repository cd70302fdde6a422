"""A user's own Python code (an encoder, a method): imported by name, and only after the user has agreed."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any


def import_own(module: str, *, setting: str, allow_code: bool) -> ModuleType:
    """Import a user's module.

    Args:
        module: its dotted name.
        setting: that asks for it, for messages: `encoder.library=module`.
        allow_code: whether the user agreed that the module is imported, which runs its code.

    Raises:
        ValueError: without the user's consent, or where the module is missing or fails.
    """
    if not allow_code:
        raise ValueError(
            f"{setting} would import {module!r} and run its code. Settings may not do that on their own: if you "
            "trust it, say so with --allow-code (allow_code=True in Python)"
        )
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"cannot import {module!r}: no module {error.name!r}; install it, or put its folder on PYTHONPATH"
        ) from error
    except (Exception, SystemExit) as error:  # whatever it does, it is not ours: say whose it is
        raise ValueError(f"{module!r} fails when it is imported: {type(error).__name__}: {error}") from error


def own_factory(name: str, *, what: str, setting: str, allow_code: bool) -> Callable[..., Any]:
    """The function that `package.module:factory` names.

    Args:
        name: of module and function.
        what: it makes, for messages: `an encoder`.
        setting: that asks for it, for messages: `encoder.library=module`.
        allow_code: whether the user agreed that the module is imported, which runs its code.

    Raises:
        ValueError: for another form of name, without the user's consent, or where module or function are missing.
    """
    module_name, separator, factory_name = name.partition(":")
    if not (module_name and separator and factory_name):
        raise ValueError(f"{what} of your own is named 'package.module:factory', got {name!r}")
    module = import_own(module_name, setting=setting, allow_code=allow_code)
    factory = getattr(module, factory_name, None)
    if not callable(factory):
        raise ValueError(f"module {module_name!r} has no function {factory_name!r}")
    return factory  # type: ignore[no-any-return]
