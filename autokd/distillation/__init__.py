"""Distillation methods: one file each. They know tensors and modules, nothing of searches."""

from autokd.distillation.base import Lesson, LogitMethod, Method, Need, Outputs, Wrapper
from autokd.distillation.combined import Combined
from autokd.distillation.kd import KD, kd_loss
from autokd.distillation.registry import METHODS, make_method, method_class, method_distributions

__all__ = [
    "KD",
    "METHODS",
    "Combined",
    "Lesson",
    "LogitMethod",
    "Method",
    "Need",
    "Outputs",
    "Wrapper",
    "kd_loss",
    "make_method",
    "method_class",
    "method_distributions",
]
