"""Distillation methods: one file each. They know tensors and modules, nothing of searches."""

from autokd.distillation.base import Method, TeacherOutputs
from autokd.distillation.kd import KD, kd_loss
from autokd.distillation.registry import METHODS, method_class

__all__ = ["KD", "METHODS", "Method", "TeacherOutputs", "kd_loss", "method_class"]
