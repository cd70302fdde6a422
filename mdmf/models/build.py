"""From settings to a model: the only place where parts are chosen by name."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from mdmf.models.baselines import BASELINES, baseline_sources, make_baseline
from mdmf.models.multi_modal import MULTI_MODAL, MultiModal, make_multi_modal
from mdmf.models.multi_view import MultiView, make_multi_view
from mdmf.models.two_branch import TwoBranch
from mdmf.own_code import own_factory
from mdmf.settings import ModelSettings, Settings

# Settings of the model section that each maker takes.
_COMPARED = ("otam_temperature", "otam_directions", "cosine_eps")
_TRAINED = (
    *(*_COMPARED, "temperature", "detach_teacher", "distill_weight"),
    *("n_heads", "hidden_size", "attention_dropout", "dropout", "tcn_dropout"),
)
_M2DF = (
    *(*_TRAINED, "views", "alphas", "selector_train", "selector_test", "top_k", "selector_scale", "certainty_token"),
    *("condition", "direction", "distill_per_query", "video_text_weight", "video_text_input", "video_text_scale"),
    "depth",
)
_MULTI_MODAL = (
    *(*_TRAINED, "modalities", "distance", "head_size", "branch_temperature", "strategy", "fusion", "sample_tests"),
    *("precision", "learn_precision", "selection_margin"),
)


def build_model(
    settings: Settings | ModelSettings,
    *,
    feature_sizes: Mapping[str, int],
    logit_scale: float = 100.0,
    allow_code: bool = False,
) -> nn.Module:
    """The model that the settings name.

    Args:
        settings: all settings, or their model section.
        feature_sizes: source name (`rgb`, `flow`) -> D.
        logit_scale: the encoder's own (a factor, not its logarithm).
        allow_code: whether a method of the user's own (`name: module`) may be imported, which runs its code.

    Returns:
        A module that maps an `Episode` to an `EpisodeOutput`.

    Raises:
        ValueError: if one of the model's sources has no features, or a part cannot be made with these sizes.
    """
    chosen = settings.model if isinstance(settings, Settings) else settings
    for source in model_sources(chosen):
        if source not in feature_sizes:
            raise ValueError(f"model {chosen.name!r} needs features of source {source!r}, got {sorted(feature_sizes)}")
    if chosen.name == "module":
        return _own_method(chosen, feature_sizes, logit_scale=logit_scale, allow_code=allow_code)
    if chosen.name in BASELINES:
        return make_baseline(chosen.name, logit_scale=logit_scale, **_parts(chosen, _COMPARED))
    if chosen.name in MULTI_MODAL:
        cross_entropy = chosen.cross_entropy or "branches"
        parts = _parts(chosen, _MULTI_MODAL)
        return make_multi_modal(chosen.name, feature_sizes, cross_entropy=cross_entropy, **parts)
    parts = _parts(chosen, _M2DF)
    cross_entropy = chosen.cross_entropy or "fused"
    return make_multi_view(feature_sizes["rgb"], logit_scale=logit_scale, cross_entropy=cross_entropy, **parts)


def _parts(settings: ModelSettings, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in names}


def _own_method(
    settings: ModelSettings, feature_sizes: Mapping[str, int], *, logit_scale: float, allow_code: bool
) -> TwoBranch:
    """The method that a user's factory makes, checked to be one that can be trained, tested and saved."""
    name = settings.module or ""
    factory = own_factory(name, what="a method", setting="model.name=module", allow_code=allow_code)
    sizes = {source: feature_sizes[source] for source in model_sources(settings)}
    try:
        model = factory(feature_sizes=sizes, logit_scale=logit_scale, **settings.options)
    except (Exception, SystemExit) as error:
        raise ValueError(f"{name!r} fails when it makes the method: {type(error).__name__}: {error}") from error
    if not isinstance(model, TwoBranch):
        raise ValueError(f"{name!r} made a {type(model).__name__}; a method is an mdmf.models.two_branch.TwoBranch")
    if isinstance(model, MultiView | MultiModal) and type(model) not in (MultiView, MultiModal):
        raise ValueError(
            f"{name!r} made a {type(model).__name__}, a subclass of a shipped method: tests keep the tokens of these, "
            "and would not see what it overrides; subclass TwoBranch, or give a shipped method other parts"
        )
    if not list(model.parameters()):
        raise ValueError(f"{name!r} made a method without parameters: there is nothing to train; give it one")
    return model


def model_sources(settings: ModelSettings) -> tuple[str, ...]:
    """The sources of features that a model looks at, in the order `rgb`, `flow`."""
    if settings.name in BASELINES:
        return baseline_sources(settings.name)
    if settings.name in (*MULTI_MODAL, "module"):
        return tuple(modality for modality in ("rgb", "flow") if modality in settings.modalities)
    return ("rgb",)


def reads_text(settings: ModelSettings) -> bool:
    """Whether a model looks at the classes' text; a method of the user's own has it beside the frames."""
    return settings.name in ("m2df", "zero_shot") or (settings.name == "module" and "rgb" in settings.modalities)


def is_trained(name: str) -> bool:
    """Whether a model of this name has weights to learn."""
    return name not in BASELINES
