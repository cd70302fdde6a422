"""Reading YAML: the one reader of settings, class splits and prompts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    """Safe YAML in which `1e-4` is a number and a key given twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: list[Any] = []  # not a set: YAML allows keys that have no hash, which are refused below
        for key_node in [key_node for key_node, _ in node.value if key_node.tag != "tag:yaml.org,2002:merge"]:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise _RepeatedKey(f"line {key_node.start_mark.line + 1}: key {key!r} is given twice; remove one")
            seen.append(key)
        return super().construct_mapping(node, deep)


class _RepeatedKey(yaml.YAMLError):
    pass


# YAML 1.1 also reads on, off, yes and no as booleans; `selector_test: off` must stay a word.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^([tT]rue|TRUE|[fF]alse|FALSE)$"), list("tTfF"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def parse_yaml(text: str, *, source: str) -> Any:
    """The content of a YAML text, read safely.

    Raises:
        ValueError: naming `source` and the line, if the text is not YAML or repeats a key.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except _RepeatedKey as error:
        raise ValueError(f"{source}, {error}") from None
    except yaml.YAMLError as error:
        raise ValueError(f"{source} is not valid YAML: {error}") from None


def read_yaml(path: Path) -> Any:
    """The content of a YAML file.

    Raises:
        ValueError: as `parse_yaml`, or if the file is not UTF-8 text.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8 text") from None
    return parse_yaml(text, source=str(path))
