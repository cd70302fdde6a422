"""Features without videos: `root/class/video.npy`, or a file per split whose keys are `class/video`.

Every class is a test class unless a split is given: `data.lists`, `data.class_split`, or the shipped split of the name.
"""

from __future__ import annotations

from pathlib import Path

from mdmf.class_names import some_of
from mdmf.data.listing.faults import Fault, MissingFile
from mdmf.data.listing.formats import Entry, Listing, ListingFormat, ListingSettings
from mdmf.data.listing.splits import ClassSplit
from mdmf.registry import LISTING_FORMATS
from mdmf.resources import shipped_names

_FIX = "expected class/video.npy below data.root, or data.lists with a safetensors or HDF5 file per split"


def read_imported(settings: ListingSettings, classes: ClassSplit | None) -> Listing:
    """The features that are listed; the video id is `class/video`."""
    listing = Listing()
    if settings.lists:
        for split, file in settings.lists.items():
            with listing.collect_faults():
                _read_keys(file.expanduser(), split, listing)
        return listing
    is_split = settings.class_split is not None or settings.name in shipped_names("splits")
    _read_folders(settings.root, None if is_split else "test", listing)
    if not listing.entries and not listing.faults:
        contents = some_of(sorted(path.name for path in settings.root.iterdir()))
        listing.faults.append(Fault(f"{settings.root} (data.root)", f"no features; it has {contents}", _FIX))
    return listing


def _read_keys(file: Path, split: str, listing: Listing) -> None:
    """Add the videos that are keys of a file.

    Raises:
        Fault: if there is no such file, or it cannot be read.
    """
    from mdmf.data.arrays import open_keyed

    if not file.is_file():
        raise MissingFile(str(file), "the file does not exist", "check the setting data.lists")
    try:
        with open_keyed(file) as arrays:
            keys = arrays.keys()
    except ValueError as error:
        raise Fault(str(file), str(error), "write it again") from None
    for key in keys:
        class_name, _, name = key.rpartition("/")
        with listing.collect_faults():
            if not class_name or not name or "/" in class_name:
                raise Fault(f"{file}: {key}", "the key is not class/video", "write it again with such keys")
            listing.add(Entry(f"{file}: {key}", class_name, key, file, split))


def _read_folders(root: Path, split: str | None, listing: Listing) -> None:
    """Add the arrays in the folders of the classes."""
    for folder in sorted(path for path in root.iterdir() if path.is_dir() and path.name[0] != "."):
        files = sorted(path for path in folder.iterdir() if path.name[0] != ".")
        arrays = [path for path in files if path.suffix.lower() == ".npy" and path.is_file()]
        listing.n_ignored_files += len(files) - len(arrays)
        listing.empty_classes += [] if arrays else [folder.name]
        for file in arrays:
            video_id = f"{folder.name}/{file.stem}"
            listing.add(Entry(video_id, folder.name, video_id, file, split))


FORMAT = ListingFormat(read_imported, needs_root=False, class_folders=True, are_videos=False)
LISTING_FORMATS.add("imported", FORMAT, module=__name__)
