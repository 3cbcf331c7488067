from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from autokd.searches.printer import Printer
from autokd.searches.progress import Progress, Training


def test_a_long_training_is_ten_lines_and_not_one_an_epoch() -> None:
    written = StringIO()
    printer = Printer(Console(file=written))
    for epoch in range(301):
        state = "complete" if epoch == 300 else "running"
        printer.trained([Training(1, 0, 5_000, state, 300, epoch, {"accuracy": 0.9}, None)])
    lines = written.getvalue().splitlines()
    assert len(lines) == 11
    assert lines[1] == "full length: trial 1, student 0: epoch 30 of 300"


@pytest.mark.parametrize(
    ("trials", "line"),
    [
        (3, "search p1 ends after 3 of 3 trials"),
        (1, "search p1 has 3 trials already, more than the 1 asked for"),
    ],
)
def test_the_last_line_is_true_if_fewer_trials_are_asked_for_than_there_are(trials: int, line: str) -> None:
    best = ("best_trial", "best_accuracy", "best_params", "best_macs", "best_activation_bytes")
    unknown: dict[str, Any] = dict.fromkeys((*best, "teacher_params", "teacher_activation_bytes", "seconds_left"))
    known: dict[str, Any] = {"trials": trials, "complete": 1, "pruned": 1, "failed": 1, "running": 0, "share_done": 1}
    written = StringIO()
    progress = Progress("p1", "finished", teacher_accuracy=0.9, reasons={}, **known, **unknown)
    Printer(Console(file=written)).searched(progress)
    assert written.getvalue() == f"{line}\n"
