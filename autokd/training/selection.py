"""Which weights of a training are kept: those of the best epoch, the averaged ones or the last ones."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from autokd.training.best_checkpoint import Score
from autokd.training.loop import Batches, TrainingState

__all__ = ["averaged", "is_candidate", "keep_if_best", "kept_weights"]


def is_candidate(state: TrainingState, batches: Batches, total: int) -> bool:
    """Whether to compare the network with the best so far: after each epoch of the second half, and at the end.

    Args:
        state: State of the training.
        batches: Source of its batches.
        total: Number of steps of the whole training.
    """
    is_epoch_end = state.step % batches.steps_per_epoch == 0
    return state.step == total or (is_epoch_end and 2 * state.step >= total)


def keep_if_best(state: TrainingState, score: Score) -> None:
    """Keep the weights that are in the network, see `averaged`, if their score is the best so far."""
    if score.beats(state.best):
        weights = state.network.state_dict()
        state.best_weights = {name: tensor.to("cpu", copy=True) for name, tensor in weights.items()}
        state.best = score


def averaged(state: TrainingState) -> AbstractContextManager[None]:
    """A block in which the network has its averaged weights, if they are kept."""
    return nullcontext() if state.average is None else state.average.in_place()


@contextmanager
def kept_weights(state: TrainingState) -> Iterator[None]:
    """A block in which the network has the weights to save: the best, the averaged or the last ones."""
    with averaged(state):
        if state.best is not None:
            state.network.load_state_dict(state.best_weights)
        yield
