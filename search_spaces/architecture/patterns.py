"""Operations whose names carry numbers: those of networks that were drawn elsewhere, such as a teacher's.

    conv 5x5 [_padding 0x2] [_dilation 2] [_bias] [_bn] [_ACTIVATION]                as in `conv5x5_bias_relu`
    depthwise ...                                                                    the same
    linear [_bias] [_bn] [_ACTIVATION]                                               on vectors
    maxpool 4x4 [_padding 1]
    average 4x4 [_padding 1] [_counted]                                              if its zeros count
    dropout 50                                                                       in per cent

Kernels are named by their size on images, as in `operations.py`: on signals, the larger size is used. Where the padding
is omitted, it is that of the builder in `building.py`; that of a window is at most half its size.
"""

from __future__ import annotations

import re
from functools import lru_cache

from search_spaces.architecture.building import (
    Extend,
    Operation,
    alone,
    average,
    bn,
    conv,
    depthwise,
    maximum,
    on_vector,
    sequence,
)
from search_spaces.architecture.layers import Activation, Dropout

__all__ = ["ACTIVATIONS", "ACTIVATION_LAYERS", "convolution_name", "patterned", "window_name"]

ACTIVATION_LAYERS: dict[str, Activation] = {
    "gelu": Activation("GELU"),
    "hardsigmoid": Activation("Hardsigmoid"),
    "hardswish": Activation("Hardswish"),
    "leaky1": Activation("LeakyReLU"),  # by the slope of the negative part, in per cent
    "leaky10": Activation("LeakyReLU", (0.1,)),
    "leaky20": Activation("LeakyReLU", (0.2,)),
    "relu": Activation("ReLU"),
    "relu6": Activation("ReLU6"),
    "sigmoid": Activation("Sigmoid"),
    "silu": Activation("SiLU"),
}
"""Activations, by the names that they have in those of operations."""

ACTIVATIONS: dict[str, Extend] = {name: alone(layer) for name, layer in ACTIVATION_LAYERS.items()}

_AFTER = rf"(?P<bias>_bias)?(?P<bn>_bn)?(?:_(?P<activation>{'|'.join(ACTIVATIONS)}))?"
_KERNEL = r"(?P<high>[1-9]\d*)x(?P<wide>[1-9]\d*)"
_CONVOLUTION = re.compile(
    rf"(?P<kind>conv|depthwise){_KERNEL}(?:_padding(?P<above>\d+)x(?P<left>\d+))?(?:_dilation(?P<dilation>\d+))?{_AFTER}"
)
_LINEAR = re.compile(f"linear{_AFTER}")
_WINDOW = re.compile(
    r"(?P<kind>maxpool|average)(?P<size>[1-9]\d*)x(?P=size)(?:_padding(?P<padding>\d+))?(?P<counted>_counted)?"
)
_DROPOUT = re.compile(r"dropout(?P<percent>\d\d?)")


@lru_cache(maxsize=1 << 12)
def patterned(name: str) -> Operation | None:
    """The operation of a name that follows a pattern; None if it follows none."""
    if found := _CONVOLUTION.fullmatch(name):
        kernel, dilation = (int(found["high"]), int(found["wide"])), int(found["dilation"] or 1)
        padding = None if found["above"] is None else (int(found["above"]), int(found["left"]))
        build = conv if found["kind"] == "conv" else depthwise
        first = build(*kernel, padding=padding, dilation=dilation, bias=bool(found["bias"]))
        return sequence(first, *_after(found))
    if found := _LINEAR.fullmatch(name):
        return sequence(on_vector, conv(1, bias=bool(found["bias"])), *_after(found))
    if found := _WINDOW.fullmatch(name):
        size, around = int(found["size"]), None if found["padding"] is None else int(found["padding"])
        if around is not None and around > size // 2:  # torch refuses it, as some windows would hold nothing else
            return None
        if found["kind"] == "average":
            return sequence(average(size, around, bool(found["counted"])))
        return None if found["counted"] else sequence(maximum(size, around))
    if found := _DROPOUT.fullmatch(name):
        return sequence(alone(Dropout(int(found["percent"]) / 100)))
    return None


def convolution_name(kind: str, kernel: tuple[int, int], padding: tuple[int, int], dilation: int, bias: bool) -> str:
    """Shortest name of a convolution, without what follows it.

    Args:
        kind: "conv" or "depthwise".
        kernel: Height and width.
        padding: Above and below, left and right.
        dilation: Distance between the values that a kernel reads.
        bias: Whether there is a bias.
    """
    usual = tuple(dilation * (size // 2) for size in kernel)
    around = "" if padding == usual else f"_padding{padding[0]}x{padding[1]}"
    apart = f"_dilation{dilation}" if dilation > 1 else ""
    return f"{kind}{kernel[0]}x{kernel[1]}{around}{apart}{'_bias' * bias}"


def window_name(kind: str, size: int, padding: int, is_counted: bool = False) -> str:
    """Shortest name of a pooling over windows.

    Args:
        kind: "maxpool" or "average".
        size: Height and width of the windows.
        padding: On each side.
        is_counted: Whether an average counts the zeros of the padding.
    """
    usual = size // 2 if kind == "average" or size % 2 else 0
    around = "" if padding == usual else f"_padding{padding}"
    return f"{kind}{size}x{size}{around}{'_counted' * (is_counted and padding > 0)}"


def _after(found: re.Match[str]) -> list[Extend]:
    """What follows a convolution or a linear layer."""
    norm: list[Extend] = [bn] if found["bn"] else []
    return [*norm, ACTIVATIONS[found["activation"]]] if found["activation"] else norm
