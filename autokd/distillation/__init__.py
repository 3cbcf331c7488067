"""Distillation methods: one file each. They know tensors and modules, nothing of searches."""

from autokd.distillation.base import Method, TeacherOutputs, method_class
from autokd.distillation.kd import KD, kd_loss

__all__ = ["KD", "Method", "TeacherOutputs", "kd_loss", "method_class"]
