"""Faults of a listing: the index raises the first one, the data doctor reports all of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(eq=False)
class Fault(ValueError):  # noqa: N818, a record of what is wrong that can also be raised
    """Something in a listing or a class split that must be mended.

    Attributes:
        where: file and line, folder, or setting: `list.csv, line 3`.
        problem: what was expected, and what was found.
        fix: what to do.
        code: the kind of fault, by which the doctor groups them: `listing`, `listed-twice`, `video-in-two-splits`,
            `class-in-two-splits`, `class-spelling`, or another one of a format.
        class_name: the class, if the fault is about one.
        split: of that class or line, if known.
        is_error: whether the index raises it; otherwise the doctor warns of it.
    """

    where: str
    problem: str
    fix: str
    code: str = "listing"
    class_name: str = ""
    split: str = ""
    is_error: bool = True

    def __str__(self) -> str:
        return f"{self.where}: {self.problem}; {self.fix}"


class MissingFile(Fault, FileNotFoundError):  # noqa: N818
    """A file that does not exist."""
