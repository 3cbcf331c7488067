"""Source of the function `preprocess` in `model.py`."""

from collections.abc import Sequence

from autokd.data.dataset import Split

__all__ = ["preprocess_source", "samples_name", "which_channels"]

_SOURCE = '''

def preprocess({samples}: Tensor) -> Tensor:
    """The student's input from {type} {kind}, {axes}{channels}."""
{check}    scaled = {samples}.float()
    mean = scaled.new_tensor({mean}).view({view})
    deviation = scaled.new_tensor({deviation}).view({view})
    return {normalised}
'''
_UINT8_CHECK = """    if {samples}.is_floating_point():
        raise TypeError(
            f"preprocess takes uint8 {samples} as in the data set, but got {{{samples}.dtype}}; "
            "pass normalised {samples} to Student itself."
        )
"""
_AXES = {
    "images": "batch x channels x height x width",
    "signals": "batch x channels x length",
    "vectors": "batch x features",
}


def preprocess_source(
    split: Split, normalisation: tuple[tuple[float, ...], tuple[float, ...]], channels: Sequence[int] | None = None
) -> str:
    """Source of the function `preprocess`, which normalises a batch, channels first, exactly as training did.

    Args:
        split: Samples of the kind and type that the function takes.
        normalisation: Mean and deviation of each channel or feature.
        channels: Channels of the data that the samples have, in this order; None for all.
    """
    mean, deviation = normalisation
    floating, samples = split.images.is_floating_point(), samples_name(split.kind)
    return _SOURCE.format(
        samples=samples,
        type="float32" if floating else "uint8",
        kind=split.kind,
        axes=_AXES[split.kind],
        channels=which_channels(channels),
        check="" if floating else _UINT8_CHECK.format(samples=samples),
        view=", ".join(("1", "-1", "1", "1")[: split.images.ndim]),
        mean=list(mean),
        deviation=list(deviation),
        normalised="(scaled - mean) / deviation" if floating else "scaled * (1 / (255 * deviation)) - mean / deviation",
    )


def which_channels(channels: Sequence[int] | None) -> str:
    """Words that say which channels of the data a student takes, to follow the shape of its samples; "" for all."""
    return "" if channels is None else f": channels {', '.join(map(str, channels))} of the data, in this order"


def samples_name(kind: str) -> str:
    """Name of samples of a kind in an exported folder, `images` or `inputs` as in a user's own data."""
    return "images" if kind == "images" else "inputs"
