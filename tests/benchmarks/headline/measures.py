"""The metrics of a record, from those of an evaluation."""

from collections.abc import Mapping

__all__ = ["named"]

_NAMES = {
    "validation": "accuracy",
    "test": "test_accuracy",
    "ece": "test_ece",
    "ece_scaled": "test_ece_scaled",
    "agreement": "test_agreement",
    "loss": "test_loss",
}


def named(metrics: Mapping[str, float]) -> dict[str, float]:
    """The metrics that are recorded, by the names of the table; those of the test split only if it was read."""
    return {name: metrics[source] for name, source in _NAMES.items() if source in metrics}
