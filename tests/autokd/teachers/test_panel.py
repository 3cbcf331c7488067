import pytest

from autokd.config.teacher import TeacherConfig
from autokd.teachers.panel import Assistant, Panel

ASSISTANTS = tuple(Assistant(name, TeacherConfig(factory=f"m:{name}"), name * 64) for name in "abc")


def test_a_part_of_a_panel_keeps_the_order_and_the_proportions_of_the_weights() -> None:
    panel = Panel(ASSISTANTS, {"de": (0.4, 0.1, 0.3, 0.2), "nll": (0.0, 1.0, 0.0, 0.0)})
    part = panel.of(("c", "b"))
    assert part.digests == ["b" * 64, "c" * 64]
    assert part.weights["de"] == pytest.approx((4 / 9, 3 / 9, 2 / 9))
    assert part.weights["nll"] == (1 / 3, 1 / 3, 1 / 3)
    assert panel.of("abc").assistants == panel.assistants
    assert (panel.n_stored, part.n_stored, part.of("c").n_stored) == (3, 3, 3)
