"""Conformance suite of samplers: subclass `SamplerConformance` and define `make`.

    class TestMySampler(SamplerConformance):
        def make(self, seed, trial_number):
            return MySampler(seed=seed + trial_number)

For every trial, a search makes a new sampler from the search's seed and the trial's number, and uses it with a study
that is rebuilt from the database. A sampler must therefore not depend on any state that it keeps between calls.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import optuna
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

__all__ = ["SamplerConformance", "rebuilt"]

Objective = Callable[[Trial], float]


class SamplerConformance:
    """Tests of what a search requires of a sampler.

    Attributes:
        n_trials: Number of trials of a test, which must exceed those of the sampler's random start.
    """

    n_trials = 7

    def make(self, seed: int, trial_number: int) -> BaseSampler:
        """The sampler that proposes trial `trial_number` of a search with this seed."""
        raise NotImplementedError

    def test_proposals_lie_inside_the_space(self) -> None:
        """Each value is one of its distribution, including type and step."""
        study = self._optimised(_mixed, seed=0)
        for trial in study.trials:
            assert set(trial.params) == {"rate", "share", "width", "nodes", "merge"}
            for name, value in trial.params.items():
                distribution = trial.distributions[name]
                assert distribution._contains(distribution.to_internal_repr(value))
            assert isinstance(trial.params["nodes"], int)

    def test_proposals_do_not_repeat(self) -> None:
        """No point of a continuous space is proposed twice."""
        study = self._optimised(_mixed, seed=1)
        assert len({tuple(sorted(trial.params.items(), key=str)) for trial in study.trials}) == self.n_trials

    def test_define_by_run_with_conditional_parameters(self) -> None:
        """An objective may request a parameter in some trials only."""
        study = self._optimised(_conditional, seed=2)
        assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * self.n_trials
        for trial in study.trials:
            assert ("second" in trial.params) == (trial.params["layers"] == 2)

    def test_works_beside_running_trials(self) -> None:
        """Trials may run at the same time and finish in any order."""
        study = optuna.create_study()
        running: list[tuple[Trial, float]] = []
        for _ in range(self.n_trials):
            trial = self._ask(study, seed=3)
            running.append((trial, _mixed(trial)))
            if len(running) == 4:
                study.tell(*running.pop(1))
        params = [tuple(sorted(trial.params.items(), key=str)) for trial in study.trials]
        assert len(set(params)) == self.n_trials

    def test_works_after_failed_and_pruned_trials(self) -> None:
        """A search continues after pruned trials, and if its first trials have failed."""
        study = optuna.create_study(direction="maximize")
        for number in range(self.n_trials):
            trial = self._ask(study, seed=4)
            value = _mixed(trial)
            _finish(study, trial, value, number)
        assert len(study.trials) == self.n_trials

    def test_same_seed_same_proposals(self) -> None:
        """Searches with the same seed and objective have equal proposals; with another seed they differ."""
        first, second, other = (self._optimised(_mixed, seed) for seed in (5, 5, 6))
        assert [t.params for t in first.trials] == [t.params for t in second.trials]
        assert [t.params for t in first.trials] != [t.params for t in other.trials]

    def test_resumes_from_rebuilt_trials(self) -> None:
        """A search that is rebuilt from its first trials, however many, continues with the same proposal."""
        trials = self._optimised(_mixed, seed=7).trials
        for number, trial in enumerate(trials):
            resumed = self._ask(rebuilt(trials[:number]), seed=7)
            _mixed(resumed)
            assert resumed.params == trial.params

    def _ask(self, study: Study, seed: int) -> Trial:
        study.sampler = self.make(seed, len(study.trials))
        return study.ask()

    def _optimised(self, objective: Objective, seed: int) -> Study:
        study = optuna.create_study()
        for _ in range(self.n_trials):
            trial = self._ask(study, seed)
            study.tell(trial, objective(trial))
        return study


def rebuilt(
    trials: Sequence[FrozenTrial],
    sampler: BaseSampler | None = None,
    direction: Literal["minimize", "maximize"] = "minimize",
) -> Study:
    """A new study with what a database would store of some trials.

    This is their public state and, for a running trial, the system attributes, in which its sampler may have stored a
    proposal that the trial has not yet requested completely.

    Args:
        trials: Trials of another study.
        sampler: Sampler of the new study.
        direction: Direction of the new study.
    """
    study = optuna.create_study(sampler=sampler, direction=direction)
    for trial in trials:
        facts: dict[str, Any] = {
            "state": trial.state,
            "value": trial.value,
            "params": trial.params,
            "distributions": trial.distributions,
            "intermediate_values": trial.intermediate_values,
        }
        if trial.state.is_finished():
            facts["constraints"] = trial.constraints
        else:
            facts["system_attrs"] = trial.system_attrs  # Optuna keeps constraints among them
        copy = optuna.trial.create_trial(**facts)
        copy.datetime_start, copy.datetime_complete = trial.datetime_start, trial.datetime_complete
        study.add_trial(copy)
    return study


def _finish(study: Study, trial: Trial, value: float, number: int) -> None:
    """Finish a trial: the first two fail, and the others fail, are pruned and complete in turn."""
    if number < 2 or number % 3 == 0:
        study.tell(trial, state=TrialState.FAIL)
    elif number % 3 == 1:
        trial.report(value, step=1)
        study.tell(trial, state=TrialState.PRUNED)
    else:
        trial.report(value + 1, step=1)
        trial.report(value, step=3)
        study.tell(trial, value)


def _mixed(trial: Trial) -> float:
    rate = trial.suggest_float("rate", 1e-4, 1.0, log=True)
    share = trial.suggest_float("share", 0.0, 1.0, step=0.05)
    width = trial.suggest_int("width", 8, 64, step=8)
    nodes = trial.suggest_int("nodes", 1, 128, log=True)
    merge = trial.suggest_categorical("merge", ("sum", "concat", None))
    return abs(rate - 0.1) + (share - 0.3) ** 2 + abs(width - 24) / 64 + abs(nodes - 9) / 128 + (merge != "concat")


def _conditional(trial: Trial) -> float:
    layers = trial.suggest_int("layers", 1, 2)
    value = trial.suggest_float("first", -1.0, 1.0) ** 2
    if layers == 2:
        value += trial.suggest_float("second", -1.0, 1.0) ** 2 - 0.5
        value += trial.suggest_categorical("kind", ("a", "b")) == "a"
    return value
