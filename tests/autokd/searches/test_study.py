from dataclasses import replace
from datetime import timedelta

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.pruners import MedianPruner
from optuna.trial import TrialState

from autokd.config.fidelity_metrics import FIDELITY_METRICS
from autokd.optimizers.history import History
from autokd.optimizers.space.encoding import Encoding
from autokd.optimizers.trust_region import Rules, fold
from autokd.searches.study import to_study

SPACE = {"x": FloatDistribution(0, 1), "kind": CategoricalDistribution(["a", "b"])}


@pytest.fixture
def real() -> optuna.Study:
    """What Optuna itself holds after four trials that ended out of order, and one that runs."""
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    trials = [study.ask(SPACE) for _ in range(5)]
    trials[1].report(0.3, step=1)
    study.tell(trials[1], state=TrialState.PRUNED)
    trials[0].report(0.5, step=1)
    trials[0].report(0.7, step=2)
    study.tell(trials[0], 0.7)
    study.tell(trials[3], state=TrialState.FAIL)
    trials[2].report(0.6, step=1)
    trials[2].report(0.8, step=2)
    study.tell(trials[2], 0.8)
    trials[4].report(0.4, step=1)
    return study


@pytest.fixture
def rows(real: optuna.Study, make_record):
    """The same trials as a database would hold them."""
    parameters = [trial.params for trial in real.trials]
    return [
        make_record(0, [[0.5], [0.7]], "complete", parameters[0], finish_order=1, value=0.7),
        make_record(1, [[0.3]], "pruned", parameters[1], finish_order=0, value=0.3),
        make_record(2, [[0.6], [0.8]], "complete", parameters[2], finish_order=3, value=0.8),
        make_record(3, [], "failed", parameters[3], finish_order=2),
        make_record(4, [[0.4]], "running", parameters[4]),
    ]


def test_the_study_is_what_optuna_would_hold(real: optuna.Study, rows):
    for found, expected in zip(to_study(rows, SPACE).trials, real.trials, strict=True):
        assert (found.number, found.state, found.value) == (expected.number, expected.state, expected.value)
        assert (found.params, found.distributions) == (expected.params, expected.distributions)
        assert found.intermediate_values == expected.intermediate_values


def test_trials_report_the_signal_and_end_in_their_accuracy(rows):
    losses = [
        replace(row, evaluations=tuple(replace(e, metrics={**e.metrics, "loss": 3 - e.rung}) for e in row.evaluations))
        for row in rows
    ]
    study = to_study(losses, SPACE, FIDELITY_METRICS["loss"])
    assert study.trials[0].intermediate_values == {1: -3, 2: -2}
    assert [trial.value for trial in study.trials] == [trial.value for trial in to_study(rows, SPACE).trials]


def test_trials_finish_in_their_recorded_order(real: optuna.Study, rows):
    def order(study: optuna.Study) -> list[int]:
        finished = [trial for trial in study.trials if trial.state.is_finished()]
        return [trial.number for trial in sorted(finished, key=lambda trial: str(trial.datetime_complete))]

    assert order(to_study(rows, SPACE)) == order(real) == [1, 0, 3, 2]


def test_the_best_trial_is_the_real_ones(real: optuna.Study, rows):
    assert to_study(rows, SPACE).best_trial.number == real.best_trial.number


def test_a_pruner_decides_as_on_the_real_study(real: optuna.Study, rows):
    pruner = MedianPruner(n_startup_trials=1)
    studies = real, to_study(rows, SPACE)
    assert len({pruner.prune(study, study.trials[4]) for study in studies}) == 1


def test_a_clock_that_steps_back_changes_no_order(rows) -> None:
    clock = rows[0].trial.created_at
    back = {number: clock - timedelta(hours=number) for number in range(len(rows))}
    stepped = [
        replace(
            row,
            trial=replace(
                row.trial,
                created_at=back[row.trial.number],
                finished_at=row.trial.finished_at and back[row.trial.number],
            ),
        )
        for row in rows
    ]
    for before, after in zip(to_study(rows, SPACE).trials, to_study(stepped, SPACE).trials, strict=True):
        assert (after.datetime_start, after.datetime_complete) == (before.datetime_start, before.datetime_complete)


def test_a_trial_starts_after_those_that_had_ended_when_it_was_proposed(make_record) -> None:
    first, second = (
        make_record(
            number, [[0.5]], "complete", {"x": 0.5, "kind": "a"}, finish_order=number, value=0.5, opened_after=n
        )
        for number, n in ((0, 0), (1, 1))
    )
    one, other = to_study([first, second], SPACE).trials
    assert one.datetime_start < one.datetime_complete <= other.datetime_start < other.datetime_complete


def test_the_same_rows_give_the_same_study_at_any_time(rows):
    first, second = to_study(rows, SPACE), to_study(rows, SPACE)
    assert [t.datetime_start for t in first.trials] == [t.datetime_start for t in second.trials]
    assert [t.datetime_complete for t in first.trials] == [t.datetime_complete for t in second.trials]


def test_optunas_log_stays_as_it_was(rows):
    optuna.logging.set_verbosity(optuna.logging.DEBUG)
    to_study(rows, SPACE)
    assert optuna.logging.get_verbosity() == optuna.logging.DEBUG
    optuna.logging.set_verbosity(optuna.logging.INFO)


def test_trials_that_never_improve_shrink_the_trust_region(make_record):
    """Each begins when the one before has ended: only such trials move the region's counters."""
    rules = Rules.of(dimension=2, n_startup=3)
    rows = [
        make_record(
            number,
            [[0.5]],
            "complete",
            {"x": 0.01 * number, "kind": "a"},
            finish_order=number,
            value=0.5,
            opened_after=number,
        )
        for number in range(3 + rules.failure_tolerance)
    ]
    history = History.of(to_study(rows, SPACE).trials, Encoding.of(SPACE), [1.0])
    assert fold(history.outcomes, rules).length == rules.initial_length / 2


def test_a_hyper_parameter_that_is_no_longer_searched_is_left_out(rows):
    (trial,) = to_study(rows[:1], {"x": SPACE["x"]}).trials
    assert trial.params == {"x": rows[0].trial.parameters["x"]}
