"""Late fusion: each source answers by itself, and the answers are added.

Nothing ties the sources together. The sum is that of the logits, or of the posteriors (`fusion: probability`).
"""

from typing import Literal

from pydantic import Field

from mdmf.models.method import Method
from mdmf.models.multi_source import MultiSourceSettings, source_branches
from mdmf.models.registry import FeatureInfo, register
from mdmf.mutual.fuse import MeanPosterior, WeightedSum


class LateFusionSettings(MultiSourceSettings):
    """Settings of late fusion."""

    fusion: Literal["logits", "probability"] = Field("logits", description="what is added")
    cross_entropy: Literal["fused", "branches", "all"] = Field("branches", description="of which answers")


@register("late_fusion", LateFusionSettings, citation="late fusion (LF), as AMFAR's Table 1 compares it")
def make_late_fusion(settings: LateFusionSettings, features: FeatureInfo) -> Method:
    """A branch per source."""
    branches = source_branches(settings, features)
    if settings.fusion == "probability":
        return Method(branches, fusion=MeanPosterior(), cross_entropy=settings.cross_entropy)
    fusion = WeightedSum(dict.fromkeys(branches, 1.0), temperature=settings.temperature)
    return Method(branches, fusion=fusion, cross_entropy=settings.cross_entropy)
