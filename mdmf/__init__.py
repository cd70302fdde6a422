"""mdmf: few-shot action recognition on frozen CLIP features.

Where to begin:

- `mdmf.FewShotRecognizer` (`mdmf.recognition.recognizer`): names clips after a few examples of each action.
- `mdmf.config.load_settings` and `mdmf.engine.workspace.Workspace`: from a config to features, episodes and models.
- `mdmf.models.method.Method`: what a method is.
- `mdmf.distances.alignment.otam_distance`, `mdmf.data.episodes.EpisodeSampler`,
  `mdmf.data.features.store.FeatureStore`: of use by themselves.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mdmf.recognition.recognizer import FewShotRecognizer as FewShotRecognizer

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`from mdmf import FewShotRecognizer`, imported when it is asked for: it brings torch, and `--help` must not."""
    if name == "FewShotRecognizer":
        from mdmf.recognition.recognizer import FewShotRecognizer

        return FewShotRecognizer
    raise AttributeError(f"module 'mdmf' has no attribute {name!r}")
