from statistics import fmean

import optuna
from evolution import POPULATION, RegularisedEvolution


def search(n_trials: int) -> optuna.Study:
    """A study as the product makes one: a new sampler for each trial."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    for _ in range(n_trials):
        study.sampler = RegularisedEvolution(seed=3)
        trial = study.ask()
        kind = trial.suggest_categorical("kind", ["a", "b"])
        value = trial.suggest_float("value", 0, 1) + (trial.suggest_int("bonus", 0, 3) if kind == "b" else 0)
        study.tell(trial, value)
    return study


def test_a_child_differs_from_a_parent_of_the_population_in_one_parameter() -> None:
    trials = search(POPULATION + 12).trials
    for number in range(POPULATION, len(trials)):
        own = trials[number].params
        parents = (trial.params for trial in trials[number - POPULATION : number])
        assert any(_mutations(parent, own) == 1 for parent in parents)


def test_it_improves_and_repeats_itself() -> None:
    first, again = search(120), search(120)
    assert [trial.params for trial in first.trials] == [trial.params for trial in again.trials]
    values = [trial.value or 0.0 for trial in first.trials]
    assert fmean(values[-60:]) > fmean(values[:POPULATION])


def _mutations(parent: dict[str, object], child: dict[str, object]) -> int:
    """Number of parameters that changed, not counting those that exist for one of them only."""
    return sum(parent[name] != child[name] for name in parent.keys() & child.keys())
