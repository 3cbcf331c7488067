"""The device and the precision that "auto" stands for."""

import torch

from autokd.errors import InputError

__all__ = ["pick_device", "pick_precision"]


def pick_device(name: str) -> torch.device:
    """The device of that name; "auto" is the first GPU, else the CPU.

    Raises:
        InputError: If torch does not know it or it is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"workers.device {name!r} is not usable here: {str(error).splitlines()[0]}") from None
    return device


def pick_precision(name: str, device: torch.device) -> str:
    """The precision of that name; "auto" is bfloat16 where the processor computes in it, else float32.

    On a CPU without such instructions bfloat16 is emulated and slower than float32.
    """
    if name != "auto":
        return name
    native = torch.cuda.is_bf16_supported() if device.type == "cuda" else _cpu_has_bfloat16()
    return "bfloat16" if native else "float32"


def _cpu_has_bfloat16() -> bool:
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
