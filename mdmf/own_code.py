"""Import of Python code of the user (an encoder, a method), by name and only with consent."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any


def import_own(module: str, *, setting: str, allow_code: bool) -> ModuleType:
    """Import a module of the user.

    Args:
        module: dotted name.
        setting: setting that names it, for error messages, such as `encoder.library=module`.
        allow_code: consent to the import, which runs the code of the module.

    Raises:
        ValueError: without consent, or if the module is missing or fails.
    """
    if not allow_code:
        raise ValueError(
            f"{setting} would import {module!r} and run its code, which needs your consent: if you trust the "
            "module, pass --allow-code (allow_code=True in Python)"
        )
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"cannot import {module!r}: no module {error.name!r}; install it, or put its folder on PYTHONPATH"
        ) from error
    except (Exception, SystemExit) as error:  # the module may raise anything
        raise ValueError(f"{module!r} fails when it is imported: {type(error).__name__}: {error}") from error


def own_factory(name: str, *, what: str, setting: str, allow_code: bool) -> Callable[..., Any]:
    """The function `package.module:factory`.

    Args:
        name: name of module and function.
        what: the kind of its result, for error messages, such as `an encoder`.
        setting: setting that names it, for error messages, such as `encoder.library=module`.
        allow_code: consent to the import, which runs the code of the module.

    Raises:
        ValueError: for a name of another form, without consent, or if module or function are missing.
    """
    module_name, separator, factory_name = name.partition(":")
    if not (module_name and separator and factory_name):
        raise ValueError(f"expected {what} of your own as 'package.module:factory', got {name!r}")
    module = import_own(module_name, setting=setting, allow_code=allow_code)
    factory = getattr(module, factory_name, None)
    if not callable(factory):
        raise ValueError(f"module {module_name!r} has no function {factory_name!r}")
    return factory  # type: ignore[no-any-return]
