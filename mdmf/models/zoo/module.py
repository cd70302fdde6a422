"""A method of the user's own: `model: {name: module, module: my_method}` with a file `my_method.py`.

The file has the form of the files beside this one: settings, modules, registration. It is imported, which runs its
code, only after the user has agreed with --allow-code (`allow_code=True` in Python).
"""

from __future__ import annotations

from typing import Any

from pydantic import Field, ValidationError

from mdmf.models.method import Method
from mdmf.models.registry import FeatureInfo, RegisteredMethod, register
from mdmf.own_code import import_own
from mdmf.registry import METHODS
from mdmf.settings import MethodSettings
from mdmf.source_settings import DEFAULT_SOURCE


class OwnMethodSettings(MethodSettings):
    """Settings of a method of the user's own."""

    module: str = Field(description="your module, as Python imports it; package.module:name if it registers several")
    options: dict[str, Any] = Field({}, description="your method's own settings, by name")
    sources: tuple[str, ...] = Field((DEFAULT_SOURCE,), min_length=1, description="names of the sources it looks at")

    @property
    def used_sources(self) -> tuple[str, ...]:
        """Those that are set: they are known before the module is imported."""
        return self.sources

    @property
    def table_name(self) -> str:
        """The module's name."""
        return self.module.partition(":")[0].rpartition(".")[2]

    def resolved(self, *, allow_code: bool) -> MethodSettings:
        """The settings that the user's own class makes of the options.

        Raises:
            ValueError: without the user's consent, or if the module cannot be imported, registers no such method, or
                its class refuses the options.
        """
        entry = self._registered(allow_code=allow_code)
        fields = entry.settings.model_fields
        values: dict[str, Any] = {"name": entry.name, "text_weight": self.text_weight}
        if "sources" in fields:
            values["sources"] = self.sources
        elif "source" in fields:
            if len(self.sources) != 1:
                raise ValueError(f"{self.module!r} looks at one source, got model.sources={list(self.sources)}")
            values["source"] = self.sources[0]
        try:
            return entry.settings.model_validate({**values, **self.options})
        except ValidationError as error:
            problems = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
            raise ValueError(f"model.options of {self.module!r}: " + "; ".join(problems)) from None

    def _registered(self, *, allow_code: bool) -> RegisteredMethod:
        module, _, name = self.module.partition(":")
        import_own(module, setting="model.name=module", allow_code=allow_code)
        entries: dict[str, RegisteredMethod] = {
            key: METHODS[key] for key in METHODS if METHODS[key].make.__module__ == module
        }
        chosen = [entry for key, entry in entries.items() if not name or name in (key, entry.make.__name__)]
        if len(chosen) != 1:
            raise ValueError(
                f"expected {self.module!r} to name one method that {module!r} registers with @register; "
                f"it registers {', '.join(entries) or 'none'}"
            )
        return chosen[0]


@register("module", OwnMethodSettings, citation="your own", reads_text=True)
def make_own_method(settings: OwnMethodSettings, features: FeatureInfo) -> Method:
    """Never called: the settings are resolved to those of the user's class first."""
    raise TypeError("a method of the user's own is made from its resolved settings")
