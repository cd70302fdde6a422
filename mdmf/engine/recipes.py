"""From settings to what the feature stores of an experiment are made from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, cast

from mdmf.data.features.store import StoreSettings
from mdmf.data.features.stores import ExtractionOptions, StoreRecipe
from mdmf.data.sources.source import FeatureSource, PictureSource
from mdmf.files import content_size, file_sha256, json_sha256
from mdmf.settings import DEFAULT_SOURCE, EncoderSettings, Settings
from mdmf.structures import VideoRecord

STORES = Path("stores")


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
