"""The files of a test, and of the evidence that a report gathers of it: a record, a reader and a writer of each.

`test_<protocol>.json` is a `Result`, `test_<protocol>_episodes.npz` its `Episodes`, `evidence_<protocol>.json` and
`.npz` its `Evidence` and arrays. Letters: n episodes, N way, K shot, Q queries of an
episode, V videos, C classes of the split.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import Field, model_validator

from mdmf.files import file_sha256, write_atomic, write_json
from mdmf.records import AccuracyRecord, Record, read_record

Arrays = dict[str, np.ndarray]
EVIDENCE_PARTS = ("calibration", "selector", "embeddings", "boards")
_OUR_READING = ("amfir",)  # methods that older results do not mark with `our_reading`


class Reliability(Record):
    """How often the branch that is trusted, or teaches, is the right one; n_* are numbers of queries.

    An interval is half the width of the 95 % Wilson interval, in percent. It is not 0 when all are right or wrong, and
    takes queries to be independent: those of an episode share their support, so it is a little too narrow.

    Attributes:
        n_disagree: on which the branches predict different classes.
        n_decidable: of these, those on which one branch is right.
        by_trust_percent: of these, those on which the more trusted branch is right; equal trust counts half.
        teacher_percent: of the taught ones of these, those on which the teacher is right.
        n_taught: decidable queries with exactly one teacher; None if no teacher is known.
    """

    n_disagree: int
    n_decidable: int
    by_trust_percent: float | None
    by_trust_interval: float | None
    teacher_percent: float | None
    teacher_interval: float | None
    n_taught: int | None


class ModelResult(AccuracyRecord):
    """Numbers of one model: accuracy, per class and per branch, and, for a model with branches, diagnostics.

    Attributes:
        per_class_percent: class -> accuracy; None for a class without queries.
        our_reading: whether the method's equations are not public; None in older results.
        calibration_error: `fused` and each branch -> expected calibration error, a share.
        gain_correlation: of the first branch's weight with its gain.
        taught_share: each branch, `none` and `both` -> share of the queries that it teaches.
    """

    per_class_percent: dict[str, float | None]
    branches: dict[str, AccuracyRecord]
    our_reading: bool | None = None
    calibration_error: dict[str, float] = Field(default_factory=dict)
    gain_correlation: float | None = None
    reliability: Reliability | None = None
    taught_share: dict[str, float] | None = None


class ProtocolRecord(Record):
    """What a test asks: episodes of one size from one split, and how they differ from those of the run."""

    split: str
    n_way: int
    n_shot: int
    n_query: int
    n_episodes: int
    seed: int
    group_disjoint: bool
    text_weight: float | str = 0.0
    corrupt: str = ""
    other_data: str = ""
    other_model: str = ""


class Result(Record):
    """`test_<protocol>.json`: what was tested, and the numbers of the model and its baselines.

    Attributes:
        model: name of the tested model in `models`; the others are its baselines.
        missing: source -> share of the queries that lack it.
    """

    data: str
    model: str
    protocol: ProtocolRecord
    checkpoint: str | None
    checkpoint_sha256: str | None
    settings: dict[str, dict[str, Any]]
    text_weight: float
    notes: list[str]
    missing: dict[str, float]
    models: dict[str, ModelResult]
    environment: dict[str, Any]

    @model_validator(mode="before")
    @classmethod
    def _name_model(cls, values: Any) -> Any:
        """Version 0.1 wrote the name of the tested model into the settings alone."""
        if not isinstance(values, Mapping) or "model" in values:
            return values
        try:
            return {**values, "model": values["settings"]["model"]["name"]}
        except (KeyError, TypeError):
            return values

    @model_validator(mode="after")
    def _check_model(self) -> Self:
        if self.model not in self.models:
            raise ValueError(f"it has no numbers of {self.model!r}")
        return self

    @property
    def classes(self) -> list[str]:
        """Names of the split's classes, in the order of their ids."""
        return list(self.models[self.model].per_class_percent)

    def is_our_reading(self, model: str) -> bool:
        """Whether a model is our reading of a method whose equations are not public."""
        marked = self.models[model].our_reading
        return model in _OUR_READING if marked is None else marked


@dataclass(frozen=True, eq=False)
class Answers:
    """Answers of one model: posterior (n, Q, N), predictions (n, Q), and those of its branches.

    branch_posteriors {branch: (n, Q, N)}, fusion_weights {branch: (n, Q)} and teacher (n, Q) are empty and None where
    a model has none.
    """

    posterior: np.ndarray
    predictions: np.ndarray
    branch_posteriors: Arrays = field(default_factory=dict)
    fusion_weights: Arrays = field(default_factory=dict)
    teacher: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class EpisodeVideos:
    """The videos of n episodes.

    class_ids (n, N), 0..C-1; support (n, N, K) and query (n, Q), 0..V-1; labels (n, Q), 0..N-1: the class of each query
    in its episode. No video is twice in an episode.
    """

    class_ids: np.ndarray
    support: np.ndarray
    query: np.ndarray
    labels: np.ndarray

    def classes_of_videos(self) -> np.ndarray:
        """(V,) class of each video; -1 for a number that no episode uses."""
        classes = np.full(1 + max(self.support.max(), self.query.max()), -1, dtype=np.int64)
        classes[self.support] = self.class_ids[..., None]
        classes[self.query] = self.query_classes
        return classes

    @property
    def query_classes(self) -> np.ndarray:
        """(n, Q) class of each query."""
        return np.take_along_axis(self.class_ids, self.labels, axis=1)


@dataclass(frozen=True, eq=False)
class Episodes(EpisodeVideos):
    """`test_<protocol>_episodes.npz`: the episodes, the names of their videos (V,), and model -> its answers."""

    video_ids: np.ndarray
    answers: dict[str, Answers]


class FeatureMap(Record):
    """Videos in two dimensions, `before` or `after` the model, of a source or branch; shares of the variance."""

    when: str
    of: str
    explained: list[float]
    n_videos: int


class BoardRow(Record):
    """One class of a story board: its first support video, its posteriors and the branches' distances."""

    class_name: str = Field(alias="class")
    video: str
    posterior: float
    distances: dict[str, float]
    branch_posteriors: dict[str, float]


class StoryBoard(Record):
    """One query of the test, answered `best` or `worst`, and how the model compares it with some of its classes."""

    kind: str
    episode: int
    query: int
    n_way: int
    query_video: str
    true_class: str
    answer: str
    teacher: str | None
    rows: list[BoardRow]


class StoryBoards(Record):
    """All story boards; `strips` names the videos whose frames are kept, `frame_problems` those without, and why."""

    boards: list[StoryBoard]
    strips: list[str]
    frame_problems: dict[str, str]
    n_shot: int
    n_frames: int


class Evidence(Record):
    """`evidence_<protocol>.json`: the parts of a report that need the model; their arrays are in the `.npz`.

    Attributes:
        format: version of the file; 0 where no evidence was gathered.
        result_sha256, arrays_sha256: of the result it belongs to, and of its arrays.
        not_applicable, missing: part -> why there is none.
    """

    format: int = 0
    result_sha256: str = ""
    arrays_sha256: str = ""
    protocol: str = ""
    model: str = ""
    not_applicable: dict[str, str] = Field(default_factory=dict)
    missing: dict[str, str] = Field(default_factory=dict)
    calibration: dict[str, list[dict[str, int | float]]] = Field(default_factory=dict)
    selector: dict[str, str] = Field(default_factory=dict)
    embeddings: list[FeatureMap] = Field(default_factory=list)
    boards: StoryBoards | None = None


class ResultFiles:
    """Paths of the files of one test: its result and episodes, and the evidence gathered of it."""

    def __init__(self, folder: Path, protocol: str) -> None:
        self.folder, self.protocol = folder, protocol
        self.result = folder / f"test_{protocol}.json"
        self.episodes = folder / f"test_{protocol}_episodes.npz"
        self.evidence = folder / f"evidence_{protocol}.json"
        self.evidence_arrays = folder / f"evidence_{protocol}.npz"


def find_tests(folder: Path) -> list[ResultFiles]:
    """The tests that a folder holds a result of, in order of their names."""
    return [ResultFiles(folder, path.stem.removeprefix("test_")) for path in sorted(folder.glob("test_*.json"))]


def read_result(path: Path) -> Result:
    """A test result.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is not what a test writes: it is damaged, or of another version.
    """
    return read_record(Result, path, what="the result of a test", remedy="test again")


def write_test(files: ResultFiles, result: Result, episodes: Episodes) -> None:
    """Write a test's result, and its episodes, from which every table can be made again."""
    arrays = {
        "class_ids": episodes.class_ids.astype(np.int32),
        "video_ids": episodes.video_ids.astype(str),  # plain text: the file is read without pickle
        "support_videos": episodes.support.astype(np.int32),
        "query_videos": episodes.query.astype(np.int32),
        "query_labels": episodes.labels.astype(np.int16),
    }
    for name, answers in episodes.answers.items():
        arrays[f"{name}/predictions"] = answers.predictions.astype(np.int16)
        arrays[f"{name}/posterior"] = answers.posterior.astype(np.float16)
        for branch, posterior in answers.branch_posteriors.items():
            arrays[f"{name}/{branch}/posterior"] = posterior.astype(np.float16)
        for branch, weight in answers.fusion_weights.items():
            arrays[f"{name}/{branch}/weight"] = weight.astype(np.float16)
        if answers.teacher is not None:
            arrays[f"{name}/teacher"] = answers.teacher
    write_json(files.result, result.as_json())
    write_atomic(files.episodes, _npz(arrays))


def read_episodes(path: Path, result: Result) -> Episodes:
    """The episodes and answers that belong to a result.

    Raises:
        OSError: if there are none.
        ValueError: if the file is damaged, or its arrays have another kind, shape or range than the result's.
    """
    arrays = read_arrays(path)
    try:
        _check_episodes(arrays, result)
        answers = {name: _answers(arrays, name, numbers.branches) for name, numbers in result.models.items()}
    except (KeyError, ValueError) as error:
        raise ValueError(f"{path} does not hold the episodes of its result ({error}); test again") from None
    return Episodes(
        class_ids=arrays["class_ids"].astype(np.int64),
        support=arrays["support_videos"].astype(np.int64),
        query=arrays["query_videos"].astype(np.int64),
        labels=arrays["query_labels"].astype(np.int64),
        video_ids=arrays["video_ids"].astype(str),
        answers=answers,
    )


def _check_episodes(arrays: Arrays, result: Result) -> None:
    protocol, n_videos = result.protocol, len(arrays["video_ids"])
    n, N, Q = protocol.n_episodes, protocol.n_way, protocol.n_way * protocol.n_query
    integers = {  # name -> shape, and the number that all values must be below
        "class_ids": ((n, N), len(result.classes)),
        "support_videos": ((n, N, protocol.n_shot), n_videos),
        "query_videos": ((n, Q), n_videos),
        "query_labels": ((n, Q), N),
        **{f"{model}/predictions": ((n, Q), N) for model in result.models},
    }
    for name, (shape, limit) in integers.items():
        values = arrays[name]
        if values.shape != shape or values.dtype.kind not in "iu":
            raise ValueError(f"expected {name} {shape} of integers, got {values.shape} of {values.dtype}")
        if values.min(initial=0) < 0 or values.max(initial=0) >= limit:
            raise ValueError(f"{name} has a number that is none of 0..{limit - 1}")
    for name, values in arrays.items():
        if name.endswith("/posterior") and values.shape != (n, Q, N):
            raise ValueError(f"expected {name} {(n, Q, N)}, got {values.shape}")


def _answers(arrays: Arrays, name: str, branches: Iterable[str]) -> Answers:
    predictions = arrays[f"{name}/predictions"].astype(np.int64)
    posteriors = {branch: arrays[f"{name}/{branch}/posterior"] for branch in branches}
    weights = {branch: arrays[key] for branch in posteriors if (key := f"{name}/{branch}/weight") in arrays}
    return Answers(arrays[f"{name}/posterior"], predictions, posteriors, weights, arrays.get(f"{name}/teacher"))


def read_arrays(path: Path) -> Arrays:
    """All arrays of an `.npz`, without pickle: nothing in it can run.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is damaged, or holds more than plain arrays.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except OSError:
        raise
    except Exception as error:  # zipfile and zlib have errors of their own for a file that is cut off
        raise ValueError(f"{path} is damaged ({type(error).__name__}: {error})") from None


def _npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def write_evidence(files: ResultFiles, evidence: Evidence, arrays: Mapping[str, np.ndarray]) -> Evidence:
    """Write the evidence of a test; returns it with the digests of its result and arrays."""
    content = _npz(arrays)
    digests = {"result_sha256": file_sha256(files.result), "arrays_sha256": hashlib.sha256(content).hexdigest()}
    evidence = evidence.model_copy(update=digests)
    write_atomic(files.evidence_arrays, content)
    write_json(files.evidence, evidence.as_json())
    return evidence


def read_evidence(files: ResultFiles) -> tuple[Evidence, Arrays]:
    """The evidence that belongs to a test, and its arrays.

    Raises:
        OSError: if there is none.
        ValueError: if it is damaged, or that of another result.
    """
    evidence = read_record(
        Evidence, files.evidence, what="the evidence of a test", remedy="delete it and make the report again"
    )
    digests = (file_sha256(files.result), file_sha256(files.evidence_arrays))
    if (evidence.result_sha256, evidence.arrays_sha256) != digests:
        raise ValueError("the evidence is that of another test result")
    return evidence, read_arrays(files.evidence_arrays)
