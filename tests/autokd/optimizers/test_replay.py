"""A proposal is a function of a study's trials and the sampler's seed."""

import math
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from autokd.optimizers import TrustRegionSampler, archive
from autokd.testing.optimizers import rebuilt

SPACE = {
    "rate": FloatDistribution(1e-4, 1.0, log=True),
    "share": FloatDistribution(0.0, 1.0),
    "width": IntDistribution(1, 12),
    "merge": CategoricalDistribution(("sum", "gate", None)),
    "gate": FloatDistribution(-1.0, 1.0),
}
VALUES = (-2.0, 0.0, 0.25, 0.25 + 1e-12, 1.0, 40.0)  # few, so that ties occur
RESTARTS_SOON = 36  # trials without an improvement after which the region is about to restart
N_SCRIPTS = 25
ENDINGS = {"complete": TrialState.COMPLETE, "prune": TrialState.PRUNED, "fail": TrialState.FAIL}


@dataclass(frozen=True)
class Script:
    """Events of a study, independent of what its sampler proposes.

    The study begins with `n_past` trials on which no later trial improves. Events are triples: the kind, the index of a
    running trial, and a value. If no trial is running, one starts instead.
    """

    direction: Literal["minimize", "maximize"]
    n_past: int
    space: dict[str, optuna.distributions.BaseDistribution] | None
    features: Callable[[Mapping[str, Any]], Sequence[float]] | None
    events: list[tuple[str, int, float]]

    def sampler(self, seed=0):
        return TrustRegionSampler(seed, n_startup_trials=2, search_space=self.space, features=self.features)

    def studies(self, sampler):
        """The study before the first event and after each event, always the same object."""
        study = self._past()
        running: list[Any] = []
        study.sampler = sampler
        yield study
        for kind, place, value in self.events:
            if kind in ("start", "begin") or not running:
                running.append(study.ask())
                (begin if kind == "begin" else ask_for_all)(running[-1])
            else:
                trial = running[place % len(running)]
                happen(study, trial, kind, value)
                if kind in ENDINGS:
                    running.remove(trial)
            yield study

    def _past(self):
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0), direction=self.direction)
        for _ in range(self.n_past):
            trial = study.ask()
            ask_for_all(trial)
            study.tell(trial, max(VALUES) if self.direction == "maximize" else min(VALUES))
        return study


@st.composite
def scripts(draw):
    kinds = ["start", "start", "begin", "report", "report", *ENDINGS, "complete"]
    kinds += ["constrain"] * draw(st.sampled_from([0, 2]))
    events = st.tuples(st.sampled_from(kinds), st.integers(0, 3), st.sampled_from((*VALUES, math.inf)))
    return Script(
        draw(st.sampled_from(["minimize", "maximize"])),
        draw(st.sampled_from([0, 0, RESTARTS_SOON])),
        draw(st.sampled_from([None, SPACE])),
        draw(st.sampled_from([None, None, area])),
        draw(st.lists(events, min_size=10, max_size=18)),
    )


def area(params):
    """A feature, which trials have even before they have asked for all parameters."""
    return [params.get("width", 1) * params.get("share", 0.5)]


def begin(trial):
    """Ask for the first parameter only."""
    trial.suggest_float("rate", 1e-4, 1.0, log=True)


def ask_for_all(trial):
    """Ask for all parameters, of which one is conditional."""
    begin(trial)
    trial.suggest_float("share", 0.0, 1.0)
    trial.suggest_int("width", 1, 12)
    if trial.suggest_categorical("merge", ("sum", "gate", None)) == "gate":
        trial.suggest_float("gate", -1.0, 1.0)


def happen(study, trial, kind, value):
    """Apply one event to a running trial."""
    ask_for_all(trial)
    row = study.trials[trial.number]
    if kind == "report":
        trial.report(value, step=1 + trial.number % 2 + len(row.intermediate_values))
    elif kind == "constrain":
        if not row.constraints:
            trial.set_constraint("size", value)
    else:
        study.tell(trial, value if kind == "complete" else None, state=ENDINGS[kind])


def proposal(study):
    """Parameters proposed to the next trial, including those for which it does not ask."""
    trial = study.ask()
    ask_for_all(trial)
    return {**trial.relative_params, **trial.params}


def snapshot(study, sampler):
    """A copy of a study with the sampler itself, so that asking does not change the study."""
    copy = pickle.loads(pickle.dumps(study))
    copy.sampler = sampler
    return copy


def shuffled(trials, random):
    """The same trials in another order; the order of the running ones, which have no end, is kept."""
    running = (trial for trial in trials if not trial.state.is_finished())
    mixed = random.sample(trials, len(trials))
    return [trial if trial.state.is_finished() else next(running) for trial in mixed]


def unpickled(sampler):
    return pickle.loads(pickle.dumps(sampler))


@settings(max_examples=N_SCRIPTS)
@given(scripts())
def test_a_new_sampler_proposes_the_same_as_one_that_made_all_proposals(script) -> None:
    original, pickled = script.sampler(), script.sampler()
    n_trials = script.n_past
    expected: dict[Any, Any] = {}
    for study in script.studies(original):
        for started in study.trials[n_trials:]:
            assert started.params.items() <= expected.items()
        n_trials = len(study.trials)
        expected = proposal(snapshot(study, original))
        assert proposal(rebuilt(study.trials, script.sampler(), script.direction)) == expected
        pickled = unpickled(pickled)
        assert proposal(snapshot(study, pickled)) == expected


@pytest.mark.slow  # models are fitted to the past of each event
def test_after_very_many_trials_a_new_sampler_proposes_the_same_as_one_that_made_all(monkeypatch) -> None:
    for name, number in {"_MANY": 20, "_N_NEAREST": 12, "_N_NEWEST": 6, "_EVERY": 4}.items():
        monkeypatch.setattr(archive, name, number)
    events = [("start", 0, 0.0), ("start", 0, 0.0), ("report", 0, 0.25), ("complete", 0, 0.25), ("prune", 0, 0.0)] * 3
    script = Script("minimize", RESTARTS_SOON, SPACE, area, events)
    original = script.sampler()
    for study in script.studies(original):
        expected = proposal(snapshot(study, original))
        assert proposal(rebuilt(study.trials, script.sampler(), script.direction)) == expected


@settings(max_examples=N_SCRIPTS // 2)
@given(scripts(), st.randoms(use_true_random=False))
def test_the_order_of_the_trials_does_not_matter_if_they_have_end_times(script, random) -> None:
    for study in script.studies(script.sampler()):
        ordered, mixed = (
            proposal(rebuilt(trials, script.sampler(), script.direction))
            for trials in (study.trials, shuffled(study.trials, random))
        )
        assert mixed == ordered


@settings(max_examples=N_SCRIPTS)
@given(scripts(), st.integers(1, 2**64))
def test_another_seed_gives_another_proposal_at_some_point(script, seed) -> None:
    def proposed_to(study, seed):
        return proposal(rebuilt(study.trials, script.sampler(seed), script.direction))

    assert any(proposed_to(study, 0) != proposed_to(study, seed) for study in script.studies(script.sampler()))
