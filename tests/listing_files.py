"""Empty files and listings of them, for tests of the listing formats."""

from pathlib import Path

from mdmf.data.listing.formats import ListingSettings
from mdmf.data.listing.index import VideoIndex, build_index
from mdmf.data.listing.reading import read_listing


def make_files(root: Path, *paths: str) -> Path:
    """Empty files below root."""
    for path in paths:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return root


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def index_of(root: Path, name: str = "x", **settings: object) -> VideoIndex:
    return build_index(ListingSettings(name, root, **settings))  # type: ignore[arg-type]


def faults_of(root: Path, name: str = "x", **settings: object) -> list[str]:
    """The message of every fault."""
    return list(map(str, read_listing(ListingSettings(name, root, **settings)).faults))  # type: ignore[arg-type]


def ids(index: VideoIndex, split: str | None = None) -> list[str]:
    return [record.video_id for record in index.records if split in (None, record.split)]
