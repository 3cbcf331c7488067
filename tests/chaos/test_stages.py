from dataclasses import replace

import pytest
from evidence import Evidence
from stages import stage_of


@pytest.mark.slow  # the search of the fixture
def test_the_events_of_a_search_tell_its_stages_in_their_order(undisturbed: Evidence) -> None:
    events = undisturbed.events
    stages = [stage_of(events[:n], prunings=0) for n in range(len(events) + 1)]
    assert list(dict.fromkeys(stages)) == ["start", "outputs", "trials", "training", "export"]
    assert stages == sorted(stages, key=list(dict.fromkeys(stages)).index)


@pytest.mark.slow  # the search of the fixture
def test_teachers_are_made_before_outputs_are_stored_and_a_reference_comes_after_the_trials(
    undisturbed: Evidence,
) -> None:
    created, opened = (
        next(event for event in undisturbed.events if event.kind == kind) for kind in ("search_created", "trial_opened")
    )
    pruned = replace(created, kind="pruned")
    assistant = replace(created, kind="assistant")
    reference = replace(opened, payload={"trial": -1, "reference": "no-teacher"})
    assert [stage_of([created, *[pruned] * n], prunings=2) for n in range(3)] == ["pruning", "pruning", "outputs"]
    assert [stage_of([created, *[assistant] * n], assistants=2) for n in range(3)] == ["panel", "panel", "outputs"]
    assert stage_of([created, opened, reference], prunings=0) == "reference"
