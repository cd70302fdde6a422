"""The feature store: frozen frame features of all videos of a data set in one folder, with all that made them.

A finished store is three files: `manifest.json` (settings, versions, feature scale), `videos.csv` (one row a video) and
`features.npy` (V, A, T, D), float16. `builder` makes them; this module says what a store is, checks that it is
the one asked for, and reads it without ever loading the whole.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from mdmf.files import write_atomic
from mdmf.nested import flattened
from mdmf.structures import ImageEncoder, Preprocess, VideoRecord, ViewRule

MANIFEST, VIDEOS, FEATURES = "manifest.json", "videos.csv", "features.npy"
FORMAT = 1
COLUMNS = ("row", "video_id", "class_name", "group", "frames", "fps", "status", "reason")
N_EXAMPLES = 3
_TRAINING_VARIANT_KEYS = frozenset({"crop_scale_min", "jitter", "flip", "seed"})


class StoreMismatch(ValueError):  # noqa: N818 (an "Error" would add nothing: it is raised, and it is a ValueError)
    """The store was made with other settings, or of other videos, than those asked for."""


@dataclass(frozen=True, kw_only=True)
class StoreSettings:
    """All that decides the numbers in a store.

    Attributes:
        source: name of the source.
        encoder: identity of the encoder.
        rule: which frames are encoded, and which part of them.
        preprocess: None until the encoder is loaded: the store can be checked then, but not made.
        feature_size: D, likewise.
        contents: what else decides the features, see `Source.contents`.
        unused_contents: keys of `contents` in which stores may differ; not stored.
        corruption: what was done to the pixels on purpose, such as `noise:0.2`.
    """

    source: str
    encoder: Mapping[str, str]
    rule: ViewRule
    preprocess: Preprocess | None = None
    feature_size: int | None = None
    contents: Mapping[str, Any] = field(default_factory=dict)
    unused_contents: frozenset[str] = field(default=frozenset(), compare=False)
    corruption: str = ""

    def with_encoder(self, encoder: ImageEncoder) -> StoreSettings:
        """The same, with what is known once the encoder is loaded."""
        return replace(
            self,
            encoder={**self.encoder, **encoder.identity},
            preprocess=encoder.preprocess,
            feature_size=encoder.feature_size,
        )

    def to_json(self) -> dict[str, Any]:
        """The settings as JSON gives them back; one level of nesting, but for the view rule, which is flattened.

        The text is the one that stores have had since the first version: it names their folders.
        """
        values = {
            "encoder": dict(self.encoder),
            **asdict(self.rule),
            "preprocess": None if self.preprocess is None else asdict(self.preprocess),
            "feature_size": self.feature_size,
            "modality": self.source,
            **self.contents,
            **({"corruption": self.corruption} if self.corruption else {}),
        }
        return json.loads(json.dumps(values))  # type: ignore[no-any-return]

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> StoreSettings:
        """The inverse of `to_json`."""
        others = dict(values)
        rule = ViewRule(**{field.name: others.pop(field.name) for field in fields(ViewRule)})
        preprocess = others.pop("preprocess")
        if preprocess is not None:
            colours = {"mean": tuple(preprocess["mean"]), "std": tuple(preprocess["std"])}
            preprocess = Preprocess(**preprocess | colours)
        return cls(
            source=others.pop("modality"),
            encoder=others.pop("encoder"),
            rule=rule,
            preprocess=preprocess,
            feature_size=others.pop("feature_size"),
            corruption=others.pop("corruption", ""),
            contents={key: value for key, value in others.items() if value is not None},
        )


@dataclass(frozen=True)
class VideoTable:
    """`videos.csv` as columns, each (V,). Texts are object arrays; `group` holds None where it is unknown.

    `n_frames` is 0 and `fps` NaN where they are unknown; `status` is `ok`, `bad` (see `reason`) or `pending`.
    """

    video_id: np.ndarray
    class_name: np.ndarray
    group: np.ndarray
    n_frames: np.ndarray
    fps: np.ndarray
    status: np.ndarray
    reason: np.ndarray

    def __len__(self) -> int:
        return len(self.video_id)

    def bad_examples(self, n_examples: int = N_EXAMPLES) -> list[tuple[str, str]]:
        """(video id, reason) of the first bad videos."""
        rows = np.flatnonzero(self.status == "bad")[:n_examples]
        return [(self.video_id[row], self.reason[row]) for row in rows]


class FeatureStore:
    """A finished store, read only. The features stay on disk: opening reads the table alone.

    Attributes:
        settings: what the store was made with.
        table: the videos, row by row.
        ok: (V,) bool, False for bad videos: they have no features and must not be used.
        feature_scale: multiply features by it, and variant 0 of the ok videos has frames of mean norm 10.
    """

    def __init__(self, folder: Path, manifest: Mapping[str, Any]) -> None:
        self.folder = folder
        self.settings = StoreSettings.from_json(manifest["settings"])
        self.table = read_table(folder)
        self.ok: np.ndarray = self.table.status == "ok"
        self.feature_scale = float(manifest["feature_scale"])
        # As a plain array over the same memory map: numpy's memmap class makes fancy indexing 15 times slower.
        self._features = np.asarray(open_features(folder, manifest))
        self._row_of_video: dict[str, int] | None = None

    @classmethod
    def open(
        cls, folder: Path, *, settings: StoreSettings | None = None, records: Sequence[VideoRecord] | None = None
    ) -> FeatureStore:
        """Open a finished store; where `settings` or `records` are given, check that it is the one meant.

        Raises:
            FileNotFoundError: if there is no store.
            StoreMismatch: listing what differs.
            ValueError: if it is not finished, or damaged.
        """
        folder = Path(folder)
        manifest = read_manifest(folder)
        if settings is not None:
            check_same_settings(folder, manifest, settings)
        if not manifest["complete"]:
            raise ValueError(
                f"the feature store {folder} is not finished; run `python tools/extract.py --cfg <the same config>` "
                f"(or train.py): it goes on where the last run stopped"
            )
        store = cls(folder, manifest)
        if records is not None:
            check_videos(folder, store.table, records)
        return store

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return FeatureStore.open, (self.folder,)  # a data-loader process opens its own map instead of copying it

    def __len__(self) -> int:
        return len(self.table)

    @property
    def n_variants(self) -> int:
        """A, the number of stored variants; 0 is the test view."""
        return self._features.shape[1]

    @property
    def n_frames(self) -> int:
        """T, frames of a video."""
        return self._features.shape[2]

    @property
    def feature_size(self) -> int:
        """D."""
        return self._features.shape[3]

    def read(self, rows: np.ndarray, variants: np.ndarray | int = 0) -> np.ndarray:
        """Features of some videos, as stored (not scaled).

        Args:
            rows: (...), integers in 0..V-1.
            variants: (...) or broadcastable to `rows`, in 0..A-1.

        Returns:
            (..., T, D), float16, a copy.

        Raises:
            ValueError: for a row or variant that does not exist, or a bad video.
        """
        rows, variants = np.broadcast_arrays(np.asarray(rows, dtype=np.int64), np.asarray(variants, dtype=np.int64))
        for name, index, size in (("rows", rows, len(self)), ("variants", variants, self.n_variants)):
            if index.size and (index.min() < 0 or index.max() >= size):
                raise ValueError(f"{name} must be in 0..{size - 1}, got {index.min()}..{index.max()}")
        if not self.ok[rows].all():
            row = rows[~self.ok[rows]].flat[0]
            raise ValueError(
                f"video {self.table.video_id[row]!r} is bad ({self.table.reason[row]}) and has no features; "
                f"choose among the rows where `ok` is true"
            )
        return self._features[rows, variants]  # (...) -> (..., T, D)

    def rows_of(self, video_ids: Sequence[str]) -> np.ndarray:
        """Rows (n,) int64 of some videos.

        Raises:
            ValueError: naming a video that the store does not have.
        """
        if self._row_of_video is None:
            self._row_of_video = {video_id: row for row, video_id in enumerate(self.table.video_id)}
        try:
            return np.fromiter((self._row_of_video[video_id] for video_id in video_ids), np.int64, len(video_ids))
        except KeyError as error:
            raise ValueError(f"the feature store {self.folder} has no video {error.args[0]!r}") from None


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a finished or unfinished store.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it cannot be read or has another format.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise FileNotFoundError(f"no feature store in {folder} ({MANIFEST} is missing); make it with tools/extract.py")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        store_format = manifest["format"]
        if store_format == FORMAT:
            _ = StoreSettings.from_json(manifest["settings"]), manifest["complete"], manifest["shape"]
    except (ValueError, KeyError, TypeError) as error:  # no text, no JSON, or settings that cannot be
        raise ValueError(f"{path} is not the manifest of a feature store ({error}); {_remake(folder)}") from None
    if store_format != FORMAT:
        raise ValueError(f"{path} has format {store_format}, this version of mdmf reads {FORMAT}; {_remake(folder)}")
    return manifest


def open_features(folder: Path, manifest: Mapping[str, Any]) -> np.memmap:
    """The features (V, A, T, D) as a read-only memory map, checked against the manifest.

    Raises:
        ValueError: if the file is missing or has another shape or type.
    """
    path, expected = folder / FEATURES, tuple(manifest["shape"])
    try:
        features = np.load(path, mmap_mode="r")
    except (OSError, EOFError, ValueError) as error:
        # numpy's own text may advise to unpickle the file, so it is not passed on.
        reason = str(error) if isinstance(error, OSError) else f"{FEATURES} is no array"
        raise ValueError(f"the feature store {folder} is damaged: {reason}; {_remake(folder)}") from None
    if features.shape != expected or features.dtype != np.float16:
        raise ValueError(
            f"the feature store {folder} is damaged: {FEATURES} should be float16 {expected}, "
            f"is {features.dtype} {features.shape}; {_remake(folder)}"
        )
    return features


def read_table(folder: Path) -> VideoTable:
    """Read `videos.csv`.

    Raises:
        ValueError: if its columns or row numbers are not those that were written.
    """
    path = folder / VIDEOS
    try:
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            header, *lines = csv.reader(file)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read ({type(error).__name__}); {_remake(folder)}") from None
    if tuple(header) != COLUMNS:
        raise ValueError(f"{path} should have the columns {', '.join(COLUMNS)}, has {', '.join(header)}")
    if not lines or any(len(line) != len(COLUMNS) for line in lines):
        raise ValueError(f"{path} is cut off or damaged; {_remake(folder)}")
    columns = dict(zip(COLUMNS, zip(*lines, strict=True), strict=True))
    if columns["row"] != tuple(str(row) for row in range(len(lines))):
        raise ValueError(f"the rows of {path} are not numbered 0..{len(lines) - 1} in order; {_remake(folder)}")
    texts = {name: np.array(columns[name], dtype=object) for name in ("video_id", "class_name", "status", "reason")}
    try:
        return VideoTable(
            **texts,
            group=np.array([group or None for group in columns["group"]], dtype=object),
            n_frames=np.array([int(value or 0) for value in columns["frames"]], dtype=np.int64),
            fps=np.array([float(value or "nan") for value in columns["fps"]], dtype=np.float64),
        )
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}); {_remake(folder)}") from None


def check_same_settings(folder: Path, manifest: Mapping[str, Any], settings: StoreSettings) -> None:
    """Compare a store with the requested settings; what these leave open (None or "") is not compared.

    No corruption is not left open: harmed pixels must never pass for sound ones.

    Raises:
        StoreMismatch: naming every setting that differs, with both values.
    """
    both = (manifest["settings"], settings.to_json())
    stored, requested = ({"corruption": ""} | flattened(values) for values in both)
    if requested["modality"] != stored["modality"]:
        raise StoreMismatch(
            f"{folder} is a store of {stored['modality']} features, asked for {requested['modality']}; "
            f"give each a folder of its own"
        )
    ignored = settings.unused_contents | _ignored_keys(stored, requested)
    lines = [
        f"  {key}: the store has {stored.get(key)!r}, asked for {value!r}"
        for key, value in requested.items()
        if key not in ignored and (value not in (None, "") or key == "corruption") and stored.get(key) != value
    ]
    if lines:
        raise StoreMismatch(
            "\n".join([f"the feature store {folder} was made with other settings:", *lines, _remake(folder)])
        )


def check_videos(folder: Path, table: VideoTable, records: Sequence[VideoRecord]) -> None:
    """Compare the videos of a store with those of a data set, in any order; their split does not count.

    Raises:
        StoreMismatch: with the number and examples of new, missing and relabelled videos.
    """
    stored = dict(zip(table.video_id, zip(table.class_name, table.group, strict=True), strict=True))
    requested = {record.video_id: (record.class_name, record.group or None) for record in records}
    changed = [key for key in requested.keys() & stored.keys() if requested[key] != stored[key]]
    differences = {
        "new (not in the store)": sorted(requested.keys() - stored.keys()),
        "missing (in the store only)": sorted(stored.keys() - requested.keys()),
        "with another class or group": sorted(changed),
    }
    lines = [f"  {len(ids)} {what}: {_examples(ids)}" for what, ids in differences.items() if ids]
    if lines:
        raise StoreMismatch(
            "\n".join(
                [
                    f"the feature store {folder} has other videos than the data set ({len(requested)}):",
                    *lines,
                    _remake(folder),
                ]
            )
        )


def write_atomically(path: Path, text: str) -> None:
    """Write a text file of the store so that it is there whole or not at all, whenever the process dies."""
    write_atomic(path, text.encode("utf-8", errors="surrogateescape"))


def _ignored_keys(stored: Mapping[str, Any], requested: Mapping[str, Any]) -> frozenset[str]:
    ignored: frozenset[str] = frozenset()
    if stored["n_variants"] == requested["n_variants"] == 1:
        ignored |= _TRAINING_VARIANT_KEYS - ({"seed"} if requested["corruption"] else set())  # noise goes by the seed
    weights_hash = requested.get("encoder.weights_hash")
    if weights_hash and weights_hash == stored.get("encoder.weights_hash"):
        ignored |= {"encoder.weights"}  # the same weights under another name, such as a file that was moved
    return ignored


def _examples(video_ids: Sequence[str]) -> str:
    more = ", …" if len(video_ids) > N_EXAMPLES else ""
    return ", ".join(repr(video_id) for video_id in video_ids[:N_EXAMPLES]) + more


def _remake(folder: Path) -> str:
    return f"give another store folder, or delete {folder} to encode again"
