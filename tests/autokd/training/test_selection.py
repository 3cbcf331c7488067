from collections.abc import Callable

import torch

from autokd.data.stream import TrainingStream
from autokd.training.best_checkpoint import Score
from autokd.training.loop import TrainingSettings, TrainingState
from autokd.training.selection import averaged, is_candidate, keep_if_best, kept_weights

Fresh = Callable[..., TrainingState]


def first_weight(state: TrainingState) -> float:
    return next(state.network.parameters()).flatten()[0].item()


def fill(state: TrainingState, value: float) -> None:
    with torch.no_grad():
        next(state.network.parameters()).fill_(value)


def test_candidates_are_the_epochs_of_the_second_half_and_the_end(fresh: Fresh, stream: TrainingStream) -> None:
    state, found = fresh(TrainingSettings()), []
    for state.step in range(1, 18):
        if is_candidate(state, stream, total=17):
            found.append(state.step)
    assert found == [10, 15, 17]


def test_the_weights_of_the_best_score_are_kept(fresh: Fresh) -> None:
    state = fresh(TrainingSettings())
    for epoch, accuracy in enumerate([0.5, 0.8, 0.8, 0.6], 1):
        fill(state, epoch)
        keep_if_best(state, Score(accuracy, 1.0, epoch))
    assert state.best == Score(0.8, 1.0, 2)
    with kept_weights(state):
        assert first_weight(state) == 2


def test_without_a_best_epoch_the_averaged_weights_are_kept(fresh: Fresh) -> None:
    state = fresh(TrainingSettings(ema=0.9))
    before = first_weight(state)
    fill(state, 7)
    with kept_weights(state), averaged(state):
        assert first_weight(state) == before
    assert first_weight(state) == 7
