from dataclasses import replace
from pathlib import Path

import pytest

from autokd.config.toml import override_config
from autokd.data.registry import load_data
from autokd.recipes.catalogue import find_config
from autokd.searches.preflight import find_facts
from autokd.searches.problem import Problem
from autokd.searches.speed import measure_speed, typical_students


def test_the_speed_of_student_and_teacher_is_a_fact(tmp_path: Path) -> None:
    config = override_config(find_config("digits", []), ["workers.device=cpu", "seconds=1e6", "min_trials=1"])
    problem = Problem(config, find_facts(config), tmp_path)
    facts = measure_speed(problem, typical_students(problem))
    assert (facts.images_per_second or 0) > 0
    assert (facts.teacher_images_per_second or 0) > 0
    assert facts.n_train == len(load_data(config.data).train)
    assert replace(facts, precision="", images_per_second=None, teacher_images_per_second=None) == replace(
        problem.facts, precision=""
    )


def test_the_teacher_is_timed_only_where_rungs_may_be_shortened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autokd.searches.speed.median_speed", lambda *_: pytest.fail("it was timed"))
    config = override_config(find_config("digits", []), ["workers.device=cpu"])
    problem = Problem(config, find_facts(config), tmp_path)
    assert measure_speed(problem, []).teacher_images_per_second is None


def test_a_typical_student_is_drawn_of_each_space(tmp_path: Path) -> None:
    config = find_config("digits", ["space={names=['nago', 'blocks']}", "workers.device=cpu"])
    problem = Problem(config, find_facts(config), tmp_path)
    first, second = typical_students(problem)
    assert len(list(first.modules())) != len(list(second.modules()))
