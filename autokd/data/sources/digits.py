"""Scikit-learn's handwritten digits (Alpaydin and Kaynak 1998): 1,797 grey images of 8 x 8, without a download.

With `data.source = "autokd.data.sources.digits:digit_vectors"` the samples are vectors.
"""

import torch

from autokd.core.extras import needs
from autokd.data.dataset import Dataset, Split, hold_out

__all__ = ["digit_vectors", "digits"]

TEST = 360  # a fifth


def digits(validation: int = 300) -> Dataset:
    """The digits, with 360 of them as the test split.

    Args:
        validation: Number of the remaining samples for the validation split.

    Raises:
        InputError: If scikit-learn is not installed.
    """
    with needs("digits", 'data.source "digits"'):
        from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    grey = torch.from_numpy(images).mul(255 / 16).round().to(torch.uint8).reshape(-1, 8, 8, 1)
    rest, test = hold_out(Split(grey, torch.from_numpy(labels).long()), TEST)
    train, held_out = hold_out(rest, validation)
    return Dataset("digits", train, held_out, test, tuple("0123456789"))


def digit_vectors() -> Dataset:
    """The digits, each as a vector of its 64 pixels, row by row."""
    images = digits()
    train, held_out, test = (Split(split.images.flatten(1), split.labels) for split in images.splits.values())
    return Dataset("digit vectors", train, held_out, test, images.class_names)
