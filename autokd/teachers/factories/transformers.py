"""Image classifiers of transformers: `transformers:FOLDER` of `save_pretrained`, or `transformers:user/name`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from autokd.config.teacher import TeacherConfig
from autokd.errors import InputError
from autokd.teachers.factories.base import Collection, Made, importing, making, model_folder

__all__ = ["Transformers"]

LARGEST_VALUE = 255
REVERSED = (2, 1, 0)
PROBES = torch.tensor([[10, 100, 200], [250, 30, 70]], dtype=torch.uint8)  # colours of images of one colour


class Transformers(Collection):
    """transformers (Wolf et al. 2020, https://github.com/huggingface/transformers).

    Images are resized to the size that the network gets, as a whole; some image processors crop their centre.
    """

    def check(self, name: str, config: TeacherConfig) -> None:
        """Check that the folder is there."""
        _transformers()
        model_folder(name, config)

    def make(self, name: str, config: TeacherConfig) -> Made:
        """The network with its weights, and what its image processor makes of images.

        These are the order of the channels, their mean and deviation, and the size. They are compared with what the
        processor itself makes of two images, unless the user says how images are normalised.
        """
        transformers, folder = _transformers(), model_folder(name, config)
        with _quiet(transformers):
            with making(config):
                network, report = transformers.AutoModelForImageClassification.from_pretrained(
                    folder,
                    local_files_only=True,
                    trust_remote_code=False,
                    use_safetensors=True,
                    output_loading_info=True,
                    **(config.arguments or {}),
                )
            processor = _processor(transformers, folder)
        if report["missing_keys"] and not config.weights:
            raise InputError(
                f"teacher.factory {config.factory!r}: its file of weights lacks {min(report['missing_keys'])}: it is "
                "no trained image classifier."
            )
        if processor is None and config.mean is None and config.preprocess is None:
            raise InputError(
                f"teacher.factory {config.factory!r}: {folder} has no readable preprocessor_config.json: set "
                "teacher.mean and teacher.deviation, and teacher.resize if images have another size than the network "
                "wants."
            )
        if processor is None:
            return Made(network, {"output": "logits"})
        colours = _channels(processor) | _moments(processor, network.config)
        if config.mean is None and config.preprocess is None:
            _check_colours(colours, processor, config)
        return Made(network, {"output": "logits"} | colours | _size(processor))


def _transformers() -> Any:
    with importing("transformers"):
        import transformers
    return transformers


def _processor(transformers: Any, folder: Path) -> Any:
    """The image processor beside a model; None if there is none."""
    try:
        return transformers.AutoImageProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError):
        return None


def _channels(processor: Any) -> dict[str, Any]:
    """Order of the channels; none if the processor keeps it. Some networks take blue first, such as MobileViT."""
    return {"channels": REVERSED} if getattr(processor, "do_flip_channel_order", False) else {}


def _moments(processor: Any, config: Any) -> dict[str, Any]:
    """Mean and deviation of the image processor, for values in `[0, 1]`."""
    # The processor multiplies values in 0..255 by a factor, if any, before it normalises. EfficientNet's may then
    # subtract 1, and divides by the deviation once more for networks with a classifier.
    factor = LARGEST_VALUE * (processor.rescale_factor if processor.do_rescale else 1)
    offset = 1 if processor.do_rescale and getattr(processor, "rescale_offset", False) else 0
    n_channels = getattr(config, "num_channels", 3)
    mean, deviation = processor.image_mean, processor.image_std
    if not processor.do_normalize:
        mean, deviation = (0.0,) * n_channels, (1.0,) * n_channels
    if getattr(processor, "include_top", False):
        deviation = [once * again for once, again in zip(deviation, processor.image_std, strict=False)]
    return {
        "mean": tuple((float(value) + offset) / factor for value in mean),
        "deviation": tuple(float(value) / factor for value in deviation),
    }


def _check_colours(colours: dict[str, Any], processor: Any, config: TeacherConfig) -> None:
    """Raise `InputError` unless the processor makes of images of one colour what the settings do."""
    n_channels = len(colours["mean"])
    if n_channels not in (1, 3):  # the processor would not know which axis the channels are
        return
    with making(config):
        expected = _processed(processor, n_channels)
    if not torch.allclose(_normalised(colours), expected, rtol=1e-3, atol=1e-3):
        raise InputError(
            f"teacher.factory {config.factory!r}: its {type(processor).__name__} does more to images than "
            "teacher.channels, mean and deviation can say: set teacher.preprocess to a function that does it."
        )


def _processed(processor: Any, n_channels: int) -> Tensor:
    """What the processor makes of the centre of two images of one colour each, `2 x channels`."""
    images = PROBES[:, :n_channels, None, None].expand(-1, -1, 64, 64)
    pixels: Tensor = processor(list(images), return_tensors="pt")["pixel_values"]
    return pixels[:, :, pixels.shape[2] // 2, pixels.shape[3] // 2].float()


def _normalised(colours: dict[str, Any]) -> Tensor:
    """What the settings make of them."""
    mean, deviation = torch.tensor(colours["mean"]), torch.tensor(colours["deviation"])
    channels = colours.get("channels", range(len(mean)))
    return (PROBES[:, list(channels)] / LARGEST_VALUE - mean) / deviation


def _size(processor: Any) -> dict[str, Any]:
    """Size that the network gets; none if the processor keeps that of the images."""
    if processor.do_center_crop:
        size = processor.crop_size
    elif processor.do_resize:
        size = processor.size
    else:
        return {}
    height, width = size.height or size.shortest_edge, size.width or size.shortest_edge
    return {"resize": (height, width)} if height and width else {}


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """A block in which transformers prints no progress and no hints."""
    logging = transformers.utils.logging
    level, has_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if has_bars:
            logging.enable_progress_bar()
