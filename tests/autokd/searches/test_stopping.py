import pytest
from inline_searches import rows, run

from autokd.optimizers import gain as model
from autokd.optimizers.gain import Gain
from autokd.searches import controller
from autokd.searches.families import rank_families, winner
from autokd.searches.problem import Problem
from autokd.searches.proposals import propose
from autokd.searches.stopping import further_gain, is_enough, outlook
from search_spaces.errors import BudgetError


@pytest.fixture
def told(monkeypatch):
    """How many trials the studies had of which the model was asked; it answers that 20 more gain under 0.5 points."""
    asked: list[int] = []

    def answer(study, *_, **__):
        asked.append(len(study.trials))
        return Gain(20, 0.005)

    monkeypatch.setattr(model, "gain", answer)
    return asked


@pytest.fixture
def make_trials(make_record):
    """Makes trials of which the first so many ended, the last one first."""

    def make(ended: int, running: int = 0):
        done = [make_record(k, [[0.5]], "complete", {}, ended - 1 - k, 0.5) for k in range(ended)]
        return [*done, *(make_record(ended + k) for k in range(running))]

    return make


@pytest.mark.parametrize(("gain", "enough"), [(0.4, False), (0.5, False), (0.6, True)])
def test_a_search_stops_once_further_trials_gain_less_than_asked_for(make_problem, make_trials, told, gain, enough):
    assert is_enough(make_problem(stop={"gain": gain}), make_trials(20)) is enough


@pytest.mark.parametrize("stop", [{}, {"gain": 0}])
def test_unless_asked_a_search_never_stops(make_problem, make_trials, told, stop):
    assert not is_enough(make_problem(stop=stop), make_trials(40))
    assert told == []


def test_full_tens_of_ended_trials_decide_whatever_is_running(make_problem, make_trials, told):
    problem = make_problem(stop={"gain": 1})
    decisions = [is_enough(problem, make_trials(*n)) for n in ((19, 9), (20, 0), (29, 9), (30, 1))]
    assert (decisions, told) == ([False, True, True, True], [20, 20, 30])


def test_the_trials_that_ended_first_decide(make_problem, make_trials, monkeypatch):
    seen = []
    monkeypatch.setattr("autokd.searches.stopping.further_gain", lambda problem, records: seen.extend(records))
    assert not is_enough(make_problem(stop={"gain": 1}), make_trials(25))
    assert [record.trial.number for record in seen] == list(range(5, 25))


def test_trials_of_the_highest_rung_may_be_chosen(make_problem, make_record, monkeypatch):
    chosen = []
    monkeypatch.setattr(model, "gain", lambda study, space, places, **_: chosen.append(places))
    records = [
        make_record(2, [[0.5], [0.6]], "complete", {}, 0, 0.6),
        make_record(5, [[0.9]], "pruned", {}, 1, 0.9),
        make_record(6, [[0.9], [0.7]], "failed", {}, 2),
        make_record(8, [[0.4], [0.8]], "running", {}),
    ]
    further_gain(make_problem(), records)
    assert chosen == [[0, 3]]
    assert further_gain(make_problem(), [make_record(0)]) is None


def test_the_outlook_is_that_of_the_winner(make_problem, make_record):
    problem = make_problem(training={"rungs": [1, 3]})
    records = [
        make_record(k, [[0.3 + 0.1 * k], [0.5 + 0.1 * k]], "complete", propose(problem, [], k), k, 0.5 + 0.1 * k)
        for k in range(4)
    ]
    families = rank_families(problem, records)
    best, found = winner(families), outlook(problem, records, families)
    assert (found.trial, found.probability_best) == (best.trial, best.probability_best)
    assert (found.low, found.high, found.epochs) == (best.low, best.high, 3.0)
    assert (found.gain, found.is_enough) == (further_gain(problem, records), False)
    assert [word for word, _ in found.facts] == ["winner", "further"]
    assert outlook(problem, records, families, is_enough=True).is_enough
    assert outlook(problem, [], []) is None


@pytest.mark.slow  # proposes 44 trials
def test_a_search_ends_early_and_goes_on_as_if_it_had_not_where_more_gain_is_asked_for(
    make_problem, make_store, pretend, monkeypatch
):
    """It stops after its twentieth trial, resumed or not; the trials after it are those of one that never stops."""
    monkeypatch.setattr(model, "gain", lambda study, *_, **__: Gain(20, 0.1 / len(study.trials)))
    pretend()
    stopping, going_on, never = (make_problem(trials=22, stop={"gain": gain}) for gain in (0.6, 0.4, 0))
    stores = make_store(stopping), make_store(never)
    run(stopping, stores[0])
    assert len(stores[0].trials(1)) == 20
    before = rows(stores[0])
    run(stopping, stores[0])
    assert rows(stores[0]) == before
    run(going_on, stores[0])
    run(never, stores[1])
    assert len(stores[0].trials(1)) == 22
    assert rows(stores[0]) == rows(stores[1])


def test_whether_trials_are_enough_is_asked_of_what_is_recorded_also_where_one_fails_at_its_draw(
    make_problem, make_store, pretend, monkeypatch
):
    draw, asked = Problem.draw, []

    def sometimes(self, trial, replicate, purpose="search"):
        if trial.number == 19:
            raise BudgetError("too large")
        return draw(self, trial, replicate, purpose)

    def enough(problem, records):
        asked.append(sum(record.trial.finish_order is not None for record in records))
        return asked[-1] >= 20

    pretend()
    monkeypatch.setattr(Problem, "draw", sometimes)
    monkeypatch.setattr(controller, "is_enough", enough)
    problem = make_problem(trials=25, stop={"gain": 1}, optimizer={"name": "random"}, training={"rungs": [1]})
    store = make_store(problem)
    run(problem, store)
    assert (asked, len(store.trials(1))) == ([0, 10, 20], 20)
