"""The data doctor on counts: classes and videos of each split beside the published ones, and the trap of SSv2."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from mdmf.class_names import class_key, nearest_hint
from mdmf.data.listing.formats import Entry
from mdmf.data.listing.index import Missing
from mdmf.data.listing.splits import ClassSplit, published_counts
from mdmf.doctor.findings import Example, Finding, finding_about
from mdmf.resources import shipped_names
from mdmf.structures import VideoRecord

Counts = dict[str, dict[str, int]]
"""Split -> class -> videos."""

_SMALL_VIDEOS_PER_CLASS = 100
_N_SMALL_TEST_IN_FULL_TRAIN = 568  # videos
_OTHER_SSV2 = {"ssv2_small": "ssv2_full", "ssv2_full": "ssv2_small"}
_SURE = 0.9  # share of classes whose counts must be another list's before we say that it is that list


def published_name(*names: str | None) -> str | None:
    """The first of some names (of the data set, of its class split) that is a published data set, up to spelling."""
    by_key = {class_key(name): name for name in shipped_names("splits")}
    shipped = [by_key[class_key(name)] for name in names if name and class_key(name) in by_key]
    return next(filter(published_counts, shipped), None)


def count_videos(videos: Iterable[VideoRecord | Entry], classes: ClassSplit) -> Counts:
    """Videos of each class of each split: the classes that have videos, in the order of `classes`, then all others."""
    counts: Counts = {split: dict.fromkeys(names, 0) for split, names in classes.items()}
    for video in videos:
        if video.split is not None:
            of_split = counts.setdefault(video.split, {})
            of_split[video.class_name] = of_split.get(video.class_name, 0) + 1
    return {split: {name: n for name, n in of_split.items() if n} for split, of_split in counts.items()}


def missing_findings(missing: Missing, unused_classes: Sequence[str], n_ignored_files: int) -> Iterator[Finding]:
    """What a class split or a list expects and the disk lacks, and what is there and not used."""
    classes = [
        Example(class_name=name, split=split, detail=_on_disk(name, unused_classes))
        for split, names in missing.classes.items()
        for name in names
    ]
    videos = [Example(video=name, split=split) for split, names in missing.videos.items() for name in names]
    unused = [Example(class_name=name) for name in unused_classes]
    what = "classes of the split have no video on disk; add them, or leave them out of the split"
    yield from finding_about(classes, "error", "missing-class", what)
    what = "listed videos are not on disk; get them, or say with your result that they lack"
    yield from finding_about(videos, "error", "missing-video", what)
    yield from finding_about(unused, "info", "unused-class", "classes are in no split")
    if n_ignored_files:
        yield Finding("info", "ignored-file", f"{n_ignored_files:,} files or folders are no videos and are not used")


def count_findings(counts: Counts, name: str) -> Iterator[Finding]:
    """Classes of each split, and videos of each class, against the published ones.

    Args:
        counts: split -> class -> videos found.
        name: of a published data set.
    """
    published = published_counts(name)
    lacking, foreign, differing = [], [], []
    for split, expected in published.items():
        of_split = counts.get(split, {})
        lacking += [Example(class_name=each, split=split, detail="lacks") for each in expected if each not in of_split]
        foreign += [
            Example(class_name=each, split=split, detail="is not of this split")
            for each in of_split
            if each not in expected
        ]
        differing += [
            Example(class_name=each, split=split, detail=f"{of_split[each]:,} videos, published {n_expected:,}")
            for each, n_expected in expected.items()
            if of_split.get(each, n_expected) != n_expected
        ]
    if lacking or foreign:
        sizes = " / ".join(str(len(expected)) for expected in published.values())
        message = (
            f"the classes are not the published {sizes} of {name}: {len(lacking)} lack, {len(foreign)} are of no or of "
            "another split; results are not those of the protocol"
        )
        yield Finding("error", "class-split", message, (*lacking, *foreign))
    message = (
        f"classes have another number of videos than the published lists of {name} ({_total(counts):,} videos in all, "
        f"published {_total(published):,}); results are not those of the protocol"
    )
    yield from finding_about(differing, "error", "video-count", message)


def ssv2_findings(counts: Counts, name: str) -> Iterator[Finding]:
    """Whether the lists of SSv2-Small are used as SSv2-Full, or the other way round.

    Both have 64 / 12 / 24 classes and the same kind of video ids. They share 55 classes, of which 27 are in the same
    split; Small has 100 videos in each class, Full all of them.

    Args:
        counts: split -> class -> videos found.
        name: `ssv2_small` or `ssv2_full`; nothing is found for another data set.
    """
    if name not in _OTHER_SSV2:
        return
    other = _OTHER_SSV2[name]
    own_share, other_share = _same_classes(counts, name), _same_classes(counts, other)
    if other_share > own_share:
        message = (
            f"the classes of the splits are those of {other} ({other_share:.0%} agree; with {name} {own_share:.0%}): "
            f"the lists or the class split of the wrong one are used; set data.name={other}, or use the lists of {name}"
        )
        yield Finding("error", "ssv2-trap", message)
    elif _same_counts_by_place(counts, other) >= _SURE:
        message = (
            f"class by class the splits have as many videos as the lists of {other}, under the class names of {name}: "
            f"these are the lists of {other}, and with numbered lists every label is wrong; use the lists of {name}"
        )
        yield Finding("error", "ssv2-trap", message)
    elif name == "ssv2_small":
        message = (
            f"classes have more than the {_SMALL_VIDEOS_PER_CLASS} videos that SSv2-Small chose: these are folders of "
            "all of SSv2; give the published lists (data.kind=lists data.lists=…)"
        )
        too_many = [
            Example(class_name=each, split=split, detail=f"{n_videos:,} videos")
            for split, of_split in counts.items()
            for each, n_videos in of_split.items()
            if n_videos > _SMALL_VIDEOS_PER_CLASS
        ]
        yield from finding_about(too_many, "error", "ssv2-trap", message)
    message = (
        f"{_N_SMALL_TEST_IN_FULL_TRAIN} test videos of ssv2_small are training videos of ssv2_full: never train on one "
        "and test on the other"
    )
    yield Finding("info", "ssv2-overlap", message)


def _same_classes(counts: Counts, name: str) -> float:
    """Share of a data set's classes that are in the same split here, in whatever spelling."""
    expected, given = (
        {(split, class_key(each)) for split, names in of_set.items() for each in names}
        for of_set in (published_counts(name), counts)
    )
    return len(expected & given) / len(expected)


def _same_counts_by_place(counts: Counts, name: str) -> float:
    """Share of places (class number i of a split) that have as many videos here as in a data set's lists."""
    published = published_counts(name)
    same = [
        n_videos == n_expected
        for split in published
        for n_videos, n_expected in zip(counts.get(split, {}).values(), published[split].values(), strict=False)
    ]
    return sum(same) / sum(map(len, published.values()))


def _total(counts: Counts) -> int:
    return sum(sum(of_split.values()) for of_split in counts.values())


def _on_disk(class_name: str, unused_classes: Sequence[str]) -> str:
    """What the class may be called on disk."""
    hint: str = nearest_hint(class_name, unused_classes)
    return "no video" + hint.replace("did you mean", "on disk is").replace("?", "")
