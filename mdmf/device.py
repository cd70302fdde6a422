"""Which device computes, and in which precision."""

import torch


def resolve_device(name: str) -> torch.device:
    """The device that a setting names; `auto` is CUDA where it can be used, else the CPU.

    Raises:
        ValueError: if the device is unknown, or not on this machine.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"unknown device {name!r}; use auto, cpu, cuda or cuda:<number>") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"device {name!r} is not on this machine ({torch.cuda.device_count()} CUDA devices); use auto")
    return device


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The context in which a model trains: bfloat16 on CUDA unless asked otherwise, float32 elsewhere.

    Autocast on a CPU is slower than float32 on most processors, so `auto` never takes it there.
    """
    use_bfloat16 = precision == "bfloat16" or (precision == "auto" and device.type == "cuda")
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=use_bfloat16)
