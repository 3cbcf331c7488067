"""Import of torchvision where its compiled part does not fit torch."""

import importlib
from importlib.util import find_spec

import torch

__all__ = ["mend_torchvision"]

OPERATORS = ("nms", "qnms")
SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def mend_torchvision() -> None:
    """Make torchvision importable, if it is installed.

    The builds of torchvision on PyPI are for CUDA. Beside a CPU build of torch its operators for detection are missing,
    and then importing torchvision fails (https://github.com/pytorch/pytorch/issues/122494), and with it timm, and parts
    of transformers. Image classifiers use none of these operators, so it is enough to declare those that are missing.
    """
    if find_spec("torchvision") is None:
        return
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        for operator in OPERATORS:
            torch.library.define(f"torchvision::{operator}", SCHEMA)
        importlib.import_module("torchvision")
