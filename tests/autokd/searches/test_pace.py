import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from autokd.config.toml import override_config
from autokd.database.lease import Lease, acquire, release
from autokd.database.rows import Purpose
from autokd.database.store import Store
from autokd.errors import InputError
from autokd.evaluation.context import TrainingContext
from autokd.searches.controller import Controller
from autokd.searches.dispatcher import Dispatcher
from autokd.searches.facts import Facts
from autokd.searches.lengths import RESERVE
from autokd.searches.pace import (
    fitting_rungs,
    full_length,
    full_length_of,
    seconds_per_epoch,
    slowest_epoch,
    with_full_length,
)
from autokd.searches.problem import Problem
from autokd.searches.retraining import Retraining, trainings
from autokd.searches.students import TrainedStudent
from autokd.searches.trial_record import trial_records
from workers.inline import InlineExecutor

FINAL = {"epochs": 7, "seconds": 10, "students": 2}


@pytest.fixture
def problem(make_problem: Callable[..., Problem]) -> Problem:
    return make_problem(trials=2, final=FINAL, training={"rungs": [1, 3], "schedule": "cosine"})


@pytest.fixture
def store(problem: Problem, make_store: Callable[..., Store], pretend: Callable[..., None]) -> Store:
    """A finished search of two trials; each evaluation took 2 s."""
    store = make_store(problem)
    pretend()
    lease = acquire(store, 1)
    Controller(store, lease, problem, Dispatcher(store, lease, InlineExecutor())).run()
    release(store, lease)
    return store


@pytest.fixture
def lease(store: Store) -> Lease:
    return acquire(store, 1)


def recorded(problem: Problem, store: Store) -> Problem:
    """The search as another process reads it."""
    return replace(problem, facts=Facts.from_dict(json.loads(json.dumps(dict(store.search(1).facts)))))


def clock(*times: float) -> Callable[[], float]:
    moments: Iterator[float] = iter(times)
    return lambda: next(moments)


def decided(problem: Problem, store: Store, lease: Lease, spent: float = 0.0) -> Problem:
    """The search with the length that is decided when preparing takes that long."""
    families = [trial_records(store, 1)[0]]
    return with_full_length(problem, store, lease, families, lambda context: None, clock(5.0, 5.0 + spent))


def test_the_length_follows_from_the_speed_of_the_family_in_the_search(
    problem: Problem, store: Store, lease: Lease
) -> None:
    family = trial_records(store, 1)[0]
    per_epoch = 2.0 * len(family.evaluations) / max(row.epochs for row in family.evaluations)
    by_hand = (1 - RESERVE) * 10 / (2 * per_epoch)  # two trainings, one worker
    assert by_hand - 0.1 < decided(problem, store, lease).full_length_epochs <= by_hand


def test_an_epoch_of_the_second_half_ends_with_a_validation(problem: Problem, store: Store, lease: Lease) -> None:
    larger = replace(problem, facts=replace(problem.facts, samples={"train": 10, "validation": 30, "test": 1}))
    kept_last = replace(larger, config=override_config(larger.config, ["final.keep='last'"]))
    seconds = [
        found.facts.full_length.seconds_per_epoch
        for found in (decided(each, store, lease) for each in (larger, kept_last))
    ]
    assert seconds[0] == pytest.approx(1.5 * seconds[1])  # 3 / 6 more


def test_the_time_in_which_the_teachers_outputs_are_computed_is_taken_off(
    problem: Problem, store: Store, lease: Lease
) -> None:
    prepared: list[TrainingContext] = []
    families = [trial_records(store, 1)[0]]
    found = with_full_length(problem, store, lease, families, prepared.append, clock(0.0, 4.0))
    length = found.facts.full_length
    assert length is not None
    assert length.prepared_seconds == 4.0
    assert length.affordable == pytest.approx(0.6 * (1 - RESERVE) * 10 / (2 * length.seconds_per_epoch), abs=0.1)
    assert prepared[0].training.rungs[-1] >= found.full_length_epochs  # nothing more is needed afterwards


def test_the_teachers_outputs_are_prepared_once_however_the_length_is_known(
    make_problem: Callable[..., Problem], problem: Problem, store: Store, lease: Lease
) -> None:
    def prepared(problem: Problem) -> list[TrainingContext]:
        contexts: list[TrainingContext] = []
        with_full_length(problem, store, lease, [trial_records(store, 1)[0]], contexts.append)
        return contexts

    given = make_problem(final={"epochs": 7})
    assert prepared(given) == [given.retraining_context]
    assert len(prepared(problem)) == 1
    decided = recorded(problem, store)
    assert prepared(decided) == [decided.retraining_context]


def test_checkpoints_that_teach_other_epochs_of_a_shorter_training_are_prepared_too(
    make_problem: Callable[..., Problem], store: Store, lease: Lease
) -> None:
    files = {"weights": "0.pt", "checkpoints": ["1.pt", "2.pt", "3.pt"]}
    problem = make_problem(final=FINAL, teacher={"factory": "a:b", **files}, training={"rungs": [1, 3]})
    problem = replace(problem, facts=replace(problem.facts, further_teachers=("1", "2", "3")))
    contexts: list[TrainingContext] = []
    families = [trial_records(store, 1)[0]]
    found = with_full_length(problem, store, lease, families, contexts.append, clock(0.0, 4.0))
    assert found.full_length_epochs < contexts[0].training.rungs[-1]
    needed = {key for context in contexts for key in context.outputs_needed}
    assert set(found.retraining_context.outputs_needed) <= needed


def test_a_length_that_was_decided_is_forgotten_without_a_time(
    make_problem: Callable[..., Problem], problem: Problem, store: Store, lease: Lease
) -> None:
    decided(problem, store, lease)
    later = replace(recorded(problem, store), config=make_problem(final={"epochs": 7}).config)
    assert recorded(problem, store).full_length is not None
    assert (later.full_length, later.full_length_epochs, full_length(later)) == (None, 7, None)


def test_the_recorded_length_is_kept_whatever_is_measured_later(problem: Problem, store: Store, lease: Lease) -> None:
    first = decided(problem, store, lease)
    again = decided(recorded(problem, store), store, lease, spent=9.0)  # would leave time for less
    assert again.facts.full_length == first.facts.full_length
    key = first.retraining_context.training.decisive
    assert recorded(problem, store).retraining_context.training.decisive == key


def test_a_training_that_was_interrupted_goes_on_to_the_recorded_length(
    problem: Problem, store: Store, lease: Lease, pretend: Callable[..., None]
) -> None:
    trial = store.trials(1)[0]

    def train(spent: float) -> None:
        at = decided(recorded(problem, store), store, lease, spent)
        Retraining(store, lease, at, Dispatcher(store, lease, InlineExecutor()), [trial]).run()

    def stop(task: Any) -> None:
        raise KeyboardInterrupt

    pretend(stop)
    with pytest.raises(KeyboardInterrupt):
        train(0.0)
    opened = [row.key for row in store.evaluations(1) if row.state == "running"]
    pretend()
    train(9.0)
    found = trainings(recorded(problem, store), store, 1)
    assert [training.state for training in found] == ["complete"] * 2
    assert {row.key for row in store.evaluations(1)} >= set(opened)
    assert len(store.evaluations(1)) == sum(len(each.evaluations) for each in trial_records(store, 1).values()) + 2


@pytest.mark.parametrize("final", [{"seconds": 20}, {"students": 4}])
def test_another_time_or_another_number_of_students_is_decided_anew(
    make_problem: Callable[..., Problem], problem: Problem, store: Store, lease: Lease, final: dict[str, Any]
) -> None:
    first = decided(problem, store, lease)
    config = make_problem(trials=2, final=FINAL | final).config
    changed = replace(recorded(problem, store), config=config)
    again = decided(changed, store, lease)
    assert again.full_length_epochs != first.full_length_epochs


def test_only_students_that_were_trained_by_it_have_the_length_that_was_decided(
    make_problem: Callable[..., Problem], problem: Problem, store: Store, lease: Lease
) -> None:
    def told(epochs: float, purpose: Purpose = "final", trial: int = 0, families: int = 1) -> dict[str, Any] | None:
        record = trial_records(store, 1)[trial]
        config = make_problem(trials=2, final=FINAL | {"families": families}).config
        student, evaluation = (
            replace(record.students[0], purpose=purpose),
            replace(record.evaluations[0], epochs=epochs),
        )
        at = replace(recorded(problem, store), config=config)
        return full_length_of(TrainedStudent(at, record.trial, student, evaluation, Path("weights")))

    length = decided(problem, store, lease).full_length_epochs
    assert told(length) == full_length(recorded(problem, store))
    assert told(length, trial=1, families=2) is not None
    others = told(length + 1), told(length, purpose="search"), told(length, trial=1)
    assert others == (None, None, None)


def test_more_epochs_are_trained_only_as_far_as_the_time_suffices(
    make_problem: Callable[..., Problem], problem: Problem, store: Store, lease: Lease
) -> None:
    decided(problem, store, lease)
    affordable = recorded(problem, store).facts.full_length.affordable
    for most, epochs in ((1.5, 1.5), (1000, affordable)):
        config = make_problem(final=FINAL | {"epochs": most}).config
        assert replace(recorded(problem, store), config=config).full_length_epochs == epochs


def test_references_are_trained_in_the_same_time_and_the_slowest_decides(
    problem: Problem, store: Store, lease: Lease
) -> None:
    winner, other = (trial_records(store, 1)[number] for number in (0, 1))
    slow = replace(
        other,
        trial=replace(other.trial, reference="resnet"),
        evaluations=tuple(replace(row, seconds=6.0) for row in other.evaluations),
    )
    length = with_full_length(problem, store, lease, [winner, slow], lambda context: None).facts.full_length
    assert length is not None
    assert (length.trainings, length.trial) == (3, 0)
    assert length.seconds_per_epoch == seconds_per_epoch(slow.evaluations, problem.new_epochs)


def test_where_no_training_tells_the_time_of_an_epoch_the_speed_measured_before_the_search_does(
    problem: Problem, make_store: Callable[..., Store], make_record: Callable[..., Any]
) -> None:
    store, record = make_store(problem), make_record(0, [[0.5]])
    untimed = replace(record, evaluations=tuple(replace(row, seconds=0.0) for row in record.evaluations))
    with pytest.raises(InputError, match=r"omit final\.seconds"):
        slowest_epoch(problem, store, 1, [untimed])
    facts = replace(problem.facts, samples={"train": 100}, images_per_second=50.0)
    assert slowest_epoch(replace(problem, facts=facts), store, 1, [untimed]) == 2.0


def test_without_a_time_the_epochs_are_those_of_the_configuration(
    make_problem: Callable[..., Problem], store: Store, lease: Lease
) -> None:
    problem = make_problem(final={"epochs": 7})
    assert decided(problem, store, lease) is problem
    assert problem.full_length_epochs == 7
    assert "full_length" not in {key for key, value in store.search(1).facts.items() if value}


def test_the_time_of_an_epoch_is_that_of_the_training_alone_where_it_is_known(make_record: Callable[..., Any]) -> None:
    whole, resumed = make_record(0, [[0.5], [0.6]]).evaluations
    told = [replace(row, epoch_seconds=seconds) for row, seconds in ((whole, 1.0), (resumed, 1.5))]
    assert seconds_per_epoch(told, (1, 2), [resumed.created_at + timedelta(minutes=1)]) == 1.25
    assert seconds_per_epoch([told[0], resumed], (1, 2)) == 1.0


def test_an_evaluation_that_was_resumed_does_not_tell_the_speed(make_record: Callable[..., Any]) -> None:
    whole, resumed = make_record(0, [[0.5], [0.6]]).evaluations
    resumed = replace(resumed, seconds=0.1, finished_at=resumed.created_at + timedelta(hours=1))
    start = resumed.created_at + timedelta(minutes=1)
    assert seconds_per_epoch([whole, resumed], (1, 2), [start]) == 2.0
    assert seconds_per_epoch([resumed], (1, 2), [start]) is None
    assert seconds_per_epoch([whole, resumed], (1, 2)) == pytest.approx(2.1 / 3)


def test_rungs_fit_the_speed_of_the_machine(make_problem: Callable[..., Problem]) -> None:
    problem = make_problem(trials=40, seconds=100, min_trials=10, training={"rungs": [1, 3], "views": 1})
    measured = replace(problem.facts, samples={"train": 1000}, teacher_images_per_second=1000.0)

    def on(images_per_second: float) -> tuple[float, ...] | None:
        facts = replace(measured, images_per_second=images_per_second)
        return fitting_rungs(replace(problem, facts=facts))

    assert on(1e6) is None
    half, quarter = on(200.0), on(1.0)
    assert half is not None
    assert quarter == (0.25, 0.75)
    assert 0.25 < half[0] < 1
    assert half[1] == pytest.approx(3 * half[0], rel=0.01)
    assert fitting_rungs(problem) is None  # no speed is known


def test_shortened_rungs_are_those_of_the_search(make_problem: Callable[..., Problem]) -> None:
    problem = make_problem(training={"rungs": [1, 3]})
    shorter = replace(problem, facts=replace(problem.facts, rungs=(0.5, 1.5)))
    assert (problem.rungs, shorter.rungs) == ((1, 3), (0.5, 1.5))
    assert shorter.context.training.rungs == (0.5, 1.5)
    assert Facts.from_dict(json.loads(json.dumps(asdict(shorter.facts)))) == shorter.facts
