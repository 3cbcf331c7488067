"""The error that samplers and pruners raise."""

__all__ = ["OptimizerError"]


class OptimizerError(ValueError):
    """An unknown sampler or pruner, an invalid option, or a study that the sampler does not support."""
