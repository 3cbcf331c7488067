"""Image classifiers of transformers: `transformers:FOLDER` of `save_pretrained`, or `transformers:user/name`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from autokd.config.teacher import TeacherConfig
from autokd.errors import InputError
from autokd.teachers.factories.base import Collection, Made, importing, making, model_folder

__all__ = ["Transformers"]

LARGEST_VALUE = 255


class Transformers(Collection):
    """transformers (Wolf et al. 2020, https://github.com/huggingface/transformers).

    Images are resized to the size that the network gets, as a whole; some image processors crop their centre.
    """

    def check(self, name: str, config: TeacherConfig) -> None:
        """Check that the folder is there."""
        _transformers()
        model_folder(name, config)

    def make(self, name: str, config: TeacherConfig) -> Made:
        """The network with its weights, and the size, mean and deviation of its image processor."""
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
        inputs = {} if processor is None else _moments(processor, network.config) | _size(processor)
        return Made(network, {"output": "logits"} | inputs)


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


def _moments(processor: Any, config: Any) -> dict[str, Any]:
    """Mean and deviation of the image processor, for values in `[0, 1]`."""
    # The processor multiplies values in 0..255 by a factor, if any, before it normalises.
    factor = LARGEST_VALUE * (processor.rescale_factor if processor.do_rescale else 1)
    n_channels = getattr(config, "num_channels", 3)
    mean, deviation = processor.image_mean, processor.image_std
    if not processor.do_normalize:
        mean, deviation = (0.0,) * n_channels, (1.0,) * n_channels
    return {
        "mean": tuple(float(value) / factor for value in mean),
        "deviation": tuple(float(value) / factor for value in deviation),
    }


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
