"""From settings to a method."""

from collections.abc import Mapping

from mdmf.models.method import Method
from mdmf.models.registry import FeatureInfo, make_method
from mdmf.registry import METHODS
from mdmf.settings import MethodSettings, Settings


def build_model(
    settings: Settings | MethodSettings,
    *,
    feature_sizes: Mapping[str, int],
    n_frames: int | None = None,
    logit_scale: float = 100.0,
    allow_code: bool = False,
) -> Method:
    """The method that the settings name.

    Args:
        settings: all settings, or their model section.
        feature_sizes: source -> D.
        n_frames: T, for methods whose weights depend on it.
        logit_scale: the encoder's own (a factor, not its logarithm).
        allow_code: whether a method of the user's own (`name: module`) may be imported, which runs its code.

    Returns:
        A module that maps an `Episode` to an `EpisodeOutput`.

    Raises:
        ValueError: if one of the method's sources has no features, or a part cannot be made with these sizes.
    """
    requested = settings.model if isinstance(settings, Settings) else settings
    resolved = requested.resolved(allow_code=allow_code)
    features = FeatureInfo(sizes=feature_sizes, n_frames=n_frames, logit_scale=logit_scale)
    if not METHODS[resolved.name].is_own:
        return make_method(resolved, features)
    try:
        method = make_method(resolved, features)
    except (Exception, SystemExit) as error:
        raise ValueError(
            f"{resolved.name!r} fails when it makes the method: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(method, Method):
        raise ValueError(f"{resolved.name!r} made a {type(method).__name__}; expected an mdmf.models.method.Method")
    if resolved.is_trained and not method.has_weights:
        raise ValueError(f"{resolved.name!r} has no parameters to train; register it with kind='training-free'")
    return method
