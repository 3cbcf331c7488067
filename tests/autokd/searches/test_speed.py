from dataclasses import replace
from pathlib import Path

import torch

from autokd.config.toml import override_config
from autokd.data.registry import load_data
from autokd.recipes.catalogue import find_config
from autokd.searches.preflight import find_facts
from autokd.searches.problem import Problem
from autokd.searches.speed import measure_speed, typical_students


def test_the_speed_of_student_and_teacher_is_a_fact(tmp_path: Path) -> None:
    config = override_config(find_config("digits", []), ["workers.device=cpu"])
    problem = Problem(config, find_facts(config), tmp_path)
    facts = measure_speed(problem)
    assert (facts.images_per_second or 0) > 0
    assert (facts.teacher_images_per_second or 0) > 0
    assert facts.n_train == len(load_data(config.data).train)
    assert replace(facts, precision="", images_per_second=None, teacher_images_per_second=None) == replace(
        problem.facts, precision=""
    )


def test_a_typical_student_is_drawn_of_each_space(tmp_path: Path) -> None:
    config = find_config("digits", ["space={names=['nago', 'blocks']}", "workers.device=cpu"])
    problem = Problem(config, find_facts(config), tmp_path)
    first, second = typical_students(problem, torch.device("cpu"))
    assert len(list(first.modules())) != len(list(second.modules()))
