import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from autokd.cli.reporting import reporter, teacher_reporter
from autokd.searches.progress import Progress, Training
from autokd.searches.under_way import RunningEvaluation
from autokd.teachers.training import TeacherProgress

SECONDS_EACH = ("--set", "training.rungs=[1, 8]", "--set", "trials=1", "--set", "workers.engine=local")
CONTROL = re.compile(r"\x1b\[(\??\d*)([A-Za-z])")


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def screen(text: str) -> list[str]:
    """The lines that a terminal shows in the end: carriage returns, line feeds, cursor up, erase line."""
    lines, row, column = [""], 0, 0
    for part in re.split(r"(\x1b\[\??\d*[A-Za-z]|\r|\n)", text):
        control = CONTROL.fullmatch(part)
        if part == "\r":
            column = 0
        elif part == "\n":
            row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
        elif control and control[2] == "A":
            row -= int(control[1] or 1)
        elif control and control[2] == "K":
            lines[row] = ""
        elif not control:
            lines[row] = lines[row][:column].ljust(column) + part + lines[row][column + len(part) :]
            column += len(part)
    return [line.rstrip() for line in lines]


def progress(finished: int, **changes: Any) -> Progress:
    values: dict[str, Any] = {
        **{"name": "first", "status": "running", "trials": 24, "complete": finished, "pruned": 0, "failed": 0},
        **{"running": 2, "best_trial": 9, "best_accuracy": 0.91234, "best_params": 7_590, "best_macs": 81_300},
        **{"best_activation_bytes": 2_960, "teacher_activation_bytes": 12_288},
        **{"teacher_accuracy": 0.9933, "teacher_params": 77_754, "seconds_left": 200.0, "reasons": {}},
        **{"share_done": finished / 24},
    }
    return Progress(**(values | changes))


def training(replicate: int, done: float, state: str = "running") -> Training:
    return Training(
        1, replicate, 7_590, state, 12, done, {"accuracy": 0.92}, "no memory" if state == "failed" else None
    )


def test_elsewhere_each_news_is_one_line_once(capsys: pytest.CaptureFixture[str]):
    with reporter(to_stderr=False) as lines:
        lines.began("first")
        for finished in (0, 1, 1, 2):
            lines.searched(progress(finished))
        lines.searched(progress(9, pruned=7, failed=1, seconds_left=20.0))
        lines.searched(progress(24))
    assert capsys.readouterr().out.splitlines() == [
        "search first begins",
        "1/24 trials, best 91.23 % by trial 9, about 3 min left",
        "2/24 trials, best 91.23 % by trial 9, about 3 min left",
        "17/24 trials, 7 pruned, 1 failed, best 91.23 % by trial 9, about 20 s left",
        "24/24 trials, best 91.23 % by trial 9",
    ]


def test_a_search_that_has_more_trials_than_are_asked_for_is_not_beyond_its_end(capsys: pytest.CaptureFixture[str]):
    with reporter(to_stderr=False) as lines:
        lines.searched(progress(3, trials=1, running=0))
        lines.searched(progress(4, trials=1, running=2))
    shown = [line.partition(",")[0] for line in capsys.readouterr().out.splitlines()]
    assert shown == ["3/3 trials", "4/4 trials"]


def test_what_the_user_should_know_is_a_line(capsys: pytest.CaptureFixture[str]):
    with reporter(to_stderr=False) as hears:
        hears.notify("teacher: feature maps need 11.2 GB")
    assert capsys.readouterr().out == "teacher: feature maps need 11.2 GB\n"


def test_elsewhere_full_length_trainings_are_a_line_at_each_tenth(capsys: pytest.CaptureFixture[str]):
    with reporter(to_stderr=True) as lines:
        for done in (0, 0.5, 1, 2):
            lines.trained([training(0, done), training(1, 0)])
        lines.trained([training(0, 12, "complete"), training(1, 0, "failed")])
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "full length: trial 1, student 0: epoch 0 of 12; trial 1, student 1: epoch 0 of 12",
        "full length: trial 1, student 0: epoch 2 of 12; trial 1, student 1: epoch 0 of 12",
        "full length: trial 1, student 0: 92.00 % after 12 epochs; trial 1, student 1: failed: no memory",
    ]


def test_elsewhere_a_teacher_s_first_epoch_and_each_tenth_are_a_line(capsys: pytest.CaptureFixture[str]):
    with teacher_reporter(to_stderr=False) as on_epoch:
        for epoch in range(1, 21):
            on_epoch(TeacherProgress(epoch, 20, loss=0.5, accuracy=0.9, seconds=3.0 * epoch))
    lines = capsys.readouterr().out.splitlines()
    assert [int(line.split()[2]) for line in lines] == [1, *range(2, 21, 2)]
    assert lines[0] == "teacher: epoch 1 of 20, loss 0.5000, 90.00 % on validation, about 57 s left"


@pytest.mark.parametrize("width", [80, 120])
def test_on_a_terminal_a_few_lines_are_redrawn_and_vanish(monkeypatch: pytest.MonkeyPatch, width: int):
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", terminal := Terminal())
    with reporter(to_stderr=False) as live:
        live.began("first")
        assert "search first begins" in screen(terminal.getvalue())[0]
        live.searched(progress(17, pruned=3))
        drawn = screen(terminal.getvalue())
        live.searched(progress(24, seconds_left=0.0))
        drawn_at_the_end = screen(terminal.getvalue())
        live.trained([training(0, 5), training(1, 6)])
    assert drawn[0].startswith("search first ━")
    assert drawn[0].endswith("20/24 about 3 min left")
    assert drawn[1:3] == [
        "17 complete, 3 pruned, 0 failed, 2 running",
        "best 91.23 % by trial 9 with 7.59 k parameters, teacher 99.33 %",
    ]
    assert max(map(len, drawn)) <= width
    assert drawn_at_the_end[0].endswith(" 24/24")
    assert [line for line in screen(terminal.getvalue()) if line] == []


@pytest.mark.parametrize("width", [80, 120])
def test_on_a_terminal_each_running_evaluation_is_a_line(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    ends_at, place = datetime.now(UTC) + timedelta(minutes=3), "on a-machine-of-a-long-name:4711"
    far = RunningEvaluation(7, None, 0, 40.0, place[3:], None, "k", 10.0, 12_345.6, ends_at)
    begun = RunningEvaluation(None, "mobilenetv2", 0, 4.0, None, "no worker", "k")
    lines = drawn(monkeypatch, width, progress(2, evaluations=(far, begun)))[-2:]
    assert lines[0].startswith("trial 7, student 0               ━━╸")
    assert " epoch 10 of 40, 12,346 images/s, ab" in lines[0]
    assert lines[0].endswith("…" if width == 80 else "about 3 min left, on a-machine-of-a-long-n…")
    assert lines[1] == f"reference mobilenetv2, student 0 {10 * ' '} up to 4 epochs, waits: no worker"
    assert max(map(len, lines)) <= width


def test_on_a_terminal_as_many_evaluations_are_shown_as_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    running = tuple(RunningEvaluation(number, None, 0, 4.0, None, None, "k") for number in range(11))
    lines = drawn(monkeypatch, 80, progress(2, evaluations=running))
    assert [line.partition(",")[0] for line in lines[3:-1]] == [f"trial {number}" for number in range(8)]
    assert lines[-1] == "and 3 more"


def drawn(monkeypatch: pytest.MonkeyPatch, width: int, shown: Progress) -> list[str]:
    """The lines of a terminal of this width."""
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys, "stdout", terminal := Terminal())
    with reporter(to_stderr=False) as live:
        live.searched(shown)
        text = re.sub(r"\x1b\[[\d;]*m", "", terminal.getvalue())
    return [line for line in screen(text) if line]


def test_a_reader_that_leaves_interrupts(monkeypatch: pytest.MonkeyPatch):
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Closed())
    with reporter(to_stderr=False) as lines, pytest.raises(KeyboardInterrupt):
        lines.began("first")


@pytest.mark.slow  # a search in a process of its own, under a pseudo-terminal: seconds of imports
def test_a_search_on_a_terminal_leaves_its_checks_and_its_result_and_nothing_else(tiny, tmp_path: Path):
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 80, 0, 0))
    command = [sys.executable, "-m", "autokd", "search", "digits", *tiny, *SECONDS_EACH, "--home", str(tmp_path)]
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")}
    environment |= {"TERM": "xterm-256color", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    text = b"".join(iter(lambda: read(ours), b"")).decode()
    assert process.wait() == 0
    colourless = re.sub(r"\x1b\[[\d;]*m", "", text)
    assert colourless.count("\x1b[?25l") == colourless.count("\x1b[?25h")  # the cursor is back
    shown = [line for line in screen(colourless) if line]
    assert shown[0] == "data     1 x 8 x 8 images, 10 classes"
    assert shown[-1].startswith("Train it at full length: autokd train digits --home ")
    assert not [line for line in shown if "starting" in line or "running" in line or "\x1b" in line]
    assert "search digits" in colourless
    assert re.search(r"trial 0, student 0 [━╸╺]{10} ", colourless)  # with its epoch, if a look comes before its end


def read(descriptor: int) -> bytes:
    """What comes next from a pseudo-terminal; Linux says EIO where a pipe would end."""
    try:
        return os.read(descriptor, 65536)
    except OSError:
        return b""
