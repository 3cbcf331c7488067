import pytest
from matplotlib.figure import Figure

from autokd.analysis.curves import Curve, draw_curves
from autokd.analysis.scales import accuracy_places

CURVES = [
    Curve("trial", "", [(1, 0.5), (3, 0.7)]),
    Curve("winner", "", [(1, 0.6), (3, 0.9)]),
    Curve("reference", "resnet", [(1, 0.4), (3, 0.8)]),
    Curve("reference", "mobilenetv2", [(3, 0.8)]),
    Curve("full length", "", [(20, 0.95)]),
]


def test_each_kind_of_curve_has_its_points_and_is_explained_once() -> None:
    axes = Figure().subplots()
    draw_curves(axes, CURVES, 0.99)
    drawn = {str(line.get_label()): line for line in axes.lines}
    assert {*drawn} >= {"trial", "winner", "reference", "full length", "teacher, 99.00 %"}
    assert list(drawn["winner"].get_xdata()) == [1, 3]  # type: ignore[arg-type]
    assert list(drawn["winner"].get_ydata()) == pytest.approx(list(accuracy_places([60, 90])))  # type: ignore[arg-type]
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert sorted(legend) == ["full length", "reference", "teacher, 99.00 %", "trial", "winner"]


def test_references_are_named_beside_their_ends() -> None:
    axes = Figure().subplots()
    draw_curves(axes, CURVES, 0.99)
    assert {text.get_text() for text in axes.texts} == {"resnet", "mobilenetv2"}
    assert len({text.get_position()[1] for text in axes.texts}) == 2  # they end at the same point
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "3", "20"]
