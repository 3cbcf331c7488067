from collections.abc import Callable
from dataclasses import replace
from typing import Any

from rich.console import Console
from rich.table import Table

from autokd.analysis.trial_facts import evaluations_table
from autokd.searches.trial_record import TrialRecord


def text_of(table: Table) -> str:
    console = Console(width=200)
    with console.capture() as captured:
        console.print(table)
    return captured.get()


def test_companions_have_a_column_where_there_were_any(make_record: Callable[..., TrialRecord]) -> None:
    record = make_record(0, [[0.5], [0.6]])
    assert "companions" not in text_of(evaluations_table(record))
    first, second = record.evaluations
    metrics: dict[str, Any] = {**(second.metrics or {}), "companion0_accuracy": 0.75, "companion1_accuracy": 0.8}
    text = text_of(evaluations_table(replace(record, evaluations=(first, replace(second, metrics=metrics)))))
    assert "companions" in text
    assert text.count("75.00 %, 80.00 %") == 1
