from io import StringIO

from rich.console import Console

from autokd.searches.printer import Printer
from autokd.searches.progress import Training


def test_a_long_training_is_ten_lines_and_not_one_an_epoch() -> None:
    written = StringIO()
    printer = Printer(Console(file=written))
    for epoch in range(301):
        state = "complete" if epoch == 300 else "running"
        printer.trained([Training(1, 0, 5_000, state, 300, epoch, {"accuracy": 0.9}, None)])
    lines = written.getvalue().splitlines()
    assert len(lines) == 11
    assert lines[1] == "full length: trial 1, student 0: epoch 30 of 300"
