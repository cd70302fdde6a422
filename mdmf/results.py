"""Records, readers and writers of the files of a test and of its evidence.

`test_<protocol>.json` is a `Result`, `test_<protocol>_episodes.npz` its `Episodes`, `evidence_<protocol>.json` and
`.npz` its `Evidence` and arrays. Letters: n episodes, N way, K shot, Q queries of an episode, V videos, C classes of
the split.
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
_OUR_READING = ("amfir",)  # methods without the key `our_reading` in older results


class Reliability(Record):
    """How often the trusted branch and the teacher are correct.

    An interval is half the width of the 95 % Wilson interval, in percent. It is not 0 if all are correct or wrong. It
    assumes independent queries; those of an episode share their support, so it is slightly too narrow.

    Attributes:
        n_disagree: number of queries on which the branches predict different classes.
        n_decidable: number of queries on which one branch is correct and another is wrong.
        by_trust_percent: share of decidable queries on which the more trusted branch is correct; with equal trust, the
            mean over the branches.
        teacher_percent: share of the taught decidable queries on which the teacher is correct.
        n_taught: number of decidable queries with exactly one teacher; None if no teacher is known.
    """

    n_disagree: int
    n_decidable: int
    by_trust_percent: float | None
    by_trust_interval: float | None
    teacher_percent: float | None
    teacher_interval: float | None
    n_taught: int | None


class ModelResult(AccuracyRecord):
    """Numbers of one model: its accuracy, in total, per class and per branch, and diagnostics of its branches.

    Attributes:
        per_class_percent: class -> accuracy; None for a class without queries.
        our_reading: whether the method is our reading of unpublished equations; None in older results.
        calibration_error: `fused` and each branch -> expected calibration error, a share.
        gain_correlation: correlation of fusion weight and gain (`mdmf.engine.diagnostics.gain_correlation`).
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
    """The episodes of a test: their split, size and number, and the settings that differ from those of training."""

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
    """`test_<protocol>.json`: the tested model, and the numbers of the model and its baselines.

    Attributes:
        model: name of the tested model in `models`; the others are its baselines.
        missing: source -> share of the queries without its features.
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
        """Results of version 0.1 have the name of the tested model only in the settings."""
        if not isinstance(values, Mapping) or "model" in values:
            return values
        try:
            return {**values, "model": values["settings"]["model"]["name"]}
        except (KeyError, TypeError):
            return values

    @model_validator(mode="after")
    def _check_model(self) -> Self:
        if self.model not in self.models:
            raise ValueError(f"expected numbers of model {self.model!r}, got those of {', '.join(self.models)}")
        return self

    @property
    def classes(self) -> list[str]:
        """Names of the split's classes, in the order of their ids."""
        return list(self.models[self.model].per_class_percent)

    def is_our_reading(self, model: str) -> bool:
        """Whether a model is our reading of unpublished equations."""
        marked = self.models[model].our_reading
        return model in _OUR_READING if marked is None else marked


@dataclass(frozen=True, eq=False)
class Answers:
    """Answers of one model.

    Attributes:
        posterior: (n, Q, N).
        predictions: (n, Q), labels.
        branch_posteriors: branch -> (n, Q, N); empty without branches.
        fusion_weights: branch -> (n, Q); empty without fusion weights.
        teacher: (n, Q), index of the teaching branch, -1: none, -2: several; None for a model without teachers.
    """

    posterior: np.ndarray
    predictions: np.ndarray
    branch_posteriors: Arrays = field(default_factory=dict)
    fusion_weights: Arrays = field(default_factory=dict)
    teacher: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class EpisodeVideos:
    """The videos of n episodes; no video occurs twice in an episode.

    Attributes:
        class_ids: (n, N), 0..C-1.
        support: (n, N, K), video numbers 0..V-1.
        query: (n, Q), video numbers 0..V-1.
        labels: (n, Q), 0..N-1, class of each query in its episode.
    """

    class_ids: np.ndarray
    support: np.ndarray
    query: np.ndarray
    labels: np.ndarray

    def classes_of_videos(self) -> np.ndarray:
        """(V,), class id of each video; -1 for a video number that no episode uses."""
        classes = np.full(1 + max(self.support.max(), self.query.max()), -1, dtype=np.int64)
        classes[self.support] = self.class_ids[..., None]
        classes[self.query] = self.query_classes
        return classes

    @property
    def query_classes(self) -> np.ndarray:
        """(n, Q), class id of each query."""
        return np.take_along_axis(self.class_ids, self.labels, axis=1)


@dataclass(frozen=True, eq=False)
class Episodes(EpisodeVideos):
    """`test_<protocol>_episodes.npz`: the episodes, the names of their videos (V,), and model -> its answers."""

    video_ids: np.ndarray
    answers: dict[str, Answers]


class FeatureMap(Record):
    """Videos in two dimensions.

    Attributes:
        when: `before` or `after` the model.
        of: source (before) or branch (after).
        explained: share of the variance of each dimension.
        n_videos: number of videos.
        prompted: whether the features include the prompt of the video's class; None in older evidence.
    """

    when: str
    of: str
    explained: list[float]
    n_videos: int
    prompted: bool | None = None


class BoardRow(Record):
    """One class of a story board: its first support video, its posteriors and the branches' distances."""

    class_name: str = Field(alias="class")
    video: str
    posterior: float
    distances: dict[str, float]
    branch_posteriors: dict[str, float]


class StoryBoard(Record):
    """One query of the test, one of the `best` or `worst` answers, compared with some classes of its episode."""

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
    """All story boards.

    Attributes:
        strips: ids of the videos whose frames are in the arrays, in order.
        frame_problems: id -> error, of videos whose frames could not be read.
        n_shot: support videos per class.
        n_frames: frames per video.
    """

    boards: list[StoryBoard]
    strips: list[str]
    frame_problems: dict[str, str]
    n_shot: int
    n_frames: int


class Evidence(Record):
    """`evidence_<protocol>.json`: the parts of a report that need the model; the `.npz` has their arrays.

    Attributes:
        format: version of the file; 0 if no evidence was gathered.
        result_sha256, arrays_sha256: hashes of its result and of its arrays.
        not_applicable, missing: part -> reason why it does not exist.
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
    """Paths of the files of one test and of its evidence."""

    def __init__(self, folder: Path, protocol: str) -> None:
        self.folder, self.protocol = folder, protocol
        self.result = folder / f"test_{protocol}.json"
        self.episodes = folder / f"test_{protocol}_episodes.npz"
        self.evidence = folder / f"evidence_{protocol}.json"
        self.evidence_arrays = folder / f"evidence_{protocol}.npz"


def find_tests(folder: Path) -> list[ResultFiles]:
    """Files of all tests in a folder, sorted by name."""
    return [ResultFiles(folder, path.stem.removeprefix("test_")) for path in sorted(folder.glob("test_*.json"))]


def read_result(path: Path) -> Result:
    """A test result.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is damaged, or of an unknown version.
    """
    return read_record(Result, path, what="the result of a test", remedy="test again")


def write_test(files: ResultFiles, result: Result, episodes: Episodes) -> None:
    """Write the result of a test and its episodes with all answers."""
    arrays = {
        "class_ids": episodes.class_ids.astype(np.int32),
        "video_ids": episodes.video_ids.astype(str),  # no objects: the file is read without pickle
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
        OSError: if the file cannot be read.
        ValueError: if it is damaged, or the types, shapes or values of its arrays do not fit the result.
    """
    arrays = read_arrays(path)
    try:
        _check_episodes(arrays, result)
        answers = {name: _answers(arrays, name, numbers.branches) for name, numbers in result.models.items()}
    except (KeyError, ValueError) as error:
        raise ValueError(f"{path} does not fit the result of its test ({error}); test again") from None
    return Episodes(
        class_ids=arrays["class_ids"].astype(np.int64),
        support=arrays["support_videos"].astype(np.int64),
        query=arrays["query_videos"].astype(np.int64),
        labels=arrays["query_labels"].astype(np.int64),
        video_ids=arrays["video_ids"].astype(str),
        answers=answers,
    )


def _check_episodes(arrays: Arrays, result: Result) -> None:
    """Check types, shapes and ranges of the arrays of a test.

    Raises:
        KeyError: if an array is missing.
        ValueError: if one does not fit the result.
    """
    protocol, n_videos = result.protocol, len(arrays["video_ids"])
    n, N, Q = protocol.n_episodes, protocol.n_way, protocol.n_way * protocol.n_query
    integers = {  # name -> shape, exclusive upper bound of the values
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
            raise ValueError(f"expected values of {name} in 0..{limit - 1}")
    for name, values in arrays.items():
        if name.endswith("/posterior") and values.shape != (n, Q, N):
            raise ValueError(f"expected {name} {(n, Q, N)}, got {values.shape}")


def _answers(arrays: Arrays, name: str, branches: Iterable[str]) -> Answers:
    predictions = arrays[f"{name}/predictions"].astype(np.int64)
    posteriors = {branch: arrays[f"{name}/{branch}/posterior"] for branch in branches}
    weights = {branch: arrays[key] for branch in posteriors if (key := f"{name}/{branch}/weight") in arrays}
    return Answers(arrays[f"{name}/posterior"], predictions, posteriors, weights, arrays.get(f"{name}/teacher"))


def read_arrays(path: Path) -> Arrays:
    """All arrays of an `.npz`, read without pickle: no code in it is run.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is damaged, or has objects other than plain arrays.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except OSError:
        raise
    except Exception as error:  # a truncated file raises errors of zipfile and zlib
        raise ValueError(f"{path} is damaged ({type(error).__name__}: {error})") from None


def _npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def write_evidence(files: ResultFiles, evidence: Evidence, arrays: Mapping[str, np.ndarray]) -> Evidence:
    """Write the evidence of a test; returns it with the hashes of its result and arrays."""
    content = _npz(arrays)
    hashes = {"result_sha256": file_sha256(files.result), "arrays_sha256": hashlib.sha256(content).hexdigest()}
    evidence = evidence.model_copy(update=hashes)
    write_atomic(files.evidence_arrays, content)
    write_json(files.evidence, evidence.as_json())
    return evidence


def read_evidence(files: ResultFiles) -> tuple[Evidence, Arrays]:
    """The evidence of a test, and its arrays.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is damaged, or of another result.
    """
    evidence = read_record(
        Evidence, files.evidence, what="the evidence of a test", remedy="delete it and make the report again"
    )
    hashes = (file_sha256(files.result), file_sha256(files.evidence_arrays))
    if (evidence.result_sha256, evidence.arrays_sha256) != hashes:
        raise ValueError("the evidence is of another test result")
    return evidence, read_arrays(files.evidence_arrays)
