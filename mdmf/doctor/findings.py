"""The data doctor's findings: what they are, their order, and the counts of a data set beside the published ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mdmf.data.episodes import EpisodeSampler
from mdmf.data.listing.splits import ClassSplit
from mdmf.structures import VideoRecord

LEVELS = ("error", "warning", "info")
"""`error`: would change a result; `warning`: worth a look; `info`: good to know."""


@dataclass(frozen=True)
class Example:
    """A video or a class that a finding is about, and what is said of this one alone."""

    video: str = ""
    class_name: str = ""
    split: str = ""
    detail: str = ""

    def __str__(self) -> str:
        named = self.video or self.class_name or self.split
        return f"{named}: {self.detail}" if named and self.detail else named or self.detail


def example_of(record: VideoRecord, detail: str = "") -> Example:
    """A video as an example."""
    return Example(record.video_id, record.class_name, record.split, detail)


@dataclass(frozen=True)
class Finding:
    """One thing that the doctor found.

    Attributes:
        level: one of `LEVELS`.
        code: a short name, the same for every finding of its kind.
        message: what is wrong and what to do, in one line.
        examples: every video or class that it is about.
    """

    level: str
    code: str
    message: str
    examples: tuple[Example, ...] = ()

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise ValueError(f"the level of a finding must be one of {LEVELS}, got {self.level!r}")


def finding_about(examples: Sequence[Example], level: str, code: str, message: str) -> Iterator[Finding]:
    """One finding about some videos or classes, whose number begins the message; nothing where there are none."""
    if examples:
        yield Finding(level, code, f"{len(examples):,} {message}", tuple(examples))


@dataclass(frozen=True)
class SplitRow:
    """The counts of one split; what is not known is None.

    Attributes:
        smallest: the class with the fewest videos, and how many.
        published: classes and videos of the published split.
    """

    split: str
    n_classes: int
    n_videos: int
    smallest: tuple[str, int] | None
    n_unreadable: int
    n_short: int | None
    published: tuple[int, int] | None = None


@dataclass(frozen=True)
class DataReport:
    """All that the doctor found.

    Attributes:
        name: of the data set.
        rows: a row per split that has classes.
        findings: most serious first.
        is_decoded: whether videos were opened, or only looked at from outside.
        seconds: that it took.
    """

    name: str
    rows: tuple[SplitRow, ...]
    findings: tuple[Finding, ...]
    is_decoded: bool
    seconds: float

    @property
    def n_errors(self) -> int:
        """Findings that would change a result."""
        return sum(finding.level == "error" for finding in self.findings)


@dataclass(frozen=True)
class RequestedEpisodes:
    """The episodes that an experiment draws from one split, and what for."""

    purpose: str
    split: str
    n_way: int
    n_shot: int
    n_query: int


def most_serious_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Errors, warnings, the rest; in the order given within a level."""
    return tuple(sorted(findings, key=lambda finding: LEVELS.index(finding.level)))


def split_rows(
    records: Sequence[VideoRecord],
    classes: ClassSplit,
    *,
    unreadable: Collection[str] = (),
    short: Collection[str] | None = None,
    published: Mapping[str, Mapping[str, int]] | None = None,
) -> tuple[SplitRow, ...]:
    """A row per split.

    Args:
        records: the videos.
        classes: split -> its classes.
        unreadable: ids of videos that cannot be read.
        short: ids of videos with too few frames; None where frames were not counted.
        published: split -> class -> videos.
    """
    counts = Counter((record.split, record.class_name) for record in records)
    n_unreadable = Counter(record.split for record in records if record.video_id in unreadable)
    n_short = Counter(record.split for record in records if record.video_id in (short or ()))
    rows = []
    for split, names in classes.items():
        expected = (published or {}).get(split, {})
        sizes = {name: counts[split, name] for name in names}
        row = SplitRow(
            split=split,
            n_classes=len(names),
            n_videos=sum(sizes.values()),
            smallest=min(sizes.items(), key=lambda size: size[1], default=None),
            n_unreadable=n_unreadable[split],
            n_short=None if short is None else n_short[split],
            published=(len(expected), sum(expected.values())) if expected else None,
        )
        rows += [row] if names or expected else []
    return tuple(rows)


def episode_findings(
    records: Sequence[VideoRecord],
    classes: ClassSplit,
    requests: Iterable[RequestedEpisodes],
    *,
    unusable: Collection[str] = (),
    group_disjoint: bool = False,
) -> Iterator[Finding]:
    """A finding for each kind of episode that the sampler refuses to draw.

    Args:
        records: the videos.
        classes: split -> its classes.
        requests: what is drawn from which split.
        unusable: ids of videos that no episode can hold, since they cannot be read.
        group_disjoint: no source recording may be in both support and query of a class.
    """
    for episodes in requests:
        split, names = episodes.split, classes.get(episodes.split, ())
        videos = [record for record in records if record.split == split and record.video_id not in unusable]
        ungrouped = [example_of(record) for record in videos if record.group is None and group_disjoint]
        message = (
            f"videos of {split} have no source recording, which episode.group_disjoint needs; set data.group_pattern, "
            "or give a `group` column in the CSV"
        )
        yield from finding_about(ungrouped, "error", "no-group", message)
        if ungrouped:
            continue
        groups = np.unique([str(record.group) for record in videos], return_inverse=True)[1]
        try:
            EpisodeSampler(
                np.array([names.index(record.class_name) for record in videos], dtype=np.int64),
                class_names=names,
                n_way=episodes.n_way,
                n_shot=episodes.n_shot,
                n_query=episodes.n_query,
                seed=0,
                split=split,
                groups=groups if group_disjoint else None,
            )
        except ValueError as error:
            yield _impossible(episodes, error)


def _impossible(episodes: RequestedEpisodes, error: ValueError) -> Finding:
    *problems, advice = [line.strip() for line in str(error).splitlines()]
    message = (
        f"the episodes of {episodes.purpose} cannot be drawn from {episodes.split} ({episodes.n_way}-way "
        f"{episodes.n_shot}-shot, {episodes.n_query} queries a class){';' if problems else ':'} {advice}"
    )
    examples = tuple(Example(split=episodes.split, detail=problem) for problem in problems)
    return Finding("error", "episodes", message, examples)
