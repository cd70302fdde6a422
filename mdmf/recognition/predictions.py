"""The answers for clips, or for the windows of long ones, as a record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from mdmf.recognition.windows import Moment

if TYPE_CHECKING:
    from pandas import DataFrame

    from mdmf.engine.evaluator import Answers

UNKNOWN = "none of these"


@dataclass(frozen=True, eq=False)
class Predictions:
    """The answers to n clips or windows among N classes.

    A clip that cannot be read has a row too: its posterior is not a number, and its note gives the reason.

    Attributes:
        classes: names, in order.
        clips: (n) paths as text.
        posterior: (n, N), softmax of the model's logits; not calibrated.
        branch_posteriors: branch -> (n, N).
        trusted: (n) names of branches, see `trusted_branches`; "" for a row without an answer.
        notes: (n) remarks on a row, such as why it has no answer; "" for none.
        moments: (n) for windows; None for whole clips.
        unknown_below: an answer with a smaller probability is `UNKNOWN`; None: every answer is a class.
        about: model, encoder, support and remarks, as plain values.
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
        """(n) the class with the largest posterior, the first of equal ones; None without an answer."""
        return self._names(self._ranked[:, 0])

    @property
    def second_best(self) -> list[str | None]:
        """(n) the class with the second largest posterior; None without an answer."""
        return self._names(self._ranked[:, 1])

    @property
    def answers(self) -> list[str | None]:
        """(n) the best class, or `UNKNOWN` if its probability is below `unknown_below`; None without an answer."""
        limit = self.unknown_below or 0.0
        return [
            UNKNOWN if name is not None and probability < limit else name
            for name, probability in zip(self.best, self.probability, strict=True)
        ]

    @property
    def probability(self) -> np.ndarray:
        """(n,) posterior of the best class."""
        return np.take_along_axis(self.posterior, self._ranked[:, :1], axis=1)[:, 0]

    @property
    def second_probability(self) -> np.ndarray:
        """(n,) posterior of the second best class."""
        return np.take_along_axis(self.posterior, self._ranked[:, 1:2], axis=1)[:, 0]

    @property
    def certainty(self) -> dict[str, np.ndarray]:
        """branch -> (n,), the largest posterior of the branch."""
        return {branch: posterior.max(axis=1) for branch, posterior in self.branch_posteriors.items()}

    def to_dict(self) -> dict[str, Any]:
        """All values as JSON has them: None instead of not a number."""
        certainty, best, second, answers = self.certainty, self.best, self.second_best, self.answers
        probability, second_probability = self.probability, self.second_probability  # each ranks all rows
        rows = []
        for row, clip in enumerate(self.clips):
            part = {} if self.moments is None else self.moments[row]._asdict()
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
        """(n, N) class numbers by decreasing posterior, the first of equal ones first."""
        return np.argsort(-self.posterior, axis=1, kind="stable")

    def _names(self, numbers: np.ndarray) -> list[str | None]:
        return [self.classes[number] if known else None for number, known in zip(numbers, self.has_answer, strict=True)]


def flat_rows(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of `Predictions.to_dict` without nesting: a key `certainty <branch>` and `p <class>` for each."""
    return [
        {key: value for key, value in row.items() if key not in ("certainty", "posterior", "note")}
        | {f"certainty {branch}": value for branch, value in row["certainty"].items()}
        | {f"p {name}": value for name, value in row["posterior"].items()}
        | {"note": row["note"]}
        for row in result["rows"]
    ]


def trusted_branches(answers: Answers) -> list[str]:
    """The branch to trust for each query, episode by episode; the first of equal ones.

    It has the largest share in the answer, or is the most certain branch if the answer does not weigh them by query.
    """
    values = answers.fusion_weights or {name: part.max(axis=-1) for name, part in answers.branch_posteriors.items()}
    names = list(values)
    return [names[number] for number in np.stack(list(values.values())).argmax(axis=0).flat] if names else []


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
