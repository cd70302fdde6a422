"""The names of what may be done to a test's input on purpose; `mdmf/data/views/corruption.py` does it."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass

KINDS = ("noise", "blur", "feature_noise", "drop", "freeze", "missing")
FRAME_KINDS = ("noise", "blur")
_SHARE_KINDS = ("drop", "freeze", "missing")
_FORM = "kind:strength, such as noise:0.2"


@dataclass(frozen=True)
class Corruption:
    """One way to harm a source, and how much; `str` gives the text that `parse_corruption` reads.

    Attributes:
        kind: one of `KINDS`.
        strength: 0 harms nothing.
            `noise`: standard deviation, in parts of the range of a pixel;
            `blur`: standard deviation, in percent of the shortest side of a frame;
            `feature_noise`: length of the noise, in lengths of the feature;
            `drop`: probability that a frame is lost;
            `freeze`: share of the frames, at the end, in which nothing moves;
            `missing`: probability that the whole source is missing.
    """

    kind: str
    strength: float

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            nearest = difflib.get_close_matches(str(self.kind), KINDS, n=1, cutoff=0.5)
            hint = f"did you mean {nearest[0]}?" if nearest else f"expected one of {KINDS}"
            raise ValueError(f"unknown kind of corruption {self.kind!r}; {hint}")
        if not math.isfinite(self.strength) or self.strength < 0:
            raise ValueError(f"the strength of {self.kind} must be finite and at least 0, got {self.strength}")
        if self.kind in _SHARE_KINDS and self.strength > 1:
            raise ValueError(f"the strength of {self.kind} is a share, at most 1, got {self.strength}")
        object.__setattr__(self, "strength", abs(float(self.strength)))  # one text for 1 and 1.0, for 0.0 and -0.0

    def __str__(self) -> str:
        return f"{self.kind}:{repr(self.strength).removesuffix('.0')}"


def parse_corruption(text: str) -> Corruption:
    """The corruption that a text such as `noise:0.2` names.

    Raises:
        ValueError: for another form, an unknown kind, or a strength that the kind does not have.
    """
    kind, _, number = text.partition(":")
    try:
        strength = float(number)
    except ValueError:
        strength = None
    if strength is None or "_" in number:  # float() takes 1_0 for ten: here it is more likely a typing error
        raise ValueError(f"cannot read the corruption {text!r}; expected {_FORM}")
    try:
        return Corruption(kind.strip(), strength)
    except ValueError as error:
        raise ValueError(f"{error} (in {text!r}; expected {_FORM})") from None
