"""The short version of a chaos run: one search, struck twice, ends as the undisturbed one."""

from collections import Counter
from pathlib import Path
from random import Random

import pytest
from attacks import Planned, attack, plan
from evidence import Evidence
from faults import FAULTS, Arena
from stages import STAGES
from victims import Recipe, Victim

LOCAL = ("workers.engine=local",)


@pytest.mark.slow  # two starts of a controller, three of a worker
@pytest.mark.long
def test_a_search_whose_worker_and_controller_are_killed_leaves_behind_what_an_undisturbed_one_does(
    tmp_path: Path, tiny: Recipe, undisturbed: Evidence
) -> None:
    planned = [Planned("trials", "kill-worker"), Planned("trials", "kill-controller")]
    outcome = attack(Victim(tmp_path, tiny, LOCAL), Arena(), planned, Random(0), undisturbed)
    assert ([hit.fault for hit in outcome.hits], outcome.broken) == ([fault for _, fault in planned], [])
    assert [hit.broken for hit in outcome.hits] == [[]] * len(planned)


def test_a_plan_has_all_kills_in_every_stage_and_each_other_fault_once() -> None:
    planned = plan(sorted(FAULTS), 2 * len(STAGES), Random(1))
    assert [each.stage for each in planned] == sorted((each.stage for each in planned), key=STAGES.index)
    assert all(each.stage in FAULTS[each.fault].stages for each in planned)
    kills = Counter(each.stage for each in planned if FAULTS[each.fault].kills)
    assert kills == dict.fromkeys(STAGES, 2)
    others = sorted(each.fault for each in planned if not FAULTS[each.fault].kills)
    assert others == sorted(name for name, fault in FAULTS.items() if not fault.kills)
    assert plan(sorted(FAULTS), 2 * len(STAGES), Random(1)) == planned


def test_a_fault_comes_only_in_the_stages_that_it_can_hit() -> None:
    planned = plan(["kill-worker", "cut-network"], 9, Random(2))
    assert len(planned) == 10
    assert all(each.stage in FAULTS[each.fault].stages for each in planned)
    assert [each.fault for each in plan(["fill-disk"], 9, Random(2))] == ["fill-disk"]
