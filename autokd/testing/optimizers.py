"""What every sampler must hold so that a search can use it.

Subclass `SamplerConformance` in a test module, give it `make`, and pytest runs the rest:

    class TestMySampler(SamplerConformance):
        def make(self, seed, trial_number):
            return MySampler(seed=seed + trial_number)

A search makes the sampler anew for every trial, from the search's seed and the trial's number, on a study that was
rebuilt from the database's rows. So a sampler may keep nothing between calls that it cannot do without.
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
    """Tests of one sampler; see the module's docstring.

    Attributes:
        n_trials: Trials of a test, enough to go beyond the sampler's random start.
    """

    n_trials = 7

    def make(self, seed: int, trial_number: int) -> BaseSampler:
        """The sampler that proposes trial `trial_number` of the search with this seed."""
        raise NotImplementedError

    def test_proposals_lie_inside_the_space(self) -> None:
        """Each value belongs to its distribution; an integer is an int and a step is met."""
        study = self._optimised(_mixed, seed=0)
        for trial in study.trials:
            assert set(trial.params) == {"rate", "share", "width", "nodes", "merge"}
            for name, value in trial.params.items():
                distribution = trial.distributions[name]
                assert distribution._contains(distribution.to_internal_repr(value))
            assert isinstance(trial.params["nodes"], int)

    def test_proposals_do_not_repeat(self) -> None:
        """A continuous space is not sampled twice at one point."""
        study = self._optimised(_mixed, seed=1)
        assert len({tuple(sorted(trial.params.items(), key=str)) for trial in study.trials}) == self.n_trials

    def test_define_by_run_with_conditional_parameters(self) -> None:
        """An objective may ask for a parameter in some trials only."""
        study = self._optimised(_conditional, seed=2)
        assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * self.n_trials
        for trial in study.trials:
            assert ("second" in trial.params) == (trial.params["layers"] == 2)

    def test_works_beside_running_trials(self) -> None:
        """Trials that run side by side get values, and finish in any order."""
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
        """Neither all-failed beginnings nor pruned trials stop a search."""
        study = optuna.create_study(direction="maximize")
        for number in range(self.n_trials):
            trial = self._ask(study, seed=4)
            value = _mixed(trial)
            _finish(study, trial, value, number)
        assert len(study.trials) == self.n_trials

    def test_same_seed_same_proposals(self) -> None:
        """Two searches with one seed and one objective propose the same; another seed proposes something else."""
        first, second, other = (self._optimised(_mixed, seed) for seed in (5, 5, 6))
        assert [t.params for t in first.trials] == [t.params for t in second.trials]
        assert [t.params for t in first.trials] != [t.params for t in other.trials]

    def test_resumes_from_rebuilt_trials(self) -> None:
        """At every split of its history a search that is rebuilt from its trials goes on with the same proposal."""
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
    """A fresh study with the facts of some trials, as a database would hold them.

    These are the public ones and, of a running trial, the attributes in which its sampler may have noted what it
    proposed: a trial need not have asked for all of that yet.
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
    """The first two trials fail; of the others each third fails, each third is pruned, each third completes."""
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
