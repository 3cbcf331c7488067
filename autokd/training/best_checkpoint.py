"""Comparison of the epochs of a training by their validation results."""

from dataclasses import dataclass

__all__ = ["Score"]


@dataclass(frozen=True)
class Score:
    """Validation result of a network at the end of an epoch.

    Attributes:
        accuracy: Accuracy on the validation split.
        loss: Mean negative log-likelihood on the validation split, in nats.
        epoch: Epochs trained so far.
    """

    accuracy: float
    loss: float
    epoch: float

    def beats(self, other: "Score | None") -> bool:
        """Whether the accuracy is higher, or equal with a lower loss. Of equal scores, neither beats the other."""
        return other is None or (self.accuracy, -self.loss) > (other.accuracy, -other.loss)
