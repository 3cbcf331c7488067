"""What the database sums up, compared with sums over all rows."""

import pytest
from random_searches import record_randomly

from autokd.database.lease import Lease
from autokd.database.rows import EvaluationTotals
from autokd.database.store import Store
from autokd.database.summaries import evaluation_keys, evaluation_totals


def test_totals_of_evaluations_are_the_sums_over_all_rows(store: Store, searches: list[int]) -> None:
    for search in searches:
        found, rows = evaluation_totals(store, search), store.evaluations(search)
        done = [row.metrics for row in rows if row.metrics is not None]
        assert found.seconds == pytest.approx(sum(row.seconds or 0 for row in rows))
        assert found.images == sum(metrics["images"] for metrics in done)
        assert isinstance(found.images, int)  # as JSON then shows it
        assert found.live_teacher_images == sum(metrics["live_teacher_images"] for metrics in done)
        assert evaluation_keys(store, search) == [row.key for row in rows]
        assert found.n_tested == sum("test_accuracy" in metrics for metrics in done)


def test_a_total_is_unknown_where_one_evaluation_lacks_the_metric(store: Store, lease: Lease) -> None:
    assert evaluation_totals(store, 1) == EvaluationTotals(0.0, 0, 0, 0)
    record_randomly(store, lease, seed=0)
    student = store.students(1)[0]
    row = store.open_evaluation(lease, student.id, 9, 99.0, "old")
    store.finish_evaluation(lease, row.id, {"accuracy": 0.5, "images": 3}, 1.0)
    found = evaluation_totals(store, 1)
    assert (found.images is None, found.live_teacher_images) == (False, None)
