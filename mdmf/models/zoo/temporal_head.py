"""The temporal head (ours) on one source: what AMFAR, AMFIR and late fusion give to each of their sources.

A projection, the global temporal context and one attention layer over the frames; the tokens are compared with each
class's prototype by OTAM or another distance. It is the single-source row beside the methods of several sources.
"""

from mdmf.models.method import Method
from mdmf.models.multi_source import HeadSettings, head_branch
from mdmf.models.registry import FeatureInfo, register
from mdmf.settings import SingleSourceSettings


class TemporalHeadSettings(SingleSourceSettings, HeadSettings):
    """Settings of the temporal head."""


@register(
    "temporal_head", TemporalHeadSettings, citation="ours: the head that the papers of AMFAR and AMFIR leave open"
)
def make_temporal_head(settings: TemporalHeadSettings, features: FeatureInfo) -> Method:
    """One branch with the head."""
    return Method({settings.source: head_branch(settings, features, sources=[settings.source])})
