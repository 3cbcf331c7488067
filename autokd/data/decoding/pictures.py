"""Labelled images that are decoded one by one, and their common shape."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from torch import Tensor

from autokd.core.extras import needs
from autokd.data.dataset import LABEL_LIMIT, seems_channels_first
from autokd.errors import InputError, first_line

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["ImageShape", "Pictures", "Pixels", "Subset", "image_shape_of"]

IMAGE_KEYS = ("image", "img")
Pixels = np.ndarray[Any, np.dtype[np.uint8]]


class Pictures(Protocol):
    """A map-style data set, such as PyTorch's `torch.utils.data.Dataset` or Hugging Face's `datasets.Dataset`.

    A sample is an image and its label, either as a pair or as a mapping with "image" (or "img") and "label". The image
    is a Pillow image or uint8, `height x width` or `height x width x channels`. Reading a sample twice must give the
    same image. Each decoding process has its own copy of the data set, so it must be picklable.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


@dataclass(frozen=True)
class ImageShape:
    """Height and width in pixels, and channels, of all decoded images of a data set."""

    height: int
    width: int
    channels: int

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Shape as an array: height, width, channels."""
        return self.height, self.width, self.channels

    @property
    def n_bytes(self) -> int:
        """Size of an image in bytes."""
        return self.height * self.width * self.channels

    def fitted(self, image: "Image | Pixels") -> Pixels:
        """The image converted to grey or colour, and resized (bilinear) if it has another size.

        Raises:
            ValueError: If the image cannot be converted to this number of channels.
        """
        with needs("images", "reading images"):
            from PIL import Image

        if isinstance(image, np.ndarray):
            if image.shape == self.sizes:
                return image
            image = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
        if self.channels not in (1, 3):
            raise ValueError(f"an image of {self.channels} channels cannot be converted from another shape")
        converted = image.convert("L" if self.channels == 1 else "RGB")
        if converted.size != (self.width, self.height):
            converted = converted.resize((self.width, self.height), Image.Resampling.BILINEAR)
        return np.asarray(converted).reshape(self.sizes)


@dataclass(frozen=True)
class Subset:
    """A subset of a map-style data set.

    Attributes:
        pictures: The data set.
        indices: Indices of the samples, in order, int64, `n`.
        what: Description for error messages, such as "data my_module:images, train".
    """

    pictures: Pictures
    indices: Tensor
    what: str

    def __len__(self) -> int:
        return len(self.indices)

    def take(self, indices: Tensor) -> "Subset":
        """Subset with the samples at `indices` of this one."""
        return Subset(self.pictures, self.indices[indices], self.what)

    def sample(self, position: int) -> "tuple[Image | Pixels, int]":
        """Image and label of one sample, before the image is converted and resized.

        Raises:
            InputError: If the sample cannot be read, or is not an image and a label as described in `Pictures`.
        """
        index = int(self.indices[position])
        try:
            sample = self.pictures[index]
        except InputError:
            raise
        except (Exception, SystemExit) as error:  # a user's data set can fail in any way
            raise InputError(
                f"{self.what}: sample {index} fails: {type(error).__name__}: {first_line(error)}."
            ) from error
        try:
            image, label = _image_and_label(sample)
            return _picture(image), _number(label)
        except (TypeError, ValueError, OverflowError, RuntimeError) as error:
            raise InputError(
                f"{self.what}: sample {index} must be a uint8 or Pillow image and its label: {first_line(error)}."
            ) from None

    def pixels(self, position: int, shape: ImageShape) -> tuple[Pixels, int]:
        """Image in the given shape and label of one sample."""
        image, label = self.sample(position)
        try:
            return shape.fitted(image), label
        except (TypeError, ValueError) as error:
            raise InputError(f"{self.what}: sample {int(self.indices[position])}: {error}.") from None


def image_shape_of(image: "Image | Pixels", size: int | None) -> ImageShape:
    """Shape of a data set given its first image: the image's channels, and its size unless `size` is given."""
    if isinstance(image, np.ndarray):
        height, width, channels = image.shape
    else:
        (width, height), channels = image.size, 1 if image.mode in ("1", "L") else 3
    return ImageShape(size or height, size or width, channels)


def _image_and_label(sample: Any) -> tuple[Any, Any]:
    if not isinstance(sample, Mapping):
        image, label = sample
        return image, label
    key = next((key for key in IMAGE_KEYS if key in sample), None)
    if key is None or "label" not in sample:
        raise ValueError(f"it has {', '.join(map(str, sample)) or 'nothing'}, but needs image (or img) and label")
    return sample[key], sample["label"]


def _number(label: Any) -> int:
    number = int(label)
    if abs(number) >= LABEL_LIMIT:
        raise ValueError(f"the label {number} is not below {LABEL_LIMIT:,}; number the classes anew, 0..classes-1")
    if number != float(label):
        raise ValueError(f"the label {label} is no class number")
    return number


def _picture(image: Any) -> "Image | Pixels":
    """The image, either Pillow's or uint8, `height x width x channels`."""
    with needs("images", "reading images"):
        from PIL import Image

    if isinstance(image, Image.Image):
        if image.mode.startswith(("I", "F")):
            raise ValueError(f"more than 8 bits a channel (mode {image.mode}); convert it to 8 bits")
        return image
    array = image.numpy() if isinstance(image, Tensor) else np.asarray(image)
    if array.dtype != np.uint8 or array.ndim not in (2, 3):
        raise ValueError(f"the image is {type(image).__name__} of {array.dtype}, {array.shape}")
    if array.ndim == 3 and seems_channels_first(array.shape):
        raise ValueError(
            f"the image of {array.shape} seems to have its channels first; it must be height x width x channels: "
            "numpy.moveaxis(image, 0, -1)"
        )
    return array if array.ndim == 3 else array[:, :, None]
