"""AMFAR: Active Exploration of Multimodal Complementarity for Few-Shot Action Recognition (Wanyan et al., CVPR 2023).

Each source (RGB frames, optical flow, …) has its own features, head and distance. The one that is more certain of a
query teaches the others (active sample selection, active mutual distillation), and the answer weighs all by their
certainty (adaptive multimodal inference). A query whose features of one source are missing is answered by the others.
"""

from typing import Literal

from pydantic import Field

from mdmf.models.method import Method
from mdmf.models.multi_source import MutualSettings, mutual_method
from mdmf.models.registry import FeatureInfo, register
from mdmf.mutual.selection import ActiveSampleSelection


class AmfarSettings(MutualSettings):
    """Settings of AMFAR."""

    sample_tests: Literal["both", "absolute", "relative"] = Field("both", description="certainties compared")
    best_teacher: bool = Field(False, description="of several teachers of one source, only the most certain teaches")


@register(
    "amfar",
    AmfarSettings,
    citation="Wanyan et al., Active Exploration of Multimodal Complementarity for Few-Shot Action Recognition (AMFAR), "
    "CVPR 2023",
    lost="backbones are frozen; the head is ours, since the paper does not state it",
)
def make_amfar(settings: AmfarSettings, features: FeatureInfo) -> Method:
    """A branch per source, selected and weighed by certainty."""
    selection = ActiveSampleSelection(tests=settings.sample_tests, best_teacher=settings.best_teacher)
    return mutual_method(settings, features, selection)
