"""From the settings to a listing with all its faults: which format reads it, and which classes are in which split."""

from __future__ import annotations

from collections.abc import Iterator

from mdmf.class_names import class_key
from mdmf.data.listing.faults import Fault
from mdmf.data.listing.formats import Entry, Listing, ListingFormat, ListingSettings
from mdmf.data.listing.splits import (
    ClassSplit,
    load_class_split,
    random_class_split,
    read_class_split,
    repeated_classes,
)
from mdmf.registry import LISTING_FORMATS
from mdmf.resources import shipped_names
from mdmf.structures import SPLITS


def read_listing(settings: ListingSettings) -> Listing:
    """The listed videos, every fault of the listing and the class split, and the classes of each split.

    Raises:
        FileNotFoundError: if the root does not exist.
        ValueError: for an unknown format.
    """
    if not settings.root.is_dir():
        raise FileNotFoundError(f"the folder of videos {settings.root} does not exist; check the setting data.root")
    listing_format: ListingFormat = LISTING_FORMATS[settings.kind]
    given: ClassSplit | None = None
    faults: list[Fault] = []
    if settings.class_split not in (None, "random"):
        given, faults = read_class_split(settings.class_split)
    try:
        listing = listing_format.read(settings, given)
    except OSError as error:  # such as a class folder without permission to read it
        listing = Listing(faults=[Fault(f"{settings.root} (data.root)", str(error), "check the permissions")])
    if not listing.entries and not listing.faults:
        listing.faults.append(Fault(f"data.kind={settings.kind}", "no video is listed", "check what data.root holds"))
    listing.faults[:0] = faults
    with listing.collect_faults():
        listing.classes = _choose_classes(settings, listing, given)
    listing.faults += _spelling_faults(listing, is_error=listing_format.class_folders)
    listing.other_classes = _other_classes(settings.name, given)
    return listing


def _choose_classes(settings: ListingSettings, listing: Listing, given: ClassSplit | None) -> ClassSplit:
    """Split -> classes: of the class split `given`, else of the listing, else random, else shipped for this name.

    A listing that names splits uses those of `given` that it lists.

    Raises:
        Fault: if there is no class split.
    """
    listed_splits = {entry.split for entry in listing.entries} - {None}
    if given is not None:
        return {split: names if split in listed_splits or not listed_splits else () for split, names in given.items()}
    if listed_splits or not listing.entries:
        return _listed_classes(listing)
    if settings.class_split == "random":
        names = {class_key(entry.class_name): entry.class_name for entry in reversed(listing.entries)}
        return random_class_split(names.values(), settings.split_fractions, settings.split_seed)
    if settings.name in shipped_names("splits"):
        return load_class_split(settings.name)
    problem = "there is no class split, so it is unknown which classes are for training, validation and test"
    fix = "name a shipped class split or a YAML file, or set data.class_split=random to deal the classes by chance"
    raise Fault("data.class_split", problem, fix)


def _listed_classes(listing: Listing) -> ClassSplit:
    """The classes of each split that the entries name, sorted; a class in two splits is a fault."""
    first: dict[tuple[str, str], Entry] = {}
    for entry in listing.entries:
        first.setdefault((str(entry.split), class_key(entry.class_name)), entry)
    places = {(split, entry.class_name): entry.where for (split, _), entry in first.items()}
    classes = {split: tuple(sorted(name for of, name in places if of == split)) for split in SPLITS}
    listing.faults += repeated_classes(classes, lambda split, name: places[split, name])
    return classes


def _spelling_faults(listing: Listing, *, is_error: bool) -> Iterator[Fault]:
    """A fault for each class name that the listing also writes in another way; classes in no split do not count."""
    used = {class_key(name) for names in listing.classes.values() for name in names}
    spellings: dict[str, dict[str, str]] = {}  # key -> name -> where it is first written so
    for entry in listing.entries:
        spellings.setdefault(class_key(entry.class_name), {}).setdefault(entry.class_name, entry.where)
    for names in [names for key, names in spellings.items() if key in used and len(names) > 1]:
        for name, where in names.items():
            others = ", ".join(repr(other) for other in names if other != name)
            problem = f"{name!r} and {others} are one class: only case, space, underscore or the like differ"
            fix = "merge the folders, or rename one" if is_error else "write them alike"
            yield Fault(where, problem, fix, "class-spelling", name, is_error=is_error)


def _other_classes(name: str, given: ClassSplit | None) -> tuple[str, ...]:
    """Classes that prompts may name although they are not listed: shipped prompts name every class of a data set."""
    shipped = load_class_split(name) if name in shipped_names("splits") else {}
    return tuple(class_name for split in (given or {}, shipped) for names in split.values() for class_name in names)
