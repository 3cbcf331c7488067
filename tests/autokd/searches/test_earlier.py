from typing import Any

from optuna.distributions import CategoricalDistribution, IntDistribution

from autokd.searches.earlier import EarlierSearch, EarlierTrial, learns_from, learns_from_json

DISTRIBUTIONS = {"nodes": IntDistribution(2, 6), "method": CategoricalDistribution(["kd", "dkd"])}


def trial(accuracy: float | None = 0.5, **parameters: Any) -> EarlierTrial:
    return EarlierTrial(parameters, () if accuracy is None else ((0, (accuracy,)),))


def test_only_legal_trials_are_within_and_only_with_what_this_search_has():
    found = EarlierSearch(
        "first",
        (
            trial(nodes=2, method="kd", weight=0.3),
            trial(None, nodes=6),
            trial(nodes=7, method="kd"),
            trial(nodes=3, method="at"),
            trial(weight=0.3),
        ),
    ).within(DISTRIBUTIONS)
    assert found == EarlierSearch("first", (trial(nodes=2, method="kd"), trial(None, nodes=6)), dropped=3)
    assert found.n_observed == 1


def test_what_is_learnt_from_is_told_with_what_was_dropped():
    searches = [EarlierSearch("first", (trial(),) * 52, 8), EarlierSearch("second", (trial(),) * 60)]
    assert learns_from(searches) == "112 trials of first (52 of 60), second"
    assert learns_from_json(searches)[0] == {"name": "first", "trials": 52, "dropped": 8}
    assert learns_from([]) == ""
