import os
import subprocess
import sys
from pathlib import Path

import pytest

from autokd.evaluation import log
from autokd.evaluation.log import logged, tail

DYING = """
import os, signal, sys, warnings
from pathlib import Path
from autokd.evaluation.log import logged
with logged(Path(sys.argv[1])):
    print("nearly there")
    warnings.warn("soon")
    os.write(2, b"aborted by the library\\n")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def body(file: Path) -> list[str]:
    """The lines without those that begin a block."""
    return [line for line in file.read_text().splitlines() if not line.startswith("[")]


def test_a_log_has_what_python_c_code_and_child_processes_print(tmp_path: Path) -> None:
    file = tmp_path / "t" / "log-0.txt"
    with logged(file):
        print("from Python")
        os.write(1, b"from C\n")
        subprocess.run(["echo", "from a child"], check=True)
    assert body(file) == ["from Python", "from C", "from a child"]


def test_afterwards_output_goes_where_it_did(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout, sys.stderr
    with logged(tmp_path / "log"):
        print("inside")
    os.write(1, b"outside\n")
    assert (sys.stdout, sys.stderr) == before
    assert capfd.readouterr().out == "outside\n"


def test_a_failure_leaves_its_traceback(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), logged(tmp_path / "log"):
        _ = 1 / 0
    assert tail(tmp_path / "log", 1) == ["ZeroDivisionError: division by zero"]


def test_blocks_follow_each_other_and_one_without_output_leaves_nothing(tmp_path: Path) -> None:
    file = tmp_path / "log"
    for text in ("", "first\n", "", "second\n"):
        with logged(file):
            os.write(1, text.encode())
        assert file.exists() == bool(text) or "first" in file.read_text()
    assert body(file) == ["first", "second"]
    assert len(file.read_text().splitlines()) == 4


def test_an_interrupted_block_without_output_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), logged(tmp_path / "log"):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_of_a_long_log_the_end_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "LARGEST_BYTES", 100)
    monkeypatch.setattr(log, "LOOK_SECONDS", 1000.0)
    with logged(tmp_path / "log"):
        for number in range(1000):
            print(f"line {number}")
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines[0] == "[what came before is left out]"
    assert lines[1:] == [f"line {number}" for number in range(1001 - len(lines), 1000)]
    assert len("\n".join(lines[1:])) <= 100


def test_a_log_is_cut_while_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "LARGEST_BYTES", 100)
    monkeypatch.setattr(log, "LOOK_SECONDS", 0.001)
    with logged(tmp_path / "log"):
        while "left out" not in (tmp_path / "log").read_text():
            print("again")


@pytest.mark.slow  # an interpreter that is killed
def test_a_process_that_dies_leaves_what_it_said(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    subprocess.run([sys.executable, "-c", DYING, str(tmp_path / "log")], check=False, env=environment)
    first, second, *_, last = body(tmp_path / "log")
    assert (first, last) == ("nearly there", "aborted by the library")
    assert "UserWarning: soon" in second


def test_a_log_that_is_not_there_has_no_lines(tmp_path: Path) -> None:
    assert tail(tmp_path / "log", 3) == []
