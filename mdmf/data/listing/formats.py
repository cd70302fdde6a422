"""The contract of a listing format: it reads a listing once, and returns every video and every fault in it.

A format is one file in this folder, and no other file names it. It reads `data.root`, `data.csv` or `data.lists`:

    def read_csv(settings: ListingSettings, classes: ClassSplit | None) -> Listing: ...

    LISTING_FORMATS.add("csv", ListingFormat(read_csv, needs=("csv",)), module=__name__)

`data.kind=csv` selects it. The function returns the listed videos with the class names and splits of the listing. It
does not choose class splits, sort videos or match the spelling of classes: `reading` and `index` do this for every
format.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from mdmf.class_names import class_key
from mdmf.data.listing.faults import Fault, MissingFile
from mdmf.data.listing.splits import ClassSplit


@dataclass(frozen=True)
class ListingSettings:
    """The settings of a listing; the fields have the names of those under `data`.

    Attributes:
        name: of the data set; its shipped class split is the default, and `hmdb51` and `ucf101` have a group pattern.
        kind: name of the format.
        root: folder of the videos, an absolute path.
        csv: file of the format `csv`.
        lists: split -> file of the format `lists`.
        class_split: shipped name, path of a YAML file, or `random`, for listings that name no splits.
        split_fractions: of train, val and test, for a random split of the classes.
        split_seed: of that random split.
        group_pattern: regular expression with one capture group, searched in the file name; `{class}` in it stands
            for the class. What it captures is the video's source recording, where the listing does not say it.
    """

    name: str
    root: Path
    kind: str = "folder"
    csv: Path | None = None
    lists: Mapping[str, Path] | None = None
    class_split: str | Path | None = None
    split_fractions: tuple[float, float, float] = (0.64, 0.12, 0.24)
    split_seed: int = 0
    group_pattern: str | None = None


class Entry(NamedTuple):
    """One listed video.

    `where` is its file and line, or its path. `class_name` is spelled as in the listing. `video_id` is its path below
    root with `/` between the parts. A video that is not on disk has the `path` None, and as `video_id` its name in the
    listing. `split` and `group` (the source recording) are None if the listing does not give them.
    """

    where: str
    class_name: str
    video_id: str
    path: Path | None
    split: str | None = None
    group: str | None = None


@dataclass
class Listing:
    """What a format reads.

    Attributes:
        entries: the listed videos, each once.
        faults: in the order of the listing.
        empty_classes: classes that are listed without a video.
        n_ignored_files: files and folders that are no videos.
        classes: split -> its classes, also those without videos (set by `reading.read_listing`).
        other_classes: of the class split of the settings and the shipped one of the data set (set there too).
    """

    entries: list[Entry] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    empty_classes: list[str] = field(default_factory=list)
    n_ignored_files: int = 0
    classes: ClassSplit = field(default_factory=dict)
    other_classes: tuple[str, ...] = ()
    _first: dict[Hashable, Entry] = field(default_factory=dict)

    def add(self, entry: Entry, key: Hashable | None = None) -> None:
        """Add a video, or a fault if it is listed already: if another one has the same key (default: `video_id`)."""
        first = self._first.setdefault(entry.video_id if key is None else key, entry)
        if first is entry:
            self.entries.append(entry)
            return
        code, why = "listed-twice", "it could be support and query of one episode"
        if entry.split != first.split:
            code, why = "video-in-two-splits", "what is tested was trained on"
        where = f"{first.where} and {entry.where}"
        problem = f"the same video {entry.video_id!r} is listed twice: {why}"
        self.faults.append(Fault(where, problem, "remove or rename one", code, split=entry.split or ""))

    @contextmanager
    def collect_faults(self) -> Iterator[None]:
        """Add a fault that is raised within the block; the block ends there."""
        try:
            yield
        except Fault as fault:
            self.faults.append(fault)

    def resolved(self) -> Iterator[Entry]:
        """The entries with class names spelled as in `classes`, and with their splits (None: in no split)."""
        places = {class_key(name): (name, split) for split, names in self.classes.items() for name in names}
        for entry in self.entries:
            name, split = places.get(class_key(entry.class_name), (entry.class_name, None))
            yield entry._replace(class_name=name, split=entry.split or split)


class ListingFormat(NamedTuple):
    """What is registered under the name of a format.

    Attributes:
        read: (settings, the class split that they name; None: none, or a random one) -> what is listed.
        needs: settings under `data` that must be given.
        class_folders: a class is a folder, so that two folders for one class are a fault.
        are_videos: entries are video files or folders of frames, which can be decoded.
        needs_root: the format cannot do without the folder `data.root`; others may take `data.lists` in its place.
    """

    read: Callable[[ListingSettings, ClassSplit | None], Listing]
    needs: tuple[str, ...] = ()
    class_folders: bool = False
    are_videos: bool = True
    needs_root: bool = True


def read_text(path: Path | None, setting: str) -> str:
    """The text of a file that a setting names.

    Raises:
        Fault: if there is no such file, or it is no text.
    """
    if path is None:
        raise Fault(setting, "no file is named", "set it to the path of a file")
    if not path.expanduser().is_file():
        raise MissingFile(str(path), "the file does not exist", f"check the setting {setting}")
    try:
        return path.expanduser().read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise Fault(str(path), f"the file is not UTF-8 text ({error.reason})", "save it as UTF-8") from None
