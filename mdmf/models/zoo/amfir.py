"""AMFIR (arXiv 2506.13322): AMFAR with samples selected by active inference. Our reading: its equations are not public.

A source is believed as far as its answer is certain and agrees with the others', and as far as it explains the labels
of the support videos. The more believed source teaches, and the beliefs weigh the sources in the answer.
"""

from pydantic import Field, model_validator

from mdmf.models.method import Method
from mdmf.models.multi_source import MutualSettings, mutual_method
from mdmf.models.registry import FeatureInfo, register
from mdmf.mutual.selection import ActiveInferenceSelection


class AmfirSettings(MutualSettings):
    """Settings of AMFIR, as we read it."""

    precision: float = Field(1.0, ge=0, description="γ of the expected free energy")
    learn_precision: bool = Field(False, description="γ is trained")
    selection_margin: float = Field(0.05, ge=0, lt=0.5, description="of a teacher's belief over 0.5")

    @model_validator(mode="after")
    def _precision_can_be_learned(self) -> "AmfirSettings":
        if self.learn_precision and (self.cross_entropy == "branches" or self.fusion != "active"):
            raise ValueError(
                "learn_precision trains γ through the fused answer: set cross_entropy to fused or all, and fusion to "
                f"active; got {self.cross_entropy} and {self.fusion}"
            )
        return self


@register(
    "amfir",
    AmfirSettings,
    citation="AMFIR, arXiv 2506.13322; selection in our reading",
    our_reading=True,
    lost="backbones are frozen; the head is ours",
)
def make_amfir(settings: AmfirSettings, features: FeatureInfo) -> Method:
    """A branch per source, selected and weighed by belief."""
    selection = ActiveInferenceSelection(
        precision=settings.precision, margin=settings.selection_margin, learn_precision=settings.learn_precision
    )
    return mutual_method(settings, features, selection)
