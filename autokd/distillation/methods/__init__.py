"""Distillation methods, one file each: a loss function and a thin class. Start with `kd`."""
