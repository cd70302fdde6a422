"""From settings to what the parts of an experiment are made from: the listing, the sentences, the feature stores."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any, cast

from mdmf.data.features.store import StoreSettings
from mdmf.data.features.stores import ExtractionOptions, StoreRecipe
from mdmf.data.listing.formats import ListingSettings
from mdmf.data.listing.index import VideoIndex
from mdmf.data.sources.source import FeatureSource, PictureSource
from mdmf.encoders.prompts import class_sentences, load_prompts
from mdmf.files import content_size, file_sha256, json_sha256
from mdmf.registry import LISTING_FORMATS
from mdmf.resources import resource_folder
from mdmf.settings import EncoderSettings, Settings
from mdmf.source_settings import DEFAULT_SOURCE
from mdmf.structures import VideoRecord

STORES = Path("stores")


def prompt_file(settings: Settings) -> Path:
    """Where the sentences come from: `data.prompts`, else the shipped file of the data's name, else the default one."""
    shipped = resource_folder("prompts")
    own = shipped / f"{settings.data.name}.yaml"
    return settings.data.prompts or (own if own.is_file() else shipped / "default.yaml")


def listing_settings(settings: Settings) -> ListingSettings:
    """What the settings say about which videos there are.

    Raises:
        ValueError: if `data.root` is not set.
    """
    values = {field.name: getattr(settings.data, field.name) for field in fields(ListingSettings)}
    if values["lists"] and not LISTING_FORMATS[settings.data.kind].needs_root:
        values["root"] = values["root"] or next(iter(values["lists"].values())).parent
    if values["root"] is None:
        raise ValueError("data.root is not set; give the folder of the videos, as in data.root=/my/videos")
    root = Path(os.path.abspath(values["root"].expanduser()))  # noqa: PTH100, resolve() follows links: other ids
    return ListingSettings(**values | {"root": root})


def sentences_of(settings: Settings, index: VideoIndex) -> dict[str, list[str]]:
    """The prompts of every class of every split, as they are sent to the text encoder."""
    names = [name for names in index.classes.values() for name in names]
    return class_sentences(load_prompts(prompt_file(settings)), names, known_classes=index.known_classes)


def as_it_lies(settings: Settings) -> Settings:
    """The same with the embedded world read as the folder that it is: missing videos of it are not drawn."""
    if settings.data.kind != "shapes":
        return settings
    return settings.model_copy(update={"data": settings.data.model_copy(update={"kind": "folder"})})


def declared_source(settings: Settings, name: str) -> PictureSource | FeatureSource:
    """A source of the settings; their class is that of its kind.

    Raises:
        ValueError: if it is not declared.
    """
    return cast(PictureSource | FeatureSource, settings.source(name))


def store_recipes(
    settings: Settings, records: Sequence[VideoRecord], sources: Iterable[str], *, corruption: str = ""
) -> dict[str, StoreRecipe]:
    """Source -> what its store is made from.

    Args:
        settings: of the experiment.
        records: the videos.
        sources: names of declared sources.
        corruption: what is done to the frames on purpose, such as `noise:0.2`; "" for nothing.

    Raises:
        ValueError: if a source is not declared, or its files are not there.
        ImportError: if a package that a source needs is missing.
    """
    # Sizes tell other videos of the same names apart; times would differ from machine to machine.
    sizes = cache(lambda: sorted(((r.video_id, r.class_name, r.group, content_size(r.path)) for r in records), key=str))
    recipes = {}
    for name in sources:
        source = declared_source(settings, name)
        source.check(name)
        store = store_settings(settings, name, records, corruption=corruption)
        recipes[name] = StoreRecipe(source, store, _folder(settings, name, store, sizes))
    return recipes


def store_settings(
    settings: Settings, name: str, records: Sequence[VideoRecord] = (), *, corruption: str = ""
) -> StoreSettings:
    """What the store of a source must have been made with, as far as it is known without loading the encoder.

    Args:
        settings: of the experiment.
        name: of the source.
        records: the videos; needed by sources that read files of their own.
        corruption: what is done to the frames on purpose.
    """
    source = declared_source(settings, name)
    rule = source.used_rule(settings.view_rule)
    if corruption:  # of the test view alone
        rule = replace(rule, n_variants=1, seed=settings.corrupt.seed)
    return StoreSettings(
        source=name,
        encoder=requested_encoder(settings.encoder_of(name)) if source.needs_encoder else {},
        rule=rule,
        contents=source.contents(records),
        unused_contents=source.unused_contents,
        corruption=corruption,
    )


def extraction_options(settings: Settings, *, progress: bool) -> ExtractionOptions:
    """How features are extracted."""
    encoder = settings.encoder
    return ExtractionOptions(settings.data.n_workers, encoder.batch_frames, encoder.device, progress)


def requested_encoder(encoder: EncoderSettings) -> dict[str, str]:
    """What is asked of an encoder, known without loading it; a local file is named by its content."""
    weights = f"random (seed {encoder.seed})" if encoder.weights == "random" else encoder.weights
    path = Path(encoder.weights).expanduser()
    if path.is_file():
        weights = f"file {file_sha256(path)[:16]}"
    requested = {"library": encoder.library, "requested": f"{encoder.model} {weights}"}
    return requested if encoder.precision == "auto" else requested | {"precision": encoder.precision}


def _folder(settings: Settings, name: str, store: StoreSettings, sizes: Callable[[], list[Any]]) -> Path:
    """The folder that is set, or one named by all that decides the contents of the store."""
    chosen = settings.source(name).store
    if chosen is not None and not store.corruption:
        return chosen
    key = json_sha256([store.to_json(), sizes()])[:10]
    parts = [settings.data.name, *([] if name == DEFAULT_SOURCE else [name]), key]
    return (STORES if chosen is None else chosen.parent) / "-".join(parts)
