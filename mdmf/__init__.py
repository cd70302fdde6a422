"""mdmf: few-shot action recognition on frozen CLIP features.

Entry points:

- `mdmf.FewShotRecognizer` (`mdmf.recognition.recognizer`): classifies clips by a few examples of each action.
- `mdmf.config.load_settings` and `mdmf.engine.workspace.Workspace`: from a config to features, episodes and models.
- `mdmf.models.method.Method`: base class of all methods.
- `mdmf.distances.alignment.otam_distance`, `mdmf.data.episodes.EpisodeSampler`,
  `mdmf.data.features.store.FeatureStore`: usable on their own.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mdmf.recognition.recognizer import FewShotRecognizer as FewShotRecognizer

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import `FewShotRecognizer` on first access: it imports torch, which would slow down `--help`."""
    if name == "FewShotRecognizer":
        from mdmf.recognition.recognizer import FewShotRecognizer

        return FewShotRecognizer
    raise AttributeError(f"module 'mdmf' has no attribute {name!r}")
