"""The data doctor on counts: classes and videos of each split beside the published ones, and the trap of SSv2."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from mdmf.class_names import class_key, nearest_hint
from mdmf.data.listing.index import Missing
from mdmf.data.listing.splits import ClassSplit
from mdmf.doctor.findings import Example, Finding
from mdmf.doctor.published_counts import (
    N_VIDEOS_OF_SMALL_TEST_IN_FULL_TRAIN,
    VIDEOS_PER_CLASS_OF_CMN,
    published_counts,
)
from mdmf.structures import VideoRecord

Counts = dict[str, dict[str, int]]
"""Split -> class -> videos."""

_OTHER_SSV2 = {"ssv2_small": "ssv2_full", "ssv2_full": "ssv2_small"}
_SURE = 0.9  # share of classes whose counts must be another list's before we say that it is that list


def count_videos(records: Sequence[VideoRecord], classes: ClassSplit) -> Counts:
    """Videos of each class of each split, in the order of `classes`."""
    counts = Counter((record.split, record.class_name) for record in records)
    return {split: {name: counts[split, name] for name in names} for split, names in classes.items()}


def missing_findings(missing: Missing, unused_classes: Sequence[str], n_ignored_files: int) -> list[Finding]:
    """What a class split or a list expects and the disk lacks, and what is there and not used."""
    findings = []
    absent = [Example(class_name=name, split=split) for split, names in missing.classes.items() for name in names]
    if absent:
        hinted = tuple(
            Example(class_name=each.class_name, split=each.split, detail=_on_disk(each.class_name, unused_classes))
            for each in absent
        )
        message = f"{len(absent)} classes of the split have no video on disk; add them, or leave them out of the split"
        findings.append(Finding("error", "missing-class", message, hinted))
    videos = [Example(video=name, split=split) for split, names in missing.videos.items() for name in names]
    if videos:
        message = f"{len(videos):,} listed videos are not on disk; get them, or say with your result that they lack"
        findings.append(Finding("error", "missing-video", message, tuple(videos)))
    if unused_classes:
        examples = tuple(Example(class_name=name) for name in unused_classes)
        findings.append(Finding("info", "unused-class", f"{len(unused_classes)} classes are in no split", examples))
    if n_ignored_files:
        message = f"{n_ignored_files:,} files or folders are no videos and are not used"
        findings.append(Finding("info", "ignored-file", message))
    return findings


def count_findings(counts: Counts, name: str) -> list[Finding]:
    """Classes of each split, and videos of each class, against the published ones.

    Args:
        counts: split -> class -> videos found.
        name: of a published data set.
    """
    published = published_counts(name)
    lacking, foreign, differing = [], [], []
    for split, expected in published.items():
        found = counts.get(split, {})
        lacking += [Example(class_name=each, split=split, detail="lacks") for each in expected if each not in found]
        foreign += [
            Example(class_name=each, split=split, detail="is not of this split")
            for each in found
            if each not in expected
        ]
        differing += [
            Example(class_name=each, split=split, detail=f"{found[each]:,} videos, published {expected[each]:,}")
            for each in expected
            if each in found and found[each] != expected[each]
        ]
    findings = []
    if lacking or foreign:
        sizes = " / ".join(str(len(expected)) for expected in published.values())
        message = (
            f"the classes are not the published {sizes} of {name}: {len(lacking)} lack, {len(foreign)} are of no or of "
            "another split; results are not those of the protocol"
        )
        findings.append(Finding("error", "class-split", message, (*lacking, *foreign)))
    if differing:
        total = sum(sum(found.values()) for found in counts.values())
        expected_total = sum(sum(expected.values()) for expected in published.values())
        message = (
            f"{len(differing)} classes have another number of videos than the published lists of {name} ({total:,} "
            f"videos in all, published {expected_total:,}); results are not those of the protocol"
        )
        findings.append(Finding("error", "video-count", message, tuple(differing)))
    return findings


def ssv2_findings(counts: Counts, name: str) -> list[Finding]:
    """Whether the lists of SSv2-Small are used as SSv2-Full, or the other way round.

    Both have 64 / 12 / 24 classes and the same kind of video ids. They share 55 classes, of which 27 are in the same
    split; Small has 100 videos in each class, Full all of them.

    Args:
        counts: split -> class -> videos found.
        name: `ssv2_small` or `ssv2_full`; nothing is found for another data set.
    """
    if name not in _OTHER_SSV2:
        return []
    other = _OTHER_SSV2[name]
    notice = Finding(
        "info",
        "ssv2-overlap",
        f"{N_VIDEOS_OF_SMALL_TEST_IN_FULL_TRAIN} test videos of ssv2_small are training videos of ssv2_full: never "
        "train on one and test on the other",
    )
    own_share, other_share = _same_classes(counts, name), _same_classes(counts, other)
    if other_share > own_share:
        message = (
            f"the classes of the splits are those of {other} ({other_share:.0%} agree; with {name} {own_share:.0%}): "
            f"the lists or the class split of the wrong one are used; set data.name={other}, or use the lists of {name}"
        )
        return [Finding("error", "ssv2-trap", message), notice]
    if _same_counts_by_place(counts, other) >= _SURE:
        message = (
            f"class by class the splits have as many videos as the lists of {other}, under the class names of {name}: "
            f"these are the lists of {other}, and with numbered lists every label is wrong; use the lists of {name}"
        )
        return [Finding("error", "ssv2-trap", message), notice]
    return [*_whole_folders(counts, name), notice]


def _whole_folders(counts: Counts, name: str) -> list[Finding]:
    """SSv2-Small taken from folders that hold every video of a class."""
    if name != "ssv2_small":
        return []
    too_many = [
        Example(class_name=each, split=split, detail=f"{n_videos:,} videos")
        for split, of_split in counts.items()
        for each, n_videos in of_split.items()
        if n_videos > VIDEOS_PER_CLASS_OF_CMN
    ]
    if not too_many:
        return []
    message = (
        f"{len(too_many)} classes have more than the {VIDEOS_PER_CLASS_OF_CMN} videos that SSv2-Small chose: these are "
        "folders of all of SSv2; give the published lists (data.kind=lists data.lists=…)"
    )
    return [Finding("error", "ssv2-trap", message, tuple(too_many))]


def _same_classes(counts: Counts, name: str) -> float:
    """Share of a data set's classes that are in the same split here, in whatever spelling."""
    expected = {(split, class_key(each)) for split, names in published_counts(name).items() for each in names}
    return len(expected & {(split, class_key(each)) for split, names in counts.items() for each in names}) / len(
        expected
    )


def _same_counts_by_place(counts: Counts, name: str) -> float:
    """Share of places (class number i of a split) that have as many videos here as in a data set's lists."""
    published = published_counts(name)
    pairs = [
        (found, expected)
        for split in published
        for found, expected in zip(counts.get(split, {}).values(), published[split].values(), strict=False)
    ]
    n_places = sum(len(names) for names in published.values())
    return sum(found == expected for found, expected in pairs) / n_places


def _on_disk(class_name: str, unused_classes: Sequence[str]) -> str:
    """What the class may be called on disk."""
    hint: str = nearest_hint(class_name, unused_classes)
    return "no video" + hint.replace("did you mean", "on disk is").replace("?", "")
