"""Which network of a training is the best: told by the validation split, epoch by epoch."""

from dataclasses import dataclass

__all__ = ["Score"]


@dataclass(frozen=True)
class Score:
    """What a network was worth at an epoch's end.

    Attributes:
        accuracy: On the validation split.
        loss: Mean negative log-likelihood there, in nats.
        epoch: Epochs of training done.
    """

    accuracy: float
    loss: float
    epoch: float

    def beats(self, other: "Score | None") -> bool:
        """Whether its accuracy is higher, or equal at a lower loss; the earlier of equals stays the best."""
        return other is None or (self.accuracy, -self.loss) > (other.accuracy, -other.loss)
