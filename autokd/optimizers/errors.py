"""What the optimisers raise."""

__all__ = ["OptimizerError"]


class OptimizerError(ValueError):
    """An optimiser was named, configured or used in a way that it cannot serve."""
