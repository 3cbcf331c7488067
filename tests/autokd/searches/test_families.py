from dataclasses import replace

import pytest
from inline_searches import run

from autokd.optimizers.models.posterior import Posterior
from autokd.searches import families as module
from autokd.searches.families import NOISE_SHARE, fit_model, rank_families, training_noise, winner, winners
from autokd.searches.proposals import feature_options

OF_SPACE = {
    "top_neighbours": 2,
    "top_probability": 0.5,
    "middle_probability": 0.5,
    "bottom_nodes": 3,
    "bottom_neighbours": 2,
    "bottom_probability": 0.5,
}
OF_METHOD = {"temperature": 3.0, "weight": 0.5}
PARAMETERS = OF_SPACE | OF_METHOD
FIXED = {
    "space": {"name": "nago", "ranges": OF_SPACE | {"top_nodes": 3, "middle_nodes": 1}},
    "distillation": {"method": "kd", "ranges": OF_METHOD},
    "optimizer": {"name": "trust-region"},
}


@pytest.fixture
def trial_records(make_record):
    """Trials 0 to 4: two complete, one pruned, one failed, one that has just begun."""
    return [
        make_record(0, [[0.5], [0.6]], "complete", PARAMETERS, 1, 0.6),
        make_record(1, [[0.4]], "pruned", PARAMETERS | {"bottom_nodes": 4}, 0, 0.4),
        make_record(2, [[0.7], [0.9]], "complete", PARAMETERS | {"weight": 0.9}, 2, 0.9),
        make_record(3, [[0.8]], "failed", PARAMETERS, 3),
        make_record(4, [], "running", PARAMETERS),
    ]


def test_families_with_a_value_are_ranked_by_their_posterior_mean(make_problem, trial_records, monkeypatch):
    asked: list[list[int]] = []

    def estimates(study, search_space, numbers, n_samples, seed, **description):
        asked.append(numbers)
        assert description.pop("model").codes.shape[0] == 5  # it knows all trials
        assert description == {"eligible": [0, 2], "averaged": 1} | feature_options(problem)
        return Posterior((0.6, 0.7, 0.65), (0.1, 0.2, 0.3), (0.2, 0.5, 0.3), (0.5, 0.4, 0.3), (0.7, 0.8, 0.9))

    monkeypatch.setattr(module, "posterior", estimates)
    problem = make_problem()
    families = rank_families(problem, trial_records)
    assert asked == [[0, 1, 2]]
    assert [(f.trial, f.mean, f.deviation, f.probability_best) for f in families] == [
        (1, 0.7, 0.2, 0.5),
        (2, 0.65, 0.3, 0.3),
        (0, 0.6, 0.1, 0.2),
    ]
    assert [(f.observed, f.rung) for f in families] == [(0.4, 0), (0.9, 1), (0.6, 1)]
    assert [(f.low, f.high) for f in families] == [(None, None), (0.3, 0.9), (0.5, 0.7)]


def test_a_family_is_described_by_the_space_and_its_first_student(make_problem, trial_records, monkeypatch):
    told = Posterior((0.6,) * 3, (0.1,) * 3, (1.0, 0.0, 0.0), (0.5,) * 3, (0.7,) * 3)
    monkeypatch.setattr(module, "posterior", lambda *args, **_: told)
    problem = make_problem()
    family = rank_families(problem, trial_records)[0]
    complete = problem.space.complete(problem.space_parameters(trial_records[0].trial))
    assert family.description == problem.space.describe(complete)
    assert family.parameters == PARAMETERS
    assert (family.params, family.macs) == (trial_records[0].students[0].params, trial_records[0].students[0].macs)


def test_without_a_value_there_is_no_family(make_problem, trial_records):
    assert rank_families(make_problem(), trial_records[3:]) == []


def test_the_model_believes_in_what_it_has_seen(make_problem, trial_records):
    families = {family.trial: family for family in rank_families(make_problem(), trial_records)}
    assert families[2].mean > families[0].mean
    assert sum(family.probability_best for family in families.values()) == pytest.approx(1)


def test_the_winner_is_the_first_of_those_that_climbed_highest(make_problem, trial_records, monkeypatch):
    told = Posterior((0.66, 0.7, 0.65), (0.1,) * 3, (0.0, 1.0, 0.0), (0.5,) * 3, (0.8,) * 3)
    monkeypatch.setattr(module, "posterior", lambda *args, **_: told)
    families = rank_families(make_problem(), trial_records)
    assert [family.trial for family in families] == [1, 0, 2]
    assert winner(families) == families[1]  # trial 1 was pruned; 2 has the best value, but the model believes in 0
    assert winner(families[:1]) == families[0]
    assert winner([]) is None


def test_a_family_that_was_tried_twice_wins_once(make_problem, trial_records, monkeypatch):
    told = Posterior((0.66, 0.7, 0.65), (0.1,) * 3, (0.0, 1.0, 0.0), (0.5,) * 3, (0.8,) * 3)
    monkeypatch.setattr(module, "posterior", lambda *args, **_: told)
    _, first, second = rank_families(make_problem(), trial_records)
    assert winners([first, second]) == [first, second]
    assert winners([first, second, replace(first, trial=9)]) == [first, second]


def test_of_a_part_of_the_trials_the_model_learns_from_fewer_observations(make_problem, trial_records, monkeypatch):
    monkeypatch.setattr(module, "MOST_OBSERVATIONS", 2)
    whole, part = (fit_model(make_problem(), records) for records in (trial_records, trial_records[1:]))
    assert len(whole.history.X) > len(part.history.X) == 2


def test_the_noise_of_a_training_follows_from_the_validation_samples(make_problem, trial_records):
    problem = make_problem()
    assert training_noise(problem, 0.9) is None  # as in searches that were recorded before it was known
    facts = replace(problem.facts, noise_is_known=True, samples={"train": 900, "validation": 400, "test": 400})
    knowing = replace(problem, facts=facts)
    students = knowing.config.students_per_trial
    assert training_noise(knowing, 0.9) == pytest.approx(NOISE_SHARE * 0.3 / (20 * students**0.5))
    assert training_noise(knowing, 1.0) is None
    assert fit_model(knowing, trial_records).noise == training_noise(knowing, 0.9)
    assert fit_model(problem, trial_records).noise is None


def test_trials_of_a_search_of_which_everything_is_fixed_are_one_family(make_problem, make_record):
    records = [make_record(k, [[0.5], [0.6 + k / 10]], "complete", {}, k + 1, 0.6 + k / 10) for k in range(2)]
    first, second = rank_families(make_problem(**FIXED), records)
    assert first.mean == second.mean == pytest.approx(0.65, abs=0.05)
    assert first.probability_best == second.probability_best == 1


@pytest.mark.usefixtures("with_references")
def test_a_search_of_which_everything_is_fixed_comes_to_its_end(make_problem, make_store, pretend):
    pretend()
    problem = make_problem(**FIXED, trials=2, training={"rungs": [1, 3]}, references={"names": ["no-teacher"]})
    assert not problem.dimensions
    store = make_store(problem)
    run(problem, store)
    assert [trial.state for trial in (*store.trials(1), *store.references(1))] == ["complete"] * 3
