import io
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from autokd.analysis.evidence import Evidence
from autokd.analysis.parallel import draw_parallel, shared_dimensions
from autokd.analysis.plots import FORMATS, draw, panels_svg, render
from autokd.config.fidelity_metrics import ACCURACY, FIDELITY_METRICS
from autokd.database.rows import TrialOutcome
from autokd.searches.families import Family
from autokd.searches.trial_record import TrialRecord
from search_spaces.design.dimensions import Dimension

DIMENSIONS = {
    "nodes": Dimension(IntDistribution(3, 5)),
    "generator": Dimension(CategoricalDistribution(("er", "ws"))),
    "er_probability": Dimension(FloatDistribution(0, 1), "generator", ("er",)),
    "temperature": Dimension(FloatDistribution(1, 10, log=True)),
}
METHODS = DIMENSIONS | {"method": Dimension(CategoricalDistribution(("kd", "dkd", "dist")))}


def family(trial: int, mean: float, **parameters: Any) -> Family:
    chosen = {"nodes": 3 + trial % 3, "generator": "er", "er_probability": 0.5, "temperature": 2.0, **parameters}
    params, ends = 1000 * (trial + 1), (mean - 0.02, mean + 0.02)
    sizes = (params, 5000, 6000)
    return Family(trial, "a family", chosen, False, 0.9, 1, mean, 0.01, 0.1, *ends, *sizes, {"params": 0.9}, 6)


def outcome(record: TrialRecord) -> TrialOutcome:
    costs = record.costs(["macs"]) if record.values else None
    return TrialOutcome(record.trial.number, record.trial.state, record.best_value if record.values else None, costs)


@pytest.fixture
def shown(make_record: Callable[..., Any]) -> Evidence:
    """Of six trials: three complete, one pruned, one failed, one running that has no value yet."""
    trial_records = [
        make_record(0, [[0.5], [0.9]], "complete"),
        make_record(1, [[0.2]], "pruned"),
        make_record(2, [[0.5], [0.95]], "complete"),
        make_record(3, [], "failed"),
        make_record(4, [[0.5], [0.8]], "complete"),
        make_record(5, [], "running"),
    ]
    return Evidence(
        name="mine",
        teacher_accuracy=0.99,
        references={"resnet": 0.94, "mobilenetv2": 0.94, "no-teacher": 0.6},
        outcomes=[outcome(record) for record in trial_records],
        climbed=[record for record in trial_records if record.trial.state == "complete"],
        families=[family(2, 0.94), family(0, 0.9), family(4, 0.82), family(1, 0.4)],
        dimensions=DIMENSIONS,
        distillation=frozenset({"temperature"}),
        importances={"er_probability": 0.5, "temperature": 0.3, "nodes": 0.2, "generator": 0.0},
        note=None,
        rungs=(1.0, 3.0),
        metric=ACCURACY,
    )


def panels(figure: Figure) -> dict[str, Axes]:
    """The panels by their heads; a colour bar has none."""
    return {axes.get_title(loc="left"): axes for axes in figure.axes if axes.get_title(loc="left")}


def with_losses(record: TrialRecord, loss: float) -> TrialRecord:
    rows = (replace(row, metrics={**(row.metrics or {}), "loss": loss}) for row in record.evaluations)
    return replace(record, evaluations=tuple(rows))


def points(axes: Axes, label: str) -> list[tuple[float, float]]:
    (collection,) = [c for c in axes.collections if c.get_label() == label]
    return [(float(x), float(y)) for x, y in np.asarray(collection.get_offsets())]


def texts(labels: Any) -> list[str]:
    return [label.get_text() for label in labels]


def place(accuracy: float) -> Any:
    """Where an accuracy in percent stands: an axis that is logarithmic in the error."""
    return pytest.approx(-np.log10(100 - accuracy))


def test_the_head_names_the_search_and_counts_its_trials(shown: Evidence):
    (head,) = draw(shown).texts
    assert head.get_text() == "mine: 6 trials, 3 complete, 1 pruned, 1 failed, 1 running"


def test_the_history_tells_complete_pruned_and_failed_trials_apart(shown: Evidence):
    history = panels(draw(shown))["History"]
    assert points(history, "complete") == [(0, place(90)), (2, place(95)), (4, place(80))]
    assert points(history, "pruned, at its last rung") == [(1, place(20))]
    assert [x for x, _ in points(history, "failed")] == [3]
    assert "running" not in texts(history.get_legend().get_texts())  # it has no value yet


def test_references_are_named_marks_left_of_the_trials(shown: Evidence) -> None:
    axes = panels(draw(shown))["History"]
    marks = points(axes, "reference")
    assert [y for _, y in marks] == pytest.approx([-np.log10(6), -np.log10(6), -np.log10(40)])
    assert all(axes.get_xlim()[0] < x < 0 for x, _ in marks)
    assert {text.get_text() for text in axes.texts} >= shown.references.keys()


def test_the_rung_correlation_has_a_point_for_each_trial_that_climbed(shown: Evidence):
    rung_correlation = panels(draw(shown))["Rung correlation"]
    assert points(rung_correlation, "after 1 epoch") == [
        (place(50), place(90)),
        (place(50), place(95)),
        (place(50), place(80)),
    ]


def test_of_a_metric_that_should_be_small_small_is_to_the_right(shown: Evidence):
    losses = {0: 0.7, 2: 0.4, 4: 0.9}
    trial_records = [with_losses(record, losses.get(record.trial.number, 1.0)) for record in shown.climbed]
    rung_correlation = panels(draw(replace(shown, climbed=trial_records, metric=FIDELITY_METRICS["loss"])))[
        "Rung correlation"
    ]
    assert points(rung_correlation, "after 1 epoch") == [(0.7, place(90)), (0.4, place(95)), (0.9, place(80))]
    left, right = rung_correlation.get_xlim()
    assert left > right


def test_one_rung_or_no_trial_that_climbed_leave_the_rung_correlation_out(shown: Evidence):
    assert "Rung correlation" not in panels(draw(replace(shown, rungs=(1.0,))))
    assert "Rung correlation" not in panels(draw(replace(shown, outcomes=shown.outcomes[1:2], climbed=[])))


def test_the_best_so_far_never_falls_and_goes_on_to_the_last_trial(shown: Evidence):
    (line,) = [line for line in panels(draw(shown))["History"].lines if line.get_label() == "best so far"]
    steps = list(zip(*line.get_data(), strict=True))  # type: ignore[arg-type]
    assert steps == [(0, place(90)), (2, place(95)), (4, place(95)), (5, place(95))]


def test_the_teachers_line_is_at_its_accuracy_and_named(shown: Evidence):
    (line,) = [line for line in panels(draw(shown))["History"].lines if str(line.get_label()).startswith("teacher")]
    assert line.get_label() == "teacher, 99.00 %"
    assert list(line.get_ydata()) == [place(99)] * 2  # type: ignore[arg-type]


def test_ticks_are_round_accuracies_at_their_places(shown: Evidence):
    axis = panels(draw(shown))["History"].yaxis
    labels = texts(axis.get_ticklabels())
    assert {"50", "80", "90", "95", "98", "99"} <= set(labels)
    assert list(axis.get_ticklocs()) == [place(float(label)) for label in labels]


@pytest.mark.parametrize(
    ("accuracies", "among"), [((0.9412, 0.9437), "94.2"), ((0.9412, 0.9412), "94.1"), ((1.0, 1.0), "100")]
)
def test_values_that_are_near_one_another_have_ticks(shown: Evidence, accuracies: tuple[float, ...], among: str):
    close = [family(number, mean) for number, mean in enumerate(accuracies)]
    axes = panels(draw(replace(shown, families=close, importances={}, note="none")))["Trials by size"]
    labels = texts(axes.get_yticklabels())
    assert any(label.startswith(among) for label in labels)
    assert len(labels) < 12


def test_importances_are_bars_of_shares_with_a_colour_for_the_distillation(shown: Evidence):
    axes = panels(draw(shown))["Importance"]
    assert texts(axes.get_yticklabels()) == list(shown.importances)
    bars = axes.containers[0].patches  # type: ignore[attr-defined]
    assert [bar.get_width() for bar in bars] == pytest.approx([50, 30, 20, 0])
    assert texts(axes.texts) == ["50 %", "30 %", "20 %", "< 1 %"]
    colours = [bar.get_facecolor() for bar in bars]
    assert colours[0] == colours[2] == colours[3] != colours[1]
    assert texts(axes.get_legend().get_texts()) == ["distillation", "space"]


def test_the_least_important_of_many_are_one_bar(shown: Evidence):
    many = {f"dimension{k}": 1 / 20 for k in range(20)}
    dimensions = {name: Dimension(FloatDistribution(0, 1)) for name in many}
    families = [replace(f, parameters=dict.fromkeys(many, 0.5)) for f in shown.families]
    axes = panels(draw(replace(shown, importances=many, dimensions=dimensions, families=families)))["Importance"]
    assert len(axes.get_yticklabels()) == 12
    assert axes.get_yticklabels()[-1].get_text() == "9 others"
    assert axes.containers[0].patches[-1].get_width() == pytest.approx(45)  # type: ignore[attr-defined]


@pytest.mark.parametrize(("copies", "caveat"), [(1, "from 4 trials: rough"), (10, "from 40 trials")])
def test_importances_say_by_how_many_trials_they_are_told(shown: Evidence, copies: int, caveat: str) -> None:
    many = replace(shown, outcomes=list(shown.outcomes) * copies)
    assert many.caveat == caveat
    assert panels(draw(shown))["Importance"].get_xlabel().endswith("%\nfrom 4 trials: rough")


def test_a_picture_of_very_many_trials_says_what_is_of_a_part(shown: Evidence) -> None:
    many = replace(shown, outcomes=[replace(shown.outcomes[0], number=number) for number in range(6000)])
    drawn = panels(draw(many))
    assert drawn["Importance"].get_xlabel().endswith("from 500 of 6000 trials")
    assert "Trials over two dimensions, 6 of 6000" in drawn
    (trials,) = [points for points in drawn["History"].collections if points.get_label() == "complete"]
    assert trials.get_rasterized()
    assert len(trials.get_offsets()) == 6000  # type: ignore[arg-type]


def test_where_there_are_no_importances_the_panel_says_why(shown: Evidence):
    note = "importances need 4 finished trials, but there are 3."
    drawn = panels(draw(replace(shown, importances={}, note=note)))
    assert texts(drawn["Importance"].texts) == [note]
    sizes = np.asarray(drawn["Trials by size"].collections[0].get_offsets())
    assert sizes[:, 0].tolist() == [3, 1, 5, 2]  # thousands
    assert sizes[0, 1] == place(94)


def test_trials_stand_over_the_two_most_important_dimensions_that_all_of_them_have(shown: Evidence):
    axes = panels(draw(shown))["Trials over two dimensions"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("temperature", "nodes")
    assert texts(axes.get_xticklabels()) == ["1", "2", "5", "10"]
    places = np.asarray(axes.collections[0].get_offsets())
    assert places[:, 0] == pytest.approx([np.log10(2)] * 4)
    assert places[:, 1].round().tolist() == [4, 4, 3, 5]  # the best last, each beside its level
    assert list(axes.collections[0].get_array()) == [place(mean) for mean in (40, 82, 90, 94)]  # type: ignore[arg-type]


def test_names_stand_evenly_on_an_axis_and_a_dollar_begins_no_formula(shown: Evidence):
    dimensions = {"$a$": Dimension(CategoricalDistribution(("$x^$", "y"))), "nodes": DIMENSIONS["nodes"]}
    families = [family(k, 0.9 - k / 10, **{"$a$": choice}) for k, choice in enumerate(["y", "$x^$", "y"])]
    changed = replace(shown, dimensions=dimensions, families=families, importances={"$a$": 0.9, "nodes": 0.1})
    axes = panels(draw(changed))["Trials over two dimensions"]
    assert texts(axes.get_xticklabels()) == ["$x^$", "y"]
    assert np.asarray(axes.collections[0].get_offsets())[:, 0].round().tolist() == [1, 0, 1]
    axes.figure.canvas.draw()


def test_where_several_methods_were_tried_each_has_a_row_and_the_best_median_is_above(shown: Evidence):
    means = {"kd": [0.9, 0.8, 0.7], "dkd": [0.95], "dist": [0.6, 0.85]}
    families = [family(0, mean, method=method) for method, of_method in means.items() for mean in of_method]
    importances = shown.importances | {"method": 0.0}
    changed = replace(
        shown, dimensions=METHODS, distillation=frozenset({"method"}), families=families, importances=importances
    )
    axes = panels(draw(changed))["Trials by method (how many)"]
    assert texts(axes.get_yticklabels()) == ["dkd (1)", "kd (3)", "dist (2)"]
    low, high = axes.get_ylim()
    assert low > high  # the first row is above
    medians = [float(line.get_xdata()[0]) for line in axes.lines]  # type: ignore[arg-type]
    assert medians[:2] == [place(95), place(80)]
    for row, collection in enumerate(axes.collections):
        offsets = np.asarray(collection.get_offsets())
        assert offsets[:, 1].round().tolist() == [row] * len(offsets)


def test_the_mark_of_a_method_stands_at_the_median_of_its_means(shown: Evidence) -> None:
    families = [family(0, mean, method=method) for method, mean in (("kd", 0.5), ("kd", 0.98), ("dkd", 0.76))]
    methods = replace(shown, dimensions=METHODS, distillation=frozenset({"method"}), families=families)
    axes = panels(draw(methods))["Trials by method (how many)"]
    places = [float(line.get_xdata()[0]) for line in axes.lines]  # type: ignore[arg-type]
    assert places == [place(76), place(74)]


def test_a_dollar_begins_no_formula_on_the_axes_of_parallel_coordinates(shown: Evidence) -> None:
    names = ("US$5 a_{ $6", "$\\alpha$")
    dimensions = shown.dimensions | {"generator": Dimension(CategoricalDistribution(names))}
    families = [family(trial, 0.9, generator=name) for trial, name in enumerate(names)]
    figure = Figure()
    draw_parallel(figure.subplots(), replace(shown, dimensions=dimensions, families=families))
    figure.savefig(io.BytesIO(), format="svg")  # which would parse it
    labels = [label for axes in figure.axes for label in axes.get_yticklabels() if label.get_text() in names]
    assert len(labels) == 2
    assert not any(label.get_parse_math() for label in labels)


def test_a_search_of_methods_of_which_one_was_tried_has_no_rows(shown: Evidence):
    families = [replace(f, parameters={**f.parameters, "method": "kd"}) for f in shown.families]
    changed = replace(shown, dimensions=METHODS, distillation=frozenset({"method"}), families=families)
    assert "Trials by method (how many)" not in panels(draw(changed))


def test_each_family_is_a_line_across_the_dimensions_that_all_have(shown: Evidence) -> None:
    shares = {"nodes": 0.4, "er_probability": 0.3, "temperature": 0.2, "generator": 0.1}
    axes, shown = Figure().subplots(), replace(shown, importances=shares)
    draw_parallel(axes, shown)
    assert shared_dimensions(shown) == ["nodes", "temperature", "generator"]
    lines = np.array([path.vertices for path in axes.collections[0].get_paths()])
    assert lines.shape == (4, 3, 2)
    heights = lines[:, :, 1]
    assert heights.min() > 0
    assert heights.max() < 1
    nodes = [family.parameters["nodes"] for family in shown.families[::-1]]
    assert [np.argmax(nodes), np.argmin(nodes)] == [np.argmax(heights[:, 0]), np.argmin(heights[:, 0])]
    assert shared_dimensions(replace(shown, importances={"nodes": 1.0})) == []


def test_names_that_are_too_long_lose_their_middle(shown: Evidence):
    name = "early-stopping+standardise+dkd+at.dkd.beta"
    dimensions = {name: Dimension(FloatDistribution(0, 1))}
    families = [replace(f, parameters={name: 0.5}) for f in shown.families]
    axes = panels(draw(replace(shown, importances={name: 1.0}, dimensions=dimensions, families=families)))["Importance"]
    (label,) = texts(axes.get_yticklabels())
    assert label == "early-stoppi…+at.dkd.beta"


@pytest.mark.slow  # a whole picture is laid out and written, twice
@pytest.mark.parametrize("form", FORMATS)
def test_the_same_evidence_is_the_same_bytes(shown: Evidence, form: str):
    content = render(shown, form)
    assert content == render(shown, form)
    assert content[:8].lstrip(b"\x89").startswith({"png": b"PNG", "pdf": b"%PDF", "svg": b"<?xml"}[form])


def test_nothing_leaves_the_picture_and_no_label_covers_another(shown: Evidence):
    figure = draw(shown)
    figure.canvas.draw()
    whole = figure.bbox
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks = zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=True)
            boxes = [label.get_window_extent() for tick, label in ticks if label.get_text() and low <= tick <= high]
            assert all(whole.x0 <= box.x0 and box.x1 <= whole.x1 for box in boxes)
            assert not any(a.overlaps(b) for k, a in enumerate(boxes) for b in boxes[:k])
        legend, head = axes.get_legend(), axes._left_title  # type: ignore[attr-defined]
        if legend:
            assert not legend.get_window_extent().overlaps(head.get_window_extent())


def test_references_are_marked_beside_the_front_and_named(shown: Evidence) -> None:
    def student(reference: str | None, macs: int, accuracy: float) -> Any:
        trial = SimpleNamespace(reference=reference)
        return SimpleNamespace(trial=trial, cost={"macs": macs}.get, metrics={"accuracy": accuracy})

    beaten, ahead = student("resnet", 2000, 0.89), student("like-teacher", 3000, 0.96)
    changed = replace(shown, costs=("macs",), front=[student(None, 1000, 0.9), ahead], beside=[ahead, beaten])
    axes = panels(draw(changed))["Accuracy against macs"]
    assert points(axes, "reference") == [(3000, place(96)), (2000, place(89))]
    assert texts(axes.texts) == ["like-teacher", "resnet"]


def test_the_front_is_drawn_through_those_that_lead_by_the_cost_that_is_drawn(shown: Evidence) -> None:
    def student(macs: int, accuracy: float) -> Any:
        return SimpleNamespace(
            trial=SimpleNamespace(reference=None), cost={"macs": macs}.get, metrics={"accuracy": accuracy}
        )

    leading = [student(3000, 0.96), student(2000, 0.9), student(1000, 0.95)]  # the second has the fewest parameters
    axes = panels(draw(replace(shown, costs=("macs", "params"), front=leading)))["Accuracy against macs"]
    (line,) = [line for line in axes.lines if line.get_label() == "front"]
    assert line.get_xydata().tolist() == [[1000, place(95)], [3000, place(96)]]


def test_the_front_stands_beside_the_teacher_the_limit_and_the_full_length_trainings(shown: Evidence) -> None:
    trial = SimpleNamespace(reference=None)
    final: Any = SimpleNamespace(trial=trial, cost={"macs": 1500}.get, metrics={"accuracy": 0.97})
    changed = replace(
        shown, costs=("macs",), finals=[final], limits={"macs": 2000}, teacher_cost={"macs": 9000, "params": None}
    )
    axes = panels(draw(changed))["Accuracy against macs"]
    assert points(axes, "teacher") == [(9000, place(99))]
    assert points(axes, "full length") == [(1500, place(97))]
    (limit,) = [line for line in axes.lines if line.get_label() == "limit, 2,000"]
    assert list(limit.get_xdata()) == [2000, 2000]  # type: ignore[arg-type]


def test_each_panel_of_the_picture_can_be_had_alone(shown: Evidence) -> None:
    alone = [svg.decode() for _, svg in panels_svg(shown)]
    heads = list(panels(draw(shown)))
    assert sorted(head for head in heads for svg in alone if f">{head}<" in svg) == sorted(heads)
    assert len(alone) == len(heads) + 1  # parallel coordinates, which the picture has no room for


def test_no_name_is_markup_in_a_picture(shown: Evidence) -> None:
    name = "<script>a&b"
    changed = replace(shown, references={name: 0.9}, importances={name: 1.0}, dimensions={name: DIMENSIONS["nodes"]})
    texts = [svg.decode() for _, svg in panels_svg(changed)]
    assert not any("<script" in text for text in texts)
    assert sum(text.count("&lt;script&gt;a&amp;b") for text in texts) == 2
