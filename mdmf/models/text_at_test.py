"""Text at test time (CLIP-FSAR): `p ∝ p_text^a · p_visual^(1-a)`, around any method."""

from dataclasses import replace

from torch import Tensor, nn

from mdmf.models.build import build_model
from mdmf.old_settings import with_settings
from mdmf.settings import MethodSettings, method_settings
from mdmf.structures import Episode, EpisodeOutput


def combine_with_text(visual_logits: Tensor, text_logits: Tensor, weight: float) -> Tensor:
    """Log of the geometric mean of two posteriors, up to a constant per query; (..., N) each, weight a in [0, 1]."""
    return weight * text_logits.log_softmax(dim=-1) + (1 - weight) * visual_logits.log_softmax(dim=-1)


def text_settings(model: MethodSettings) -> MethodSettings:
    """The method that answers by the text alone (`zero_shot`), with cosines as those of another method."""
    measuring = getattr(model, "of", None) or model  # a method that wraps another one measures as that one does
    return method_settings(with_settings("zero_shot", measuring.model_dump(include={"cosine_eps"})))


def text_model(model: MethodSettings, *, logit_scale: float, feature_size: int) -> nn.Module:
    """The model that answers by the class text alone, to combine with a method."""
    settings = text_settings(model)
    sizes = dict.fromkeys(settings.used_sources, feature_size)
    return build_model(settings, feature_sizes=sizes, logit_scale=logit_scale)


class TextAtTest(nn.Module):
    """A method whose answers are combined, in evaluation only, with those of the class text.

    Args:
        model: gives the visual posterior.
        text: gives the text posterior (`text_model`).
        weight: a, in [0, 1].
    """

    def __init__(self, model: nn.Module, text: nn.Module, *, weight: float) -> None:
        super().__init__()
        if not 0 <= weight <= 1:
            raise ValueError(f"the text weight must be in [0, 1], got {weight}")
        self.model, self.text, self.weight = model, text, weight

    def forward(self, episode: Episode) -> EpisodeOutput:
        """The model's output with `logits` replaced."""
        return self.combine(self.model(episode), episode)

    def combine(self, output: EpisodeOutput, episode: Episode) -> EpisodeOutput:
        """An answer of the model, with the text's; unchanged in training mode or at weight 0."""
        if self.training or self.weight == 0:
            return output
        return replace(output, logits=combine_with_text(output.logits, self.text(episode).logits, self.weight))
