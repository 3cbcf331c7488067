"""Source of the function `preprocess` in `model.py`."""

from autokd.data.dataset import Split

__all__ = ["preprocess_source", "samples_name"]

_SOURCE = '''

def preprocess({samples}: Tensor) -> Tensor:
    """The student's input from {type} {kind}, {axes}."""
    scaled = {samples}.float()
    mean = scaled.new_tensor({mean}).view({view})
    deviation = scaled.new_tensor({deviation}).view({view})
    return {normalised}
'''
_AXES = {
    "images": "batch x channels x height x width",
    "signals": "batch x channels x length",
    "vectors": "batch x features",
}


def preprocess_source(split: Split, normalisation: tuple[tuple[float, ...], tuple[float, ...]]) -> str:
    """Source of the function `preprocess`, which normalises a batch, channels first, exactly as training did.

    Args:
        split: Samples of the kind and type that the function takes.
        normalisation: Mean and deviation of each channel or feature.
    """
    mean, deviation = normalisation
    floating = split.images.is_floating_point()
    return _SOURCE.format(
        samples=samples_name(split.kind),
        type="float32" if floating else "uint8",
        kind=split.kind,
        axes=_AXES[split.kind],
        view=", ".join(("1", "-1", "1", "1")[: split.images.ndim]),
        mean=list(mean),
        deviation=list(deviation),
        normalised="(scaled - mean) / deviation" if floating else "scaled * (1 / (255 * deviation)) - mean / deviation",
    )


def samples_name(kind: str) -> str:
    """Name of samples of a kind in an exported folder, `images` or `inputs` as in a user's own data."""
    return "images" if kind == "images" else "inputs"
