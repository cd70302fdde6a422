"""Reads the authors' CLIP-MDMF checkpoints."""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from mdmf.models.build import build_model
from mdmf.models.zoo.m2df import PRESETS
from mdmf.settings import method_settings

# Their name -> ours. Their `context2` fuses the local view, `context_local` the global one: their names are crossed.
_FUSION_VIEWS = {"context2": "local", "context_local": "global"}
_FUSION_PARTS = {
    "0.norm": "attention.norm",
    "0.fn.to_q": "attention.to_q",
    "0.fn.to_k": "attention.to_k",
    "0.fn.to_v": "attention.to_v",
    "0.fn.to_out.0": "attention.project",
    "1.net.0": "feed_forward.0",
    "1.net.3": "feed_forward.3",
}
_TCN_PARTS = {
    "conv1": "first",
    "conv2": "second",
    "bias": "bias",
    "weight_g": "parametrizations.weight.original0",
    "weight_v": "parametrizations.weight.original1",
}
_LOCAL_CONVOLUTIONS = {"context_conv1": "first", "context_conv2": "second"}
# The visual tower is the frozen encoder's affair; conv11 and conv22 are never used; net.* repeats conv1 and conv2.
_IGNORED = re.compile(r"^(backbone\.|context_conv(11|22)\.|tcn\.network\.\d+\.net\.)")


def our_name(name: str) -> str | None:
    """The name in our CLIP-M2DF of one tensor of their state dict; None for a tensor that is not needed.

    Raises:
        ValueError: for a name that is not of a CLIP-MDMF checkpoint.
    """
    if _IGNORED.match(name):
        return None
    if name == "scale":
        return "video_text.scale"
    if match := re.fullmatch(r"(context2|context_local)\.layers\.(\d+)\.(.+)\.(weight|bias)", name):
        module, layer, part, kind = match.groups()
        if part in _FUSION_PARTS:
            return f"branches.{_FUSION_VIEWS[module]}.fusion.layers.{layer}.{_FUSION_PARTS[part]}.{kind}"
    if match := re.fullmatch(r"(context_conv[12])\.(weight|bias)", name):
        return f"branches.local.context.{_LOCAL_CONVOLUTIONS[match[1]]}.{match[2]}"
    if match := re.fullmatch(r"tcn\.network\.(\d+)\.(conv[12])\.(bias|weight_g|weight_v)", name):
        block, convolution, kind = match.groups()
        return f"branches.global.context.blocks.{block}.{_TCN_PARTS[convolution]}.{_TCN_PARTS[kind]}"
    raise ValueError(f"unknown tensor {name!r}: this is not the state dict of a CLIP-MDMF checkpoint")


def load_clip_mdmf(
    state: Mapping[str, Tensor],
    *,
    otam_directions: str = "both",
    condition: str | None = None,
    direction: str | None = None,
    preset: str = "paper",
) -> nn.Module:
    """CLIP-M2DF with the weights of an authors' checkpoint, in evaluation mode.

    Its losses are in the output in evaluation mode too: the distillation always, the cross-entropy with query labels,
    the video-text loss once `model.video_text.set_classes(all_class_text)` was called.

    Args:
        state: their state dict: name -> tensor (a leading `module.` is removed).
        otam_directions: `both` or `query_to_support`.
        condition: distillation condition; None: the preset's (`both` in `paper`, `text` in `released`).
        direction: distillation direction; None: the preset's (`both`, `global_to_local`).
        preset: `paper` or `released`; what is given explicitly wins over it.

    Raises:
        ValueError: for an unknown preset, a tensor that does not belong, or one that is missing.
    """
    if preset not in PRESETS:
        raise ValueError(f"preset must be one of {tuple(PRESETS)}, got {preset!r}")
    state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    settings: dict[str, Any] = {"preset": preset, "otam_directions": otam_directions}
    settings |= {key: value for key, value in (("condition", condition), ("direction", direction)) if value is not None}
    renamed = {ours: tensor for name, tensor in state.items() if (ours := our_name(name)) is not None}
    try:
        hidden_size, size = state["context2.layers.0.1.net.0.weight"].shape
    except KeyError as error:
        raise ValueError(
            f"the checkpoint lacks {error}: this is not the state dict of a CLIP-MDMF checkpoint"
        ) from None
    depth = 1 + max(int(match[1]) for name in state if (match := re.match(r"context2\.layers\.(\d+)\.", name)))
    model = build_model(
        method_settings({"name": "m2df", "depth": depth, "hidden_size": hidden_size, **settings}),
        feature_sizes={"rgb": size},
        logit_scale=1.0,
    )
    expected = model.state_dict()
    missing, unexpected = sorted(expected.keys() - renamed.keys()), sorted(renamed.keys() - expected.keys())
    if missing or unexpected:
        raise ValueError(f"the checkpoint lacks {missing or 'nothing'} and has {unexpected or 'nothing'} too many")
    misshapen = [name for name, tensor in renamed.items() if tensor.shape != expected[name].shape]
    if misshapen:
        name = misshapen[0]
        raise ValueError(
            f"{name} of the checkpoint is {tuple(renamed[name].shape)}, expected {tuple(expected[name].shape)}"
        )
    model.load_state_dict(renamed)
    return model.eval()
