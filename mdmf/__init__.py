"""mdmf: few-shot action recognition on frozen CLIP features."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mdmf.engine.recognizer import FewShotRecognizer as FewShotRecognizer

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`from mdmf import FewShotRecognizer`, imported when it is asked for: it brings torch, and `--help` must not."""
    if name == "FewShotRecognizer":
        from mdmf.engine.recognizer import FewShotRecognizer

        return FewShotRecognizer
    raise AttributeError(f"module 'mdmf' has no attribute {name!r}")
