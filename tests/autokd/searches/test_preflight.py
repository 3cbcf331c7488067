import json
import platform
import re
from collections.abc import Callable
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from torch import nn

from autokd.config.schema import SearchConfig
from autokd.config.toml import override_config
from autokd.data.registry import load_data
from autokd.data.sources.arrays import save_npz
from autokd.errors import BudgetInfeasibleError, InputError
from autokd.evaluation.precompute import precompute_outputs
from autokd.searches.choices import Choices
from autokd.searches.facts import Facts
from autokd.searches.preflight import (
    broken_limits,
    check_budget,
    check_config,
    check_storage,
    find_facts,
    survey,
    with_feasible_spaces,
)
from autokd.searches.problem import Problem
from autokd.searches.reporter import Reporter
from autokd.teachers.cost import TeacherCost
from autokd.teachers.outputs.key import OutputsKey
from autokd.teachers.preparation import Preparation
from autokd.teachers.registry import Teacher, load_teacher
from search_spaces.architecture.cost import cost
from search_spaces.design.budget import Budget
from search_spaces.errors import SpaceError

SPACES = {"names": ["nago", "blocks"], "ranges": {"nago.width": 64}}


@pytest.fixture(autouse=True)
def folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def macs_by_hand() -> int:
    """Of the digits teacher: kernel area times channels times positions, layer by layer."""
    stem = 9 * 1 * 16 * 64
    first = 2 * 9 * 16 * 16 * 64
    second = 9 * 16 * 32 * 16 + 9 * 32 * 32 * 16 + 16 * 32 * 16
    third = 9 * 32 * 64 * 4 + 9 * 64 * 64 * 4 + 32 * 64 * 4
    return stem + first + second + third + 64 * 10


def test_the_facts_are_those_of_data_teacher_and_machine(config: SearchConfig):
    facts, dataset = find_facts(config), load_data(config.data)
    assert (facts.input_shape, facts.classes) == ((1, 8, 8), 10)
    assert (facts.data_digest, facts.normalisation) == (dataset.digest, dataset.normalisation)
    assert (facts.teacher_params, facts.teacher_macs) == (77_754, macs_by_hand())
    assert facts.teacher_activation_bytes == 3 * 4 * 16 * 8 * 8  # three maps of the first block
    assert facts.teacher_model_bytes == 4 * (77_754 + 2 * (3 * 16 + 3 * 32 + 3 * 64))  # and batch norm's statistics
    assert facts.teacher_metrics["accuracy"] > 0.97
    assert (facts.device, facts.precision in ("float32", "bfloat16")) == ("cpu", True)
    assert facts.versions["python"] == platform.python_version()
    assert facts.versions["torch"] == version("torch")


def test_the_resolved_limits_are_facts_and_bound_the_survey(config: SearchConfig, tmp_path: Path):
    shares = ["budget.params=9_000", "budget.of_teacher={params=0.1, activation_bytes=0.3333333}"]
    changed = override_config(config, shares)
    facts = find_facts(changed)
    assert facts.budget == {"params": 7_775, "activation_bytes": 4_096}
    offers = survey(Problem(changed, facts, tmp_path))
    assert {offer.limit: offer.allowed for offer in offers if offer.allowed} == facts.budget


OWN_SPACES = """
from search_spaces.spaces.blocks import Blocks
class Raises(Blocks):
    def blueprint(self, *given): raise RuntimeError("boom\\nsecond line")
class Forgets(Blocks):
    def blueprint(self, *given): pass
"""


@pytest.mark.parametrize(
    ("name", "reason"),
    [("Raises", "RuntimeError: boom"), ("Forgets", "AttributeError: 'NoneType' object has no attribute 'cost'")],
)
def test_what_a_space_of_ones_own_raises_is_one_line(
    config: SearchConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, reason: str
):
    (tmp_path / "odd_spaces.py").write_text(OWN_SPACES)
    monkeypatch.syspath_prepend(tmp_path)
    changed = override_config(config, [f"space={{name='odd_spaces:{name}'}}"])
    with pytest.raises(
        SpaceError, match=rf"^space 'odd_spaces:{name}' draws no network: {reason}; see its `blueprint`"
    ):
        survey(Problem(changed, find_facts(changed), tmp_path))


def test_a_teacher_below_the_floor_stops_the_search(config: SearchConfig):
    with pytest.raises(InputError, match=r"below teacher.floor = 100.00%"):
        find_facts(override_config(config, ["teacher.floor=1.0"]))


def test_a_callable_teacher_has_neither_parameters_nor_multiplications(config: SearchConfig):
    facts = find_facts(override_config(config, ["teacher.floor=0.0"]), Teacher(lambda x: x.flatten(1)[:, :10], "name"))
    assert facts.teacher_cost == TeacherCost()
    assert facts.teacher_cost.memory_bytes is None


def test_a_module_teacher_is_taken_to_the_device(config: SearchConfig):
    teacher = Teacher(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10)).double().float(), "name")
    facts = find_facts(override_config(config, ["teacher.floor=0.0"]), teacher)
    assert (facts.teacher_params, facts.teacher_macs) == (650, 640)


def test_the_teachers_graph_is_a_fact_from_which_its_space_follows(config: SearchConfig) -> None:
    config = override_config(config, ["space={name='like-teacher'}"])
    facts = find_facts(config)
    again = Facts.from_dict(json.loads(json.dumps(asdict(facts))))
    problem = Problem(config, again, Path("home"))
    assert problem.teacher_graph is not None
    assert cost(problem.teacher_graph).params == 77_754
    assert list(problem.space.distributions()) == ["stage1_ratio", "stage2_ratio", "stage3_ratio"]
    assert list(Choices(config).space.distributions()) == [f"stage{stage}_ratio" for stage in range(1, 9)]


def test_a_choice_of_spaces_has_the_teachers_too(config: SearchConfig) -> None:
    config = override_config(config, ["space={names=['blocks', 'like-teacher']}"])
    space = Problem(config, find_facts(config), Path("home")).space
    ours = [name for name in space.distributions() if name.startswith("like-teacher.")]
    assert ours == [f"like-teacher.stage{stage}_ratio" for stage in (1, 2, 3)]
    assert {"space": "like-teacher", **dict.fromkeys(ours, 1.0)} in space.start_points()


def test_a_teacher_without_a_graph_is_refused_only_where_the_space_copies_it(config: SearchConfig) -> None:
    config = override_config(config, ["teacher.floor=0.0"])
    teacher = Teacher(lambda x: x.flatten(1)[:, :10], "name")
    facts = find_facts(config, teacher)
    assert (facts.graph, facts.why_no_graph) == (
        None,
        "the teacher is no torch module, so its graph is not known",
    )
    wanted = "space 'like-teacher' copies the teacher, but the teacher is no torch module"
    with pytest.raises(InputError, match=wanted):
        find_facts(override_config(config, ["space={name='like-teacher'}"]), teacher)


def test_of_several_spaces_the_copies_of_a_teacher_without_a_graph_are_left_out(config: SearchConfig) -> None:
    config = override_config(config, ["teacher.floor=0.0", "space={names=['like-teacher', 'blocks']}"])
    lines: list[str] = []
    reporter = mock.Mock(spec=Reporter, notify=lines.append)
    facts = find_facts(config, Teacher(lambda x: x.flatten(1)[:, :10], "name"), reporter)
    problem = Problem(config, Facts.from_dict(json.loads(json.dumps(asdict(facts)))), Path("home"))
    assert list(problem.space.members) == ["blocks"]
    assert lines == ["space 'like-teacher' is left out, since it copies the teacher, but " + facts.why_no_graph]
    none_fits = with_feasible_spaces(problem, {"blocks": "params <= 8, but the smallest student has 9"})
    assert list(none_fits.space.members) == ["blocks"]


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([nn.Flatten(), nn.Linear(32 * 32, 10)], "no width that could be chosen"),
        ([nn.Conv2d(1, 4, 3), nn.MaxPool2d(10), nn.Flatten(), nn.Linear(36, 10)], "its input is too small"),
    ],
)
def test_a_teacher_whose_layers_do_not_fit_the_samples_of_students_is_not_copied(
    config: SearchConfig, layers: list[nn.Module], message: str
) -> None:
    config = override_config(config, ["teacher.floor=0.0", "space={names=['like-teacher', 'blocks']}"])
    teacher = Teacher(nn.Sequential(*layers), "name", Preparation(resize=(32, 32)))
    facts = find_facts(config, teacher)
    assert (facts.graph, facts.spaces) == (None, ("blocks",))
    wanted = rf"the teacher's graph cannot be copied for images of 1 x 8 x 8: .*{message}"
    assert re.match(wanted, facts.why_no_graph)
    with pytest.raises(InputError, match=f"space 'like-teacher' copies the teacher, but {wanted}"):
        find_facts(override_config(config, ["space={name='like-teacher'}"]), teacher)


def test_a_teacher_that_does_what_no_student_can_is_refused_by_the_module(config: SearchConfig) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.LayerNorm(10))
    changes = ["teacher.floor=0.0", "space={name='like-teacher'}"]
    with pytest.raises(InputError, match=r"the teacher's graph cannot be copied: module '2' \(LayerNorm\) has no"):
        find_facts(override_config(config, changes), Teacher(network, "name"))


def test_a_teacher_without_weights_is_not_pruned(config: SearchConfig) -> None:
    changes = ["teacher.floor=0.0", "teacher.pruning={shares=[0.36]}"]
    with pytest.raises(InputError, match=r"teacher.pruning needs a module with convolutions or linear layers"):
        find_facts(override_config(config, changes), Teacher(lambda x: x.flatten(1)[:, :10], "name"))


def test_pruned_widths_are_refused_without_a_pruned_teacher(config: SearchConfig) -> None:
    changes = ["space={name='like-teacher', ranges={widths='pruned'}}"]
    with pytest.raises(
        InputError, match=r'widths = "pruned" is for searches with pruned teachers: set teacher.pruning'
    ):
        check_config(override_config(config, changes))
    check_config(override_config(config, [*changes, "teacher.pruning={shares=[0.36]}"]))


def test_pruned_widths_are_the_teachers_until_they_are_known(config: SearchConfig, tmp_path: Path) -> None:
    changes = ["space={name='like-teacher', ranges={widths='pruned', width=64}}", "teacher.pruning={shares=[0.36]}"]
    config = override_config(config, changes)
    facts = find_facts(config)

    def stem() -> int:
        problem = Problem(config, facts, tmp_path)
        family = dict.fromkeys(problem.space.distributions(), 1.0)
        student = problem.space.sample(family, Budget(), (1, 8, 8), 10, np.random.default_rng(0))
        return next(node.channels for node in student.nodes if node.name == "stem_0")

    assert stem() == 16
    files = Problem(config, facts, tmp_path).pruned
    assert files is not None
    for rounds in (1, 2):
        files.write_result(rounds, widths={"stem_0": 11, "blocks_0_second_0": 12})
        files.weights(rounds).touch()
    assert stem() == 12  # the mean is 11.5


@pytest.mark.parametrize("mix", ["mixup", "cutmix"])
def test_outputs_alone_do_not_teach_mixed_samples(config: SearchConfig, mix: str):
    changes = ["teacher={outputs='outputs.npz'}", f"training.augmentation={{{mix}=0.5}}"]
    with pytest.raises(InputError, match=rf"but training\.augmentation mixes them \(.*{mix} = 0\.5.*set both to 0"):
        check_config(override_config(config, changes))


def test_the_survey_is_the_same_for_the_same_search(make_problem):
    offers = survey(make_problem())
    assert offers == survey(make_problem())
    assert {offer.limit: offer.allowed for offer in offers}["params"] == 4_000
    check_budget(broken_limits(offers))


def test_a_budget_that_nothing_keeps_is_named_with_the_smallest_student(make_problem):
    offers = survey(make_problem(budget={"params": 50, "macs": 10**9}))
    smallest = next(offer.smallest for offer in offers if offer.limit == "params")
    with pytest.raises(BudgetInfeasibleError) as caught:
        check_budget(broken_limits(offers))
    assert f"params <= 50, but the smallest student has {smallest:,}." in str(caught.value)
    assert "macs" not in str(caught.value)


def test_a_space_that_cannot_keep_the_budget_is_left_out_unless_none_can(make_problem):
    problem = make_problem(space=SPACES, budget={"params": 8_000})
    offers = survey(problem)
    assert {offer.space for offer in offers} == {"nago", "blocks"}
    broken = broken_limits(offers)
    assert with_feasible_spaces(problem, broken).facts.spaces == ("blocks",)
    lines: list[str] = []
    check_budget(broken, SimpleNamespace(notify=lines.append))
    assert lines[0].startswith("space 'nago' is left out, since it cannot meet the budget: params <= 8,000, but")
    offers = survey(replace(problem, config=make_problem(budget={"params": 50}, space=SPACES).config))
    with pytest.raises(BudgetInfeasibleError, match=r"met: nago: params <= .*; blocks: params <= 50, but"):
        check_budget(broken_limits(offers))


def test_limits_that_can_be_kept_one_by_one_but_not_together_are_infeasible(make_problem):
    offers = survey(make_problem(budget={"params": 4_000, "macs": 10**9}))
    with pytest.raises(BudgetInfeasibleError, match="no family of the space was found that keeps all limits at once"):
        check_budget(broken_limits([replace(offer, typical=None) for offer in offers]))


def test_a_single_limit_that_no_family_was_found_to_keep_is_named(make_problem):
    offers = [replace(offer, typical=None) for offer in survey(make_problem())]
    with pytest.raises(BudgetInfeasibleError, match="no family of the space was found that keeps params <= 4,000"):
        check_budget(broken_limits(offers))


def test_a_budget_that_only_repaired_families_keep_is_feasible(make_problem):
    offers = survey(make_problem(space={"name": "blocks"}, budget={"params": 200}))
    assert next(offer.share for offer in offers if offer.limit == "params") == 0
    check_budget(broken_limits(offers))


def test_the_facts_of_signals_are_those_of_the_samples_and_their_teacher(
    config: SearchConfig, make_dataset, tmp_path: Path
):
    dataset = make_dataset(shape=(6, 2), dtype=torch.float32)
    save_npz(dataset, tmp_path / "signals.npz")
    changes = [f"data.source={tmp_path / 'signals.npz'}", "teacher.floor=0.0", "training.augmentation={}"]
    network = nn.Sequential(nn.Conv1d(2, 4, 3, padding=1), nn.Flatten(), nn.Linear(24, 3))
    facts = find_facts(override_config(config, changes), Teacher(network, "name"))
    assert (facts.input_shape, facts.classes, facts.normalisation) == ((2, 6), 3, dataset.normalisation)
    assert facts.teacher_macs == 3 * 2 * 4 * 6 + 24 * 3


def test_the_facts_of_vectors_are_those_of_the_samples_and_their_teacher(config: SearchConfig):
    changes = ["data.source=autokd.data.sources.digits:digit_vectors", "teacher.floor=0.0"]
    changes.append("training.augmentation={}")
    network = nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 10))
    facts = find_facts(override_config(config, changes), Teacher(network, "name"))
    assert (facts.input_shape, facts.teacher_macs) == ((64,), 64 * 32 + 32 * 10)
    assert facts.teacher_params == 65 * 32 + 2 * 32 + 33 * 10


@pytest.mark.parametrize("source", ["signals.npz", "autokd.data.sources.digits:digit_vectors"])
def test_augmentation_of_anything_but_images_is_refused(
    config: SearchConfig, make_dataset: Any, tmp_path: Path, source: str
) -> None:
    save_npz(make_dataset(shape=(20, 3), dtype=torch.float32), tmp_path / "signals.npz")
    words = "3 x 20 signals" if source.endswith(".npz") else "vectors of 64"
    with pytest.raises(InputError, match=f"^training.augmentation is for images, but the data are {words}, which all"):
        find_facts(override_config(config, [f"data.source={source}", "training.augmentation={flip=true}"]))


def test_vectors_are_not_trained_on_one_at_a_time(config: SearchConfig) -> None:
    vectors = ["data.source=autokd.data.sources.digits:digit_vectors", "training.augmentation={}"]
    with pytest.raises(InputError, match=r"^batch norm cannot train on one vector at a time: training.batch_size"):
        find_facts(override_config(config, [*vectors, "training.batch_size=1"]))


@pytest.mark.parametrize("schedule", ["stable", "cosine"])
def test_rungs_that_end_after_the_same_step_are_refused(config: SearchConfig, schedule: str) -> None:
    changes = [f"training.schedule={schedule}", "data.subset=96", "training.batch_size=32"]
    find_facts(override_config(config, [*changes, "training.rungs=[0.34, 0.6]"]))
    with pytest.raises(
        InputError, match=r"^training.rungs must .* 0.4 and 0.45 epochs both end after step 1, as an epo"
    ):
        find_facts(override_config(config, [*changes, "training.rungs=[0.4, 0.45, 1]"]))


def test_an_object_cannot_run_in_the_workers(config: SearchConfig, problem_of: Callable[..., Problem]):
    teacher = Teacher(load_teacher(config.teacher, torch.device("cpu")).network, "name")  # type: ignore[arg-type]
    problem = problem_of(config, "teacher={}", "distillation={method='clustered-hints'}", teacher=teacher)
    with pytest.raises(
        InputError, match="'clustered-hints' runs the teacher in the workers, but it is given as an object"
    ):
        check_storage(problem, teacher)
    for stored in ("crd", "fitnet"):
        check_storage(problem_of(config, "teacher={}", f"distillation={{method='{stored}'}}", teacher=teacher), teacher)
    limited = problem_of(config, "teacher={disk_bytes=0}", "distillation={method='kd'}", teacher=teacher)
    with pytest.raises(InputError, match="method 'kd' runs the teacher in the workers"):
        check_storage(limited, teacher)


class Shifted(nn.Module):
    """A network and what it adds to its inputs, which is no weight."""

    def __init__(self, network: nn.Module, by: float) -> None:
        super().__init__()
        self.network, self.by = network, by

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.network(images + self.by)


def test_outputs_that_were_stored_before_the_teachers_code_changed_are_refused(
    config: SearchConfig, problem_of: Callable[..., Problem]
):
    network = load_teacher(config.teacher, torch.device("cpu")).network
    assert network is not None
    before, after = (Teacher(Shifted(network, by), "name") for by in (0.0, 3.0))
    assert before.digest == after.digest
    problem = problem_of(config, "teacher={}", "distillation={method='kd'}", teacher=before)
    check_storage(problem, after)
    precompute_outputs(problem.context, OutputsKey(0, part="validation"), before)
    check_storage(problem, before)
    with pytest.raises(InputError, match=r"its weights are the same, but not its code\. Bring that back"):
        check_storage(problem, after)


def test_a_disk_without_room_for_the_teachers_outputs_stops_the_search(
    config, monkeypatch: pytest.MonkeyPatch, problem_of: Callable[..., Problem]
):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=1000))
    with pytest.raises(InputError, match=r"but the disk has 0\.001 MB left: make room, or set teacher\.disk_bytes"):
        check_storage(problem_of(config))
