import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
import torch
from evaluation_tasks import TEACHER
from optuna.distributions import FloatDistribution, IntDistribution

from autokd.config.parsing import recorded_config
from autokd.errors import InputError
from autokd.searches.facts import Facts
from autokd.searches.preflight import check_choices
from autokd.searches.problem import Problem
from autokd.searches.proposals import Proposer, feature_options, propose
from autokd.searches.references import reference_parameters
from autokd.searches.trial_record import TrialRecord
from autokd.teachers.graph import traced_teacher
from autokd.teachers.registry import load_teacher
from search_spaces.architecture.cost import cost
from search_spaces.architecture.format import Architecture
from search_spaces.architecture.layers import Shape
from search_spaces.design.budget import Budget
from search_spaces.design.space import Space
from search_spaces.errors import BudgetError
from search_spaces.spaces.nasbench201 import parse_cell

CPU = torch.device("cpu")
PARAMETERS = {
    "top_neighbours": 2,
    "top_probability": 0.5,
    "middle_probability": 0.5,
    "bottom_nodes": 3,
    "bottom_neighbours": 2,
    "bottom_probability": 0.5,
    "temperature": 3.0,
    "weight": 0.5,
}


@pytest.fixture
def problem(make_problem) -> Problem:
    return make_problem()


@pytest.fixture
def record(problem: Problem, make_record):
    """A trial with a student that was really drawn."""
    record = make_record(3, [[0.5]], parameters=PARAMETERS)
    architecture, _ = problem.draw(record.trial, 0)
    student = replace(record.students[0], architecture=architecture.to_dict())
    return replace(record, students=(student,))


@pytest.mark.parametrize("input_shape", [(1, 8, 8), (3, 20), (64,)])
def test_facts_come_back_from_json(facts: Facts, input_shape: tuple[int, ...]):
    facts = replace(facts, input_shape=input_shape)
    values = json.loads(json.dumps(asdict(facts) | {"command": ["autokd"]}))
    assert Facts.from_dict(values) == facts


def test_the_dimensions_are_the_spaces_then_the_methods_without_fixed_ones(problem: Problem):
    names = list(problem.distributions)
    assert names[-2:] == ["temperature", "weight"]
    assert "top_nodes" not in names
    assert problem.distributions["bottom_nodes"] == IntDistribution(3, 4)


def test_ranges_of_the_method_narrow_or_fix_its_dimensions(make_problem, record):
    problem = make_problem(distillation={"ranges": {"temperature": [2, 3], "weight": 0.7}})
    assert problem.distributions["temperature"] == FloatDistribution(2, 3, log=True)
    assert "weight" not in problem.distributions
    assert problem.methods.settings(record.trial.parameters) == (("temperature", 3.0), ("weight", 0.7))


def test_a_proposal_is_inside_the_space_and_the_same_for_the_same_rows(problem: Problem, record):
    first, again = (propose(problem, [], 0) for _ in range(2))
    assert first == again
    assert set(first) == set(problem.distributions)
    for name, value in first.items():
        distribution = problem.distributions[name]
        assert distribution._contains(distribution.to_internal_repr(value))
    assert propose(problem, [], 1) != first


def test_a_proposal_depends_on_the_searchs_seed(make_problem):
    assert propose(make_problem(seed=1), [], 0) != propose(make_problem(seed=2), [], 0)


def test_a_draw_is_the_same_for_the_same_trial_and_replicate(problem: Problem, record):
    family = replace(record.trial, parameters=PARAMETERS | {"bottom_nodes": 4, "bottom_probability": 0.9})
    digests = [problem.draw(family, replicate)[0].digest for replicate in (0, 0, 1, 2, 3, 4)]
    assert digests[0] == digests[1]
    assert len(set(digests)) > 1


def test_a_draw_keeps_the_budget_and_knows_its_cost(problem: Problem, record):
    architecture, found = problem.draw(record.trial, 0)
    assert found == cost(architecture)
    assert 0.9 * 4_000 < found.params <= 4_000
    assert (architecture.input_shape, architecture.classes) == ((1, 8, 8), 10)


def test_shares_of_the_teacher_are_limits_of_draws_and_proposals(make_problem, record):
    problem = make_problem(budget={"params": 10**6, "of_teacher": {"params": 0.03}})
    assert problem.budget == Budget(params=2_332)
    assert 0.9 * 2_332 < problem.draw(record.trial, 0)[1].params <= 2_332
    assert propose(problem, [], 0) == propose(make_problem(budget={"params": 2_332}), [], 0)


def test_limits_that_were_recorded_stay(make_problem, facts: Facts):
    problem = replace(make_problem(budget={"of_teacher": {"params": 0.03}}), facts=replace(facts, budget={"params": 5}))
    assert problem.budget == Budget(params=5)


def test_a_draw_that_cannot_fit_says_so(make_problem, record):
    with pytest.raises(BudgetError):
        make_problem(budget={"params": 50}).draw(record.trial, 0)


def test_a_task_is_of_the_student_and_its_rung(problem: Problem, record):
    task = problem.task(record.trial, record.students[0], 1)
    assert Architecture.from_json(task.architecture) == problem.draw(record.trial, 0)[0]
    assert (task.settings, task.rung, task.epochs) == ((("temperature", 3.0), ("weight", 0.5)), 1, 3.0)
    assert (task.context.is_tested, task.context.teacher_digest, task.context.data_digest) == (False, "teacher", "data")
    assert task.folder == problem.home / "searches" / "first" / "evaluations"


def test_a_final_task_has_its_own_length_and_seed_and_is_tested(make_problem, record):
    problem = make_problem(final={"epochs": 20, "learning_rate": 0.02, "views": 3}, training={"views": 8})
    final = replace(record.students[0], purpose="final")
    task, searched = problem.task(record.trial, final, 0), problem.task(record.trial, record.students[0], 0)
    training = task.context.training
    assert (task.epochs, training.learning_rate, training.views, task.context.is_tested) == (20, 0.02, 3, True)
    assert task.seed != searched.seed
    assert task.context.training.batch_size == searched.context.training.batch_size
    assert (task.context.seed, task.context.cache) == (searched.context.seed, searched.context.cache)


def test_omitted_final_settings_are_the_searchs(problem: Problem):
    final, searched = problem.retraining_context.training, problem.context.training
    assert (final.learning_rate, final.views) == (searched.learning_rate, searched.views)


def test_the_precision_of_the_plan_is_the_one_found(problem: Problem):
    assert problem.config.training.precision == "auto"
    assert problem.context.training.precision == "float32"


def test_every_trial_and_replicate_trains_from_a_seed_of_its_own(problem: Problem, record):
    trials = [replace(record.trial, number=number) for number in range(3)]
    purposes = ("search", "final")
    students = [replace(record.students[0], replicate=k, purpose=purpose) for k in range(3) for purpose in purposes]
    assert len({problem.task(trial, student, 0).seed for trial in trials for student in students}) == 18


@pytest.mark.parametrize(("seconds", "wanted"), [(None, True), (4.1, True), (4.0, False), (1.0, False)])
def test_a_trial_is_wanted_while_workers_have_time(make_problem, seconds, wanted):
    problem = make_problem(trials=9, seconds=seconds, workers={"engine": "local", "count": 2})
    assert problem.wants_trial(2, worker_seconds=8.0) is wanted
    assert problem.wants_trial(2, worker_seconds=2.0, prepared=3.0) is wanted


def test_no_more_trials_are_wanted_than_asked_for(make_problem):
    problem = make_problem(trials=2)
    assert [problem.wants_trial(n, 0.0) for n in (1, 2, 3)] == [True, False, False]


@pytest.mark.parametrize(("own", "pruned"), [(0.9, False), (0.7, False), (0.1, True)])
def test_a_trial_is_pruned_by_its_rank_at_its_rung(problem: Problem, make_record, own: float, pruned: bool):
    others = [make_record(k, [[k / 10]], "pruned", PARAMETERS, k, k / 10) for k in range(6)]
    record = make_record(6, [[own]], parameters=PARAMETERS)
    assert Proposer(problem, [*others, record]).prunes(record.trial.number) is pruned


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"space": {"name": "nagoo"}}, "^space: .*nagoo"),
        ({"space": {"name": "nago", "ranges": {"top_node": 3}}}, "^space: .*top_node"),
        ({"distillation": {"method": "dk"}}, "a distillation method must be one of kd"),
        ({"distillation": {"ranges": {"temprature": 3}}}, "^distillation.ranges: .*temprature"),
        ({"distillation": {"ranges": {"weight": [0, 3]}}}, "^distillation.ranges: "),
        ({"optimizer": {"name": "bohb"}}, "^optimizer: .*bohb"),
        ({"optimizer": {"name": "random", "options": {"nonsense": 1}}}, "^optimizer: .*nonsense"),
        (
            {"optimizer": {"options": {"search_space": 1, "features": 1}}},
            "^optimizer: the option 'features' is the search",
        ),
        ({"optimizer": {"pruner": "hyperband"}}, "^optimizer.pruner: .*hyperband"),
    ],
)
def test_check_finds_what_the_first_trial_would(make_problem, sections, message):
    with pytest.raises(InputError, match=message):
        check_choices(make_problem(**sections))


def test_check_is_silent_about_a_good_problem(problem: Problem):
    check_choices(problem)


@pytest.mark.parametrize(("input_shape", "views"), [((1, 8, 8), (8, 3)), ((3, 20), (1, 1)), ((64,), (1, 1))])
def test_what_is_not_augmented_has_one_view(make_problem, input_shape, views: tuple[int, int]):
    problem = make_problem(training={"views": 8, "rungs": [1, 9]}, final={"views": 3, "epochs": 20})
    problem = replace(problem, facts=replace(problem.facts, input_shape=input_shape))
    plans = problem.context, problem.retraining_context
    assert tuple(sum(a.part == "train" for a in context.outputs_needed) for context in plans) == views


def test_a_users_own_space_is_found_in_the_current_folder_although_no_teacher_was_loaded(
    make_problem, tmp_path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "own_space.py").write_text(
        "from search_spaces.spaces.nago import Nago\n\n\nclass Own(Nago):\n    pass\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [entry for entry in sys.path if entry not in ("", str(tmp_path))])
    problem = make_problem(space={"name": "own_space:Own"})
    assert type(problem.space).__name__ == "Own"


def test_a_proposal_that_breaks_the_budget_becomes_a_near_one_that_keeps_it(make_problem, make_record):
    sections = {
        "space": {"name": "nago", "ranges": {"top_nodes": [3, 10], "middle_nodes": [1, 10], "bottom_nodes": [3, 10]}},
        "budget": {"params": 1_500},
    }
    problem = make_problem(**sections)
    generous = make_problem(**sections | {"budget": {"params": 10**9}})
    changed = 0
    for number in range(8):
        proposed = propose(problem, [], number)
        assert proposed == propose(problem, [], number)
        changed += proposed != propose(generous, [], number)
        record = make_record(number, [[0.5]], parameters=proposed)
        assert problem.draw(record.trial, 0)[1].params <= 1_500
    assert changed > 4


def test_a_proposal_is_left_alone_where_nothing_fits(make_problem):
    tight, generous = make_problem(budget={"params": 50}), make_problem()
    assert propose(tight, [], 0) == propose(generous, [], 0)


def test_isomorphic_cells_are_one_evaluation(make_problem, make_record):
    problem = make_problem(space={"name": "nasbench201", "ranges": {"cells": 1}}, budget={"params": 20_000})
    texts = (
        "|skip_connect~0|+|skip_connect~0|nor_conv_3x3~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|",
        "|skip_connect~0|+|skip_connect~0|nor_conv_1x1~1|+|nor_conv_3x3~0|skip_connect~1|skip_connect~2|",
        "|skip_connect~0|+|skip_connect~0|nor_conv_1x1~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|",
    )
    keys = []
    for text in texts:
        record = make_record(0, [[0.5]], parameters=parse_cell(text) | {"temperature": 3.0, "weight": 0.5})
        architecture, _ = problem.draw(record.trial, 0)
        student = replace(record.students[0], architecture=architecture.to_dict())
        keys.append(problem.task(record.trial, student, 0).key)
    assert keys[0] == keys[1] != keys[2]


def test_the_optimiser_is_told_what_cells_compute_and_nothing_of_random_graphs(problem: Problem, make_problem):
    assert feature_options(problem)["features"] is None
    ranges = {"edge_0_1": "skip_connect", "edge_0_2": ["none"]}
    cells = make_problem(space={"name": "nasbench201", "ranges": ranges})
    features, described = feature_options(cells)["features"], feature_options(cells)["described"]
    assert set(described) == cells.space.distributions().keys() < cells.dimensions.keys()
    values = {"edge_0_3": "none", "edge_1_2": "none", "edge_1_3": "nor_conv_3x3", "edge_2_3": "none", "weight": 0.5}
    # One 3x3 convolution, which the output reads, and which reads the input; one path.
    assert features(values) == (0, 0, 0, 0, 1, 2, 1, 1, 1)
    assert propose(cells, [], 0) == propose(make_problem(space={"name": "nasbench201", "ranges": ranges}), [], 0)


SPACES = {
    "space": {
        "names": ["nago", "blocks", "nasbench201"],
        "ranges": {"nago": {"top_nodes": [3, 4]}, "blocks.head_ratio": 0},
    },
    "optimizer": {"name": "trust-region"},
    "budget": {"params": 8_000},
}


@pytest.mark.parametrize("sampler", ["trust-region", "random", "tpe"])
def test_each_space_is_tried_first_and_well_known_families_of_it(make_problem, sampler: str):
    problem = make_problem(**SPACES | {"optimizer": {"name": sampler}})
    proposed = [propose(problem, [], number) for number in range(7)]
    *first, searched = proposed
    assert [parameters["space"] for parameters in first[:3]] == ["nago", "blocks", "nasbench201"]
    blocks = [parameters["blocks.stage3_block"] for parameters in first if parameters["space"] == "blocks"]
    assert blocks == ["basic", "mbconv", "basic", "basic"]
    assert {(parameters["temperature"], parameters["weight"]) for parameters in first} == {(4.0, 0.9)}
    assert (searched["temperature"], searched["weight"]) != (4.0, 0.9)
    assert proposed == [propose(problem, [], number) for number in range(7)]


def test_all_that_a_trial_of_one_of_several_spaces_needs_is_there(make_problem, make_record):
    problem = make_problem(**SPACES)
    for number in range(4):
        trial = make_record(number, [[0.5]], parameters=propose(problem, [], number)).trial
        architecture, found = problem.draw(trial, 0)
        assert architecture.space == trial.parameters["space"]
        assert found.params <= 8_000
        prefixes = {name.partition(".")[0] for name in problem.space_parameters(trial)}
        assert prefixes == {"space", architecture.space}


def test_a_search_of_one_space_begins_as_it_did_before_there_were_several(make_problem):
    by_name, by_names = (make_problem(space=space) for space in ({"name": "blocks"}, {"names": ["blocks"]}))
    assert by_name.config == by_names.config
    assert "stage1_block" in by_name.dimensions
    assert (by_name.start_points, by_name.conditions) == ([], {})


@pytest.mark.parametrize("keeps", [True, False])
def test_the_first_networks_of_several_spaces_climb_whatever_the_pruner_finds(make_problem, make_record, keeps: bool):
    problem = make_problem(**SPACES | {"optimizer": {"keeps_start_points": keeps}})
    first, after = 1, len(problem.start_points)
    proposals = [propose(problem, [], number) for number in range(2 * after)]
    records = [
        make_record(number, [[0.1 if number in (first, after) else 0.5 + number / 100]], parameters=parameters)
        for number, parameters in enumerate(proposals)
    ]
    proposer = Proposer(problem, records)
    assert [proposer.prunes(number) for number in (first, after)] == [not keeps, True]


def test_a_search_of_few_trials_trusts_the_model_once_five_have_ended(make_problem, make_record):
    def seventh(trials: int, **optimizer: Any) -> Mapping[str, Any]:
        problem = make_problem(trials=trials, optimizer={"name": "trust-region", **optimizer})
        records: list[TrialRecord] = []
        for number in range(6):
            parameters = propose(make_problem(), [], number)
            value = 0.5 + number / 100
            records.append(make_record(number, [[value]], "complete", parameters, number, value, opened_after=number))
        return propose(problem, records, 6)

    early, late = ({"options": {"n_startup_trials": n}} for n in (5, 12))
    assert seventh(15) == seventh(16, **early) == seventh(60, **early)
    assert seventh(16) == seventh(15, **late) == seventh(15, proposes_early=False)
    assert seventh(15) != seventh(16)


def test_a_search_of_several_spaces_models_no_inactive_dimension(make_problem, make_record):
    problem = make_problem(**SPACES)
    records: list[TrialRecord] = []
    for number in range(20):
        parameters = propose(problem, records, number)
        value = 0.5 + 0.1 * (parameters["space"] == "blocks")
        records.append(make_record(number, [[value]], "complete", parameters, number, value, opened_after=number))
    assert {name for name, (parent, _) in problem.conditions.items() if parent == "space"} >= {"nago.top_nodes"}
    assert problem.conditions["blocks.stage1_kernel"] == ("blocks.stage1_block", ("mbconv",))
    spaces = [record.trial.parameters["space"] for record in records]
    assert spaces[12:].count("blocks") > 4


def test_a_space_without_a_student_in_the_budget_is_no_choice(make_problem):
    problem = make_problem(**SPACES)
    problem = replace(problem, facts=replace(problem.facts, spaces=("blocks",)))
    assert {name.partition(".")[0] for name in problem.space.distributions()} == {"space", "blocks"}
    assert [propose(problem, [], number)["space"] for number in range(3)] == ["blocks"] * 3


@pytest.mark.parametrize(
    ("sections", "reference", "expected"),
    [
        ({}, None, True),
        ({"training": {"from_teacher": False}}, None, False),
        ({}, "like-teacher", False),  # what one would have drawn by hand
        ({"teacher": {}}, None, False),  # an object, which workers cannot load
        ({"data": {"source": "digits", "student_channels": [0]}}, None, False),
        ({"space": {"name": "blocks"}}, None, False),
    ],
)
def test_slim_copies_that_are_no_references_begin_with_what_the_teacher_knows(
    make_problem, make_record, sections: dict[str, Any], reference: str | None, expected: bool
):
    problem = make_problem(**{"space": {"name": "like-teacher"}, "budget": {"params": 8_000}} | sections)
    graph = traced_teacher(load_teacher(TEACHER, CPU), (1, 8, 8), CPU).architecture
    problem = replace(problem, facts=replace(problem.facts, graph=graph.to_dict()))
    parameters = problem.space.complete(problem.space.start_points()[0]) | {"temperature": 3.0, "weight": 0.5}
    if reference is not None:
        parameters = reference_parameters(reference, graph)
    record = make_record(3, [[0.5]], parameters=parameters)
    trial = replace(record.trial, reference=reference)
    architecture, _ = problem.draw(trial, 0)
    student = replace(record.students[0], architecture=architecture.to_dict())
    assert problem.task(trial, student, 0).from_teacher is expected


def test_searches_of_earlier_versions_go_on_without_the_teachers_weights(problem: Problem):
    recorded = problem.config.to_dict()
    assert recorded["training"].pop("from_teacher") is True
    assert recorded_config(recorded, "recorded").training.from_teacher is False


def recorded_without(problem: Problem, key: str) -> Problem:
    """The search as a version recorded it whose section `space` lacked this key."""
    recorded = problem.config.to_dict()
    del recorded["space"][key]
    return replace(problem, config=recorded_config(recorded, "recorded"))


def resnet_of(space: Space, budget: Budget, shape: Shape) -> Architecture:
    """The first network with which `blocks` begins, alone or among other spaces."""
    begins = next(point for point in space.start_points() if point.get("space", "blocks") == "blocks")
    return space.sample(space.complete(begins), budget, shape, 10, np.random.default_rng(0))


@pytest.mark.parametrize("space", [{"name": "blocks"}, {"names": ["blocks", "nago"]}])
def test_searches_of_earlier_versions_tilt_widths_as_they_did(make_problem, space: dict[str, Any]):
    problem = make_problem(space=space, budget={"params": 2_000, "macs": 10_000_000})
    spaces = problem.space, recorded_without(problem, "tilt").space, problem.space.tilted("balanced")
    now, earlier, balanced = (resnet_of(each, problem.budget, (1, 8, 8)) for each in spaces)
    assert now != earlier == balanced


@pytest.mark.parametrize("space", [{"name": "blocks"}, {"names": ["blocks", "nago"]}])
def test_searches_of_earlier_versions_draw_the_stems_that_they_did(make_problem, space: dict[str, Any]):
    problem = make_problem(space=space, budget={"params": 20_000, "activation_bytes": 20_000})
    spaces = problem.space, recorded_without(problem, "stem").space
    assert [resnet_of(each, problem.budget, (1, 48, 48)).nodes[1].stride for each in spaces] == [4, 2]


def test_copies_of_a_teacher_that_sees_another_size_begin_anew(make_problem, make_record):
    problem = make_problem(space={"name": "like-teacher"}, budget={"params": 8_000})
    graph = traced_teacher(load_teacher(TEACHER, CPU), (1, 8, 8), CPU).architecture
    larger = graph.to_dict() | {"input_shape": [1, 16, 16]}
    problem = replace(problem, facts=replace(problem.facts, graph=larger))
    parameters = problem.space.complete(problem.space.start_points()[0]) | {"temperature": 3.0, "weight": 0.5}
    record = make_record(3, [[0.5]], parameters=parameters)
    architecture, _ = problem.draw(record.trial, 0)
    student = replace(record.students[0], architecture=architecture.to_dict())
    assert problem.task(record.trial, student, 0).from_teacher is False
