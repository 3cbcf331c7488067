from typing import Literal

import pytest

from autokd.training.schedules import Cooldown, Cosine, Trunk
from autokd.training.timetable import Leg, new_epochs, timetable


def test_under_cosine_all_rungs_share_one_schedule_of_the_whole_training() -> None:
    table = timetable("cosine", [10, 30], 0.1, 0.3)
    assert table.routes == ((Leg(0, 10, Cosine(30, 0.1)),), (Leg(0, 30, Cosine(30, 0.1)),))
    assert (table.total, table.stops(table.routes[0][0])) == (30, (10, 30))


def test_under_stable_each_rung_cools_down_on_a_branch_of_its_own() -> None:
    table = timetable("stable", [10, 30], 0.2, 0.3)
    trunk = Trunk(2)
    assert table.routes == (
        (Leg(0, 7, trunk), Leg(7, 10, Cooldown(trunk, 7, 10), 0)),
        (Leg(0, 21, trunk), Leg(21, 30, Cooldown(trunk, 21, 30), 1)),
    )
    (first, branch), _ = table.routes
    assert (table.total, table.stops(first), table.stops(branch)) == (30, (7, 21), ())


def test_the_steps_to_a_rung_begin_where_it_parts_from_the_one_before() -> None:
    assert [timetable("cosine", [10, 30], 0.1, 0.3).steps_to(rung) for rung in (0, 1)] == [10, 20]
    assert [timetable("stable", [10, 30], 0.1, 0.3).steps_to(rung) for rung in (0, 1)] == [10, 30 - 7]


@pytest.mark.parametrize(
    ("kind", "ends", "recent"),
    [
        ("cosine", (35, 105), ([35], [35])),  # whole epochs
        ("cosine", (36, 108), ([35, 1], [35, 3])),  # a step behind the border tells nothing
        ("cosine", (53, 106), ([18], [35, 1])),
        ("stable", (35, 105), ([10], [32])),
        ("stable", (36, 71), ([10, 1], [20, 1])),  # all of the cooldown, of 11 and 21 steps
        ("stable", (1, 3), ([1], [1])),  # no cooldown
    ],
)
def test_a_rung_is_averaged_over_at_least_half_of_the_last_epoch_or_cooldown(
    kind: Literal["cosine", "stable"], ends: tuple[int, ...], recent: tuple[list[int], ...]
) -> None:
    table = timetable(kind, ends, 0.1, 0.3)
    found = [table.recent(rung, 35) for rung in range(len(ends))]
    for rung, end in enumerate(ends):
        start = table.routes[rung][-1].start
        assert sum(found[rung]) >= min(35, end - start) / 2
        assert sum(found[rung][1:]) <= min(35, end - start) / 2
    assert tuple(found) == recent


def test_the_route_to_a_rung_under_stable_does_not_depend_on_later_rungs() -> None:
    short, long = timetable("stable", [10, 30], 0.2, 0.3), timetable("stable", [10, 30, 90], 0.2, 0.3)
    assert short.routes == long.routes[:2]


def test_a_training_of_one_step_can_be_stable() -> None:
    (trunk, branch) = timetable("stable", [1], 0.2, 0.3).routes[0]
    assert (trunk.end, branch.start, branch.end) == (1, 1, 1)


@pytest.mark.parametrize("kind", ["cosine", "stable"])
def test_new_epochs_are_the_steps_of_the_route_that_no_lower_rung_left_a_checkpoint_of(
    kind: Literal["cosine", "stable"],
) -> None:
    ends = (10, 30, 100)
    routes = timetable(kind, ends, 0.1, 0.3).routes
    starts = [0, *(route[0].end for route in routes[:-1])]  # what lies on the trunk stays
    by_hand = [route[-1].end - start for route, start in zip(routes, starts, strict=True)]
    assert new_epochs(kind, ends, 0.3) == pytest.approx(by_hand)
