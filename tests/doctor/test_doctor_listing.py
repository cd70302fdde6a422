"""The data doctor on a listing: every fault with its place, and one video under two names."""

from finding_helpers import codes, only

from mdmf.data.listing.faults import Fault
from mdmf.data.listing.formats import Entry, Listing
from mdmf.doctor.findings import Example
from mdmf.doctor.listing import listing_findings

CLASSES = {"train": ("kick", "run"), "val": (), "test": ("wave",)}


def listing_of(*names: str) -> Listing:
    """Entries from `split class/video`, line by line."""
    listing = Listing(classes=CLASSES)
    for number, (split, video) in enumerate((name.split() for name in names), 1):
        listing.add(Entry(f"line {number}", video.split("/")[0], video, None, split))
    return listing


def test_a_finding_for_each_kind_of_fault_and_an_example_for_each_fault() -> None:
    faults = [
        Fault("a.csv, line 2", "it is empty", "fill it in"),
        Fault("a.csv, line 3", "`a` and `A`", "write them alike", "class-spelling", "a", is_error=False),
        Fault("a.csv, line 4", "no such split", "correct it", split="tset"),
        Fault("split.yaml", "it is twice", "keep one", "class-in-two-splits", "kick", "test"),
        Fault("x", "it is odd", "look at it", "a-new-kind"),
    ]
    findings = list(listing_findings(Listing(faults=faults), names_are_global=False))
    assert codes(findings) == [
        ("error", "listing"),
        ("warning", "class-spelling"),
        ("error", "class-in-two-splits"),
        ("error", "a-new-kind"),
    ]
    assert findings[0].message.startswith("2 places of the listing or the class split cannot be used")
    assert findings[0].examples == (
        Example("a.csv, line 2", detail="it is empty; fill it in"),
        Example("a.csv, line 4", split="tset", detail="no such split; correct it"),
    )
    assert findings[2].examples == (Example("", "kick", "test", "split.yaml: it is twice; keep one"),)


def test_a_video_under_two_suffixes() -> None:
    listing = listing_of(
        "train kick/1.mp4", "train kick/./1.avi", "train kick/2.mp4", "test kick/2.avi", "test wave/1.mp4"
    )
    findings = list(listing_findings(listing, names_are_global=False))
    assert codes(findings) == [("error", "listed-twice"), ("error", "video-in-two-splits")]
    assert [finding.examples[0].detail for finding in findings] == ["line 1 and line 2", "line 3 and line 4"]


def test_one_name_in_two_splits_or_classes_where_a_name_is_one_video() -> None:
    listing = listing_of(
        "train kick/1.mp4", "test wave/1.webm", "train kick/2.mp4", "train run/2.MP4", "train kick/3.mp4"
    )
    findings = list(listing_findings(listing, names_are_global=True))
    assert codes(findings) == [("error", "video-in-two-splits"), ("error", "video-in-two-classes")]
    assert [finding.examples[0].video for finding in findings] == ["kick/1.mp4", "kick/2.mp4"]
    assert list(listing_findings(listing, names_are_global=False)) == []


def test_what_is_listed_twice_in_one_way_is_one_finding() -> None:
    listing = listing_of("train kick/1.mp4", "train kick/1.mp4", "train kick/1.avi")
    finding = only(listing_findings(listing, names_are_global=False))
    assert (finding.code, len(finding.examples)) == ("listed-twice", 2)


def test_classes_in_no_split_do_not_count() -> None:
    listing = Listing([Entry("", "golf", f"golf/1.{suffix}", None) for suffix in ("mp4", "avi")], classes=CLASSES)
    assert list(listing_findings(listing, names_are_global=False)) == []
