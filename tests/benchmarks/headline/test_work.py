import json
from pathlib import Path

import pytest
import searching
import work
from work import main, seeds_of


def run(folder: Path, *options: str) -> list[dict[str, object]]:
    """The lines that there are after a run of the benchmark."""
    file = folder / "results.jsonl"
    main("", ["--data", "tiny", "--results", str(file), "--scratch", str(folder / "runs"), *options])
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_seeds_are_a_number_a_list_or_ranges() -> None:
    assert seeds_of(["3"]) == [0, 1, 2]
    assert seeds_of(["0", "2"]) == [0, 2]
    assert seeds_of(["3-3", "5-6"]) == [3, 5, 6]


@pytest.mark.parametrize("options", [["--data", "tiny", "--seeds", "x"], [], ["--data", "tiny", "--arms", "Z"]])
def test_bad_arguments_end_with_2(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main("", options)
    assert stopped.value.code == 2
    assert "error" in capsys.readouterr().err


@pytest.mark.slow  # a whole search, with the training of its winner
def test_a_run_that_was_killed_goes_on_and_is_written_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(work, "append", _killed)
        with pytest.raises(RuntimeError):
            run(tmp_path, "--arms", "A", "--seeds", "1")
    assert (tmp_path / "runs/tiny/seed-0/A/autokd.db").exists()
    with monkeypatch.context() as patch:
        patch.setattr(searching, "begin", _killed)  # the search is not begun again
        (line,) = run(tmp_path, "--arms", "A", "--seeds", "1")
    assert not (tmp_path / "runs/tiny/seed-0/A").exists()
    assert not (tmp_path / "runs/tiny/seed-0/teachers").exists()
    assert run(tmp_path, "--arms", "A", "--seeds", "1") == [line]
    assert line["cost"]["params"] <= 7_775
    assert line["search_images"] >= 2 * (0.25 + 0.5) / 2 * 256
    assert "| A |" in capsys.readouterr().out


@pytest.mark.slow  # two searches, and trainings of five students
def test_arms_that_share_a_search_and_those_that_follow_from_another_are_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = run(tmp_path, "--arms", "A", "C1", "C2", "P", "top", "draws", "--seeds", "1")
    assert [line["arm"] for line in lines] == ["A", "C1", "C2", "P", "top", "draws"]
    by_arm = {line["arm"]: line for line in lines}
    assert by_arm["C1"]["found"]["architecture"] == by_arm["C2"]["found"]["architecture"]
    assert by_arm["C1"]["found"]["distillation"] == {"temperature": 4.0, "weight": 0.0}
    assert by_arm["C2"]["found"]["distillation"] == {"temperature": 4.0, "weight": 0.9}
    capsys.readouterr()
    main("", ["--data", "tiny", "--list", "--results", str(tmp_path / "results.jsonl"), "--arms", "A", "B"])
    out = capsys.readouterr().out
    assert "| A | 1 | 1 | 0 |" in out
    assert "| B | 0 | 2 | 0 |" in out


def _killed(*arguments: object, **options: object) -> None:
    raise RuntimeError("killed")
