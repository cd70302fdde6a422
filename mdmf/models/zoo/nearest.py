"""The nearest prototype on the features as they are, by four distances of videos; nothing is trained.

A class's prototype is the mean of its support videos, frame by frame. `prototype` compares mean frames, `frame_wise`
each frame with the one at its place, `otam` aligns the two sequences, `bi_mhm` sums each frame's smallest distance.
"""

from mdmf.models.branch import PrototypeBranch
from mdmf.models.method import Method, TrainingFree
from mdmf.models.registry import FeatureInfo, register, video_distance
from mdmf.settings import AlignmentSettings, SingleSourceSettings


class NearestSettings(SingleSourceSettings, AlignmentSettings):
    """Settings of a nearest-prototype method."""


@register(
    "prototype",
    NearestSettings,
    citation="Snell et al., Prototypical Networks for Few-shot Learning, NeurIPS 2017 (cosine, untrained)",
    kind="training-free",
)
@register("frame_wise", NearestSettings, citation="frames compared in order, without alignment", kind="training-free")
@register(
    "otam",
    NearestSettings,
    citation="Cao et al., Few-Shot Video Classification via Temporal Alignment (OTAM), CVPR 2020 (untrained)",
    kind="training-free",
)
@register(
    "bi_mhm",
    NearestSettings,
    citation="bidirectional mean Hausdorff metric of Wang et al., Hybrid Relation Guided Set Matching (HyRSM), "
    "CVPR 2022",
    kind="training-free",
)
def make_nearest(settings: NearestSettings, features: FeatureInfo) -> Method:
    """One branch without weights; the method's name is that of its distance."""
    branch = PrototypeBranch(sources=[settings.source], distance=video_distance(settings.name, settings))
    return TrainingFree({settings.source: branch})
