"""CLIP's own zero-shot answer: the cosine of a query's mean frame with the text of each class.

No support video is looked at. The classes' text alone decides, so the result does not depend on the number of shots.
"""

from collections.abc import Mapping

from pydantic import Field
from torch import Tensor

from mdmf.distances.pairwise import COSINE_EPS, cosine_similarity
from mdmf.models.branch import Branch, Task, Tokens
from mdmf.models.method import Method, TrainingFree
from mdmf.models.registry import FeatureInfo, register
from mdmf.settings import SingleSourceSettings
from mdmf.structures import BranchOutput


class ZeroShotSettings(SingleSourceSettings):
    """Settings of the zero-shot answer."""

    cosine_eps: float = Field(0.01, ge=0, description="added to the product of norms")


class TextBranch(Branch):
    """`logit_scale·cos(mean frame, class text)`."""

    compares_support = False

    def __init__(self, *, source: str, logit_scale: float, eps: float = COSINE_EPS) -> None:
        super().__init__(sources=[source])
        self.logit_scale, self.eps = logit_scale, eps

    def embed(self, features: Mapping[str, Tensor], prompts: Tensor | None = None) -> Tokens:
        """The mean frame: (B, D)."""
        return {"mean_frame": features[self.sources[0]].mean(dim=1)}

    def compare(self, support: Tokens, query: Tokens, task: Task) -> BranchOutput:
        """Logits from the classes' text."""
        if task.class_text is None:
            raise ValueError("zero_shot needs the class text of an episode, got class_text=None")
        return BranchOutput(self.logit_scale * cosine_similarity(query["mean_frame"], task.class_text, eps=self.eps))

    def usable(self, task: Task, *, n_queries: int) -> Tensor | None:
        """Support videos may be missing."""
        return task.query_present


@register(
    "zero_shot",
    ZeroShotSettings,
    citation="Radford et al., Learning Transferable Visual Models From Natural Language Supervision (CLIP), ICML 2021",
    kind="training-free",
    reads_text=True,
)
def make_zero_shot(settings: ZeroShotSettings, features: FeatureInfo) -> Method:
    """One branch without weights."""
    branch = TextBranch(source=settings.source, logit_scale=features.logit_scale, eps=settings.cosine_eps)
    return TrainingFree({settings.source: branch})
