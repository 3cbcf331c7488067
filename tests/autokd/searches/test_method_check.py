import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from autokd.config.schema import SearchConfig
from autokd.config.toml import override_config
from autokd.data.sources.arrays import save_npz
from autokd.distillation import METHODS, Outputs, Wrapper
from autokd.distillation.base import BatchContext
from autokd.distillation.methods.kd import KD
from autokd.errors import InputError
from autokd.searches.method_check import check_methods
from autokd.searches.problem import Problem
from autokd.searches.speed import typical_students
from autokd.teachers.registry import Teacher, load_teacher


@pytest.fixture(autouse=True)
def folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_every_method_can_be_used_with_the_recipes_teacher(config: SearchConfig, problem_of: Callable[..., Problem]):
    names = [name for name, kind in METHODS.items() if not issubclass(kind, Wrapper)]
    problem = problem_of(
        config, f"distillation={{methods={[*names, 'sokd', 'sokd+at', 'ctkd+kd', 'early-stopping+kd+at']}}}"
    )
    check_methods(problem, typical_students(problem))


@pytest.mark.parametrize("method", ["crd", "fitnet", "modality"])
def test_what_a_callable_does_not_give_cannot_be_learnt_from(
    config: SearchConfig, method: str, problem_of: Callable[..., Problem]
):
    teacher = Teacher(lambda images: images.flatten(1)[:, :10], "name")
    problem = problem_of(config, "teacher={floor=0.0}", f"distillation={{method='{method}'}}", teacher=teacher)
    with pytest.raises(
        InputError, match=f"method '{method}' needs the teacher's .*, but the teacher is no torch module"
    ):
        check_methods(problem, typical_students(problem), teacher)


@pytest.mark.parametrize("method", ["sokd", "kd+bd-kd-online"])
def test_only_a_module_that_workers_can_make_is_copied(
    config: SearchConfig, method: str, problem_of: Callable[..., Problem]
):
    module = Teacher(load_teacher(config.teacher, torch.device("cpu")).network, "name")  # type: ignore[arg-type]
    wanted = f"method '{re.escape(method)}' trains a copy of the teacher in the workers, so it wants a torch module"
    for teacher in (module, Teacher(lambda images: images.flatten(1)[:, :10], "name")):
        problem = problem_of(config, "teacher={floor=0.0}", f"distillation={{method='{method}'}}", teacher=teacher)
        with pytest.raises(InputError, match=wanted):
            check_methods(problem, typical_students(problem), teacher)


def test_layers_that_the_teacher_names_count_before_the_search_too(
    config: SearchConfig, problem_of: Callable[..., Problem]
):
    changes = ["distillation={method='sokd'}", "teacher.layers=['blocks.0']"]
    problem = problem_of(config, *changes)
    with pytest.raises(InputError, match=r"'sokd' cannot be used here: `bridge_from` = 2 wants .* 'blocks.0': lower"):
        check_methods(problem, typical_students(problem))


def test_how_assistants_learn_is_tried_before_the_search(config: SearchConfig, problem_of: Callable[..., Problem]):
    assistants = "panel.assistants=[{name='small',params=8000}]"
    changes = ["distillation={method='takd+kd'}", assistants, "panel.distillation.method='sokd'"]
    problem = problem_of(config, *changes)
    check_methods(problem, typical_students(problem))
    problem = problem_of(config, *changes, "panel.distillation.ranges={bridge_from=9}")
    with pytest.raises(InputError, match=r"^panel.distillation: .*'sokd' cannot be used here: `bridge_from` = 9 wants"):
        check_methods(problem, typical_students(problem))


def test_a_method_that_cannot_work_with_the_shapes_is_told_before_the_search(
    config, make_dataset, tmp_path: Path, problem_of: Callable[..., Problem]
):
    save_npz(make_dataset(shape=(6,)), tmp_path / "vectors.npz")
    teacher = Teacher(nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)), "name")
    config = override_config(config, [f"data.source='{tmp_path / 'vectors.npz'}'", "training.augmentation={}"])
    problem = problem_of(config, "teacher={floor=0.0}", "distillation={method='at'}", teacher=teacher)
    with pytest.raises(InputError, match="method 'at'"):
        check_methods(problem, typical_students(problem), teacher)


class Vector(KD):
    def teacher_loss(self, student: Outputs, teacher: Outputs, context: BatchContext) -> Tensor:
        return super().teacher_loss(student, teacher, context).expand(1)


class Nothing(KD):
    def teacher_loss(self, student: Outputs, teacher: Outputs, context: BatchContext) -> Tensor:
        return None  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Vector, r"its loss must be a tensor of no dimensions, but has the shape \(1,\)"),
        (Nothing, "cannot be used here: TypeError: unsupported operand"),
    ],
)
def test_a_loss_of_ones_own_that_is_no_number_is_told_before_the_search(
    config: SearchConfig, problem_of: Callable[..., Problem], kind: type[KD], message: str
):
    name = f"{kind.__module__}:{kind.__name__}"
    problem = problem_of(config, f"distillation={{method='{name}'}}")
    with pytest.raises(InputError, match=f"distillation method '{name}'.*{message}"):
        check_methods(problem, typical_students(problem))
