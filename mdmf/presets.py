"""The two presets of CLIP-M2DF (METHODS 2): what the paper says, and what the authors' released code does."""

from typing import Any, Final

# Keyed by the names of the model settings, so that one table serves the settings and the reader of checkpoints.
MODEL_PRESETS: Final[dict[str, dict[str, Any]]] = {
    "paper": {
        "selector_test": "argmax",
        "certainty_token": "prompt",
        "condition": "both",
        "direction": "both",
        "detach_teacher": True,
        "distill_weight": 1.0,
        "distill_per_query": False,
        "video_text_weight": 0.5,
        "video_text_input": "fused",
        "video_text_scale": None,  # the encoder's own logit scale
    },
    "released": {
        "selector_test": "sample",
        "certainty_token": "first_frame",
        "condition": "text",
        "direction": "global_to_local",
        "detach_teacher": False,
        "distill_weight": 1.0,
        "distill_per_query": True,  # theirs sums the cross-entropy over queries and averages the distillation
        "video_text_weight": 0.0,
        "video_text_input": "input",
        "video_text_scale": 1.0,
    },
}

FRAME_RULES: Final[dict[str, str]] = {"paper": "uniform", "released": "linspace_inner"}
