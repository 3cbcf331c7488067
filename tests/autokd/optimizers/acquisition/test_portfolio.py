import optuna
import pytest
import torch
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import create_trial

from autokd.optimizers.acquisition.portfolio import suggested
from autokd.optimizers.earlier import EarlierStudy, EarlierTask
from autokd.optimizers.history import History
from autokd.optimizers.models.prior_mean import Memory
from autokd.optimizers.space.conditions import Conditions
from autokd.optimizers.space.encoding import Encoding, keys

SPACE: dict[str, BaseDistribution] = {"x": FloatDistribution(0, 1)}
ENCODING = Encoding.of(SPACE)
XS = [k / 12 for k in range(13)]  # of values that grow with x


@pytest.fixture
def memory() -> Memory:
    study = optuna.create_study(direction="maximize")
    for x in XS:
        study.add_trial(create_trial(params={"x": x}, distributions=SPACE, value=x))
    task = EarlierTask.of(EarlierStudy.of(study), ENCODING, 1)
    assert task is not None
    return Memory([task], ENCODING.categories)


def suggestion(memory, place, seen=(), allowed=lambda points: torch.ones(len(points), dtype=torch.bool), trials=()):
    history = History.of(trials, ENCODING, [1.0])
    own = torch.tensor([0.5], dtype=torch.float64)
    found = suggested(memory, history, own, place, seen, allowed, Conditions(ENCODING, {}))
    return None if found is None else round(12 * float(found))


def test_suggestions_begin_with_the_best_and_each_rules_out_its_neighbours(memory) -> None:
    assert [suggestion(memory, place) for place in range(4)] == [12, 7, 4, 2]


def test_a_suggestion_is_neither_seen_nor_forbidden(memory) -> None:
    best = keys(torch.tensor([[1.0]], dtype=torch.float64))
    assert suggestion(memory, 0, seen=best) == 7
    assert suggestion(memory, 0, allowed=lambda points: points[:, 0] < 0.8) == 9
    assert suggestion(memory, 0, allowed=lambda points: points[:, 0] > 2) is None


def test_there_is_no_suggestion_once_the_earlier_task_is_refuted(memory) -> None:
    against = [create_trial(params={"x": x}, distributions=SPACE, value=-x) for x in (0.1, 0.9)]
    assert suggestion(memory, 1, trials=against) is None
