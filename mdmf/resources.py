"""Paths of shipped prompts, configs, class splits and the tiny encoder, in a checkout and in an installed package."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_FOLDERS = {
    "prompts": (_PACKAGE.parent / "prompts", _PACKAGE / "prompts"),
    "configs": (_PACKAGE.parent / "configs", _PACKAGE / "configs"),
    "splits": (_PACKAGE / "data" / "splits",),
    "tiny": (_PACKAGE / "encoders" / "tiny",),
}


def resource_folder(kind: str) -> Path:
    """Folder of one kind of shipped files: `prompts`, `configs`, `splits` or `tiny`.

    A checkout has prompts and configs at its top level, a wheel inside the package. A folder next to the package is
    used only if there is also a `setup.cfg`, so that an unrelated `configs` folder in site-packages is never read.

    Raises:
        FileNotFoundError: if the installation lacks the folder.
    """
    in_checkout = (_PACKAGE.parent / "setup.cfg").is_file()
    candidates = _FOLDERS[kind] if in_checkout else _FOLDERS[kind][-1:]
    for folder in candidates:
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"the installation has no folder {candidates[-1]}; reinstall mdmf")


def shipped_names(kind: str, suffix: str = ".yaml") -> list[str]:
    """Sorted names, without suffix, of the shipped files of one kind."""
    return sorted(path.stem for path in resource_folder(kind).glob(f"*{suffix}"))


def shipped_folder(kind: str, name: str) -> Path | None:
    """A folder of shipped files by its name (`ablation` or `configs/ablation`); None if it does not exist."""
    parts = Path(name).parts
    inside = parts[1:] if parts[:1] == (kind,) else parts
    if len(inside) != 1 or inside[0] in (".", ".."):
        return None
    folder = resource_folder(kind) / inside[0]
    return folder if folder.is_dir() else None
