"""What a recognizer says of clips, or of the windows of long ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pandas import DataFrame

UNKNOWN = "none of these"


@dataclass(frozen=True)
class Moment:
    """The part of a clip that a row is about; all None for a clip that could not be read.

    `end_frame` is the first frame that is not in it; the seconds are None where the clip does not say them.
    """

    first_frame: int | None = None
    end_frame: int | None = None
    start_seconds: float | None = None
    end_seconds: float | None = None


NO_MOMENT = Moment()


@dataclass(frozen=True, eq=False)
class Predictions:
    """Answers, a row for each clip or window, n rows, N classes.

    A row that has no answer is not left out: its posterior is not a number, and its note says why.

    Attributes:
        classes: names, in order.
        clips: (n) as they were asked for.
        posterior: (n, N), softmax of the model's logits; not calibrated.
        branch_posteriors: branch -> (n, N).
        trusted: (n) the branch with the largest share in the answer; where shares are fixed, the surest; "" for none.
        notes: (n) what must be known of a row, such as why it has no answer; "" for nothing.
        moments: (n) for windows; None for whole clips.
        unknown_below: an answer with a smaller probability is `UNKNOWN`; None: every answer is a class.
        about: what answered, as plain values.
    """

    classes: tuple[str, ...]
    clips: tuple[str, ...]
    posterior: np.ndarray
    branch_posteriors: dict[str, np.ndarray]
    trusted: tuple[str, ...]
    notes: tuple[str, ...]
    moments: tuple[Moment, ...] | None = None
    unknown_below: float | None = None
    about: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.clips)

    @property
    def has_answer(self) -> np.ndarray:
        """(n,) bool, False for clips that could not be read."""
        return np.isfinite(self.posterior).all(axis=1)

    @property
    def best(self) -> list[str | None]:
        """(n) the class of the largest posterior, the first of equal ones; None without an answer."""
        return self._names(self._ranked[:, 0])

    @property
    def second_best(self) -> list[str | None]:
        """(n) the class of the second largest posterior."""
        return self._names(self._ranked[:, 1])

    @property
    def answers(self) -> list[str | None]:
        """(n) the best class, or `UNKNOWN` where its probability is below `unknown_below`."""
        limit = self.unknown_below or 0.0
        return [
            UNKNOWN if name is not None and probability < limit else name
            for name, probability in zip(self.best, self.probability, strict=True)
        ]

    @property
    def probability(self) -> np.ndarray:
        """(n,) of the best class."""
        return np.take_along_axis(self.posterior, self._ranked[:, :1], axis=1)[:, 0]

    @property
    def second_probability(self) -> np.ndarray:
        """(n,) of the second best class."""
        return np.take_along_axis(self.posterior, self._ranked[:, 1:2], axis=1)[:, 0]

    @property
    def certainty(self) -> dict[str, np.ndarray]:
        """branch -> (n,), the largest posterior of the branch."""
        return {branch: posterior.max(axis=1) for branch, posterior in self.branch_posteriors.items()}

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values, as JSON holds them; None in the place of what is no number."""
        certainty, best, second, answers = self.certainty, self.best, self.second_best, self.answers
        probability, second_probability = self.probability, self.second_probability  # each ranks all rows
        rows = []
        for row, clip in enumerate(self.clips):
            part = {} if self.moments is None else vars(self.moments[row])
            rows.append(
                {
                    "clip": clip,
                    **part,
                    "answer": answers[row],
                    "best": best[row],
                    "probability": _number(probability[row]),
                    "second_best": second[row],
                    "second_probability": _number(second_probability[row]),
                    "certainty": {branch: _number(values[row]) for branch, values in certainty.items()},
                    "trusted": self.trusted[row] or None,
                    "posterior": dict(zip(self.classes, map(_number, self.posterior[row]), strict=True)),
                    "note": self.notes[row],
                }
            )
        return {
            "classes": list(self.classes),
            "branches": list(self.branch_posteriors),
            "unknown_below": self.unknown_below,
            **self.about,
            "rows": rows,
        }

    def to_frame(self) -> DataFrame:
        """The rows as a table of pandas (`flat_rows`)."""
        import pandas

        return pandas.DataFrame(flat_rows(self.to_dict()))

    @property
    def _ranked(self) -> np.ndarray:
        """(n, N) classes by falling posterior, the first of equal ones first."""
        return np.argsort(-self.posterior, axis=1, kind="stable")

    def _names(self, places: np.ndarray) -> list[str | None]:
        return [self.classes[place] if there else None for place, there in zip(places, self.has_answer, strict=True)]


def flat_rows(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of `Predictions.to_dict` without nesting: a key `certainty <branch>` and `p <class>` for each."""
    return [
        {key: value for key, value in row.items() if key not in ("certainty", "posterior", "note")}
        | {f"certainty {branch}": value for branch, value in row["certainty"].items()}
        | {f"p {name}": value for name, value in row["posterior"].items()}
        | {"note": row["note"]}
        for row in result["rows"]
    ]


def trusted_branches(
    certainty: Mapping[str, np.ndarray], shares: Mapping[str, np.ndarray] | None = None
) -> tuple[str, ...]:
    """The branch to go by for each query: of the largest share in the answer, else the surest; the first of equals.

    Args:
        certainty: branch -> (n,).
        shares: branch -> (n,), where the answer weighs branches query by query.
    """
    compared = shares or certainty
    names: Sequence[str] = list(compared)
    return tuple(names[place] for place in np.stack(list(compared.values())).argmax(axis=0).tolist())


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
