"""From settings to a model: the only place where parts are chosen by name."""

from collections.abc import Mapping

from torch import nn

from mdmf.config import ModelSettings, Settings
from mdmf.models.baselines import BASELINES, make_baseline
from mdmf.models.multi_view import make_multi_view

# Settings of the model section that are not arguments of `make_multi_view`.
_NOT_PARTS = {"name", "preset", "text_weight"}


def build_model(
    settings: Settings | ModelSettings, *, feature_sizes: Mapping[str, int], logit_scale: float = 100.0
) -> nn.Module:
    """The model that the settings name.

    Args:
        settings: all settings, or their model section.
        feature_sizes: source name (`rgb`, `flow`) -> D.
        logit_scale: the encoder's own (a factor, not its logarithm).

    Returns:
        A module that maps an `Episode` to an `EpisodeOutput`.

    Raises:
        ValueError: if the model's source has no features, or a part cannot be made with these sizes.
    """
    chosen = settings.model if isinstance(settings, Settings) else settings
    source = "rgb"
    if source not in feature_sizes:
        raise ValueError(f"model {chosen.name!r} needs features of source {source!r}, got {sorted(feature_sizes)}")
    if chosen.name in BASELINES:
        return make_baseline(
            chosen.name,
            logit_scale=logit_scale,
            otam_temperature=chosen.otam_temperature,
            otam_directions=chosen.otam_directions,
            cosine_eps=chosen.cosine_eps,
            source=source,
        )
    parts = chosen.model_dump(exclude=_NOT_PARTS)
    return make_multi_view(feature_sizes[source], logit_scale=logit_scale, source=source, **parts)


def is_trained(name: str) -> bool:
    """Whether a model of this name has weights to learn."""
    return name not in BASELINES
