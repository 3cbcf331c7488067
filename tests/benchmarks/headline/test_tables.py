from pathlib import Path

import pytest
from plan import settings_of
from protocol import PROTOCOLS
from records import Record, Run, append, read
from tables import markdown

HERE = Path(__file__).parent
TEACHER = {
    "test": 0.95, "validation": 0.96, "ece": 0.01, "params": 1000, "macs": 2_000_000, "activation_bytes": 3000,
    "memory_bytes": 7000, "digest": "abcdef123456",
}  # fmt: skip
COST = {"params": 100, "macs": 500_000, "activation_bytes": 1000, "model_bytes": 400, "memory_bytes": 1400}
MACHINE = {"processor": "Abacus", "python": "3.11", "torch": "2", "commit": "c0ffee"}


def record(arm: str, seed: int, test: float | None, variant: str = "", settings: str = "") -> Record:
    run = Run("F", arm, variant, seed, settings or settings_of(PROTOCOLS["F"], arm, variant) or "s")
    metrics = {} if test is None else {"validation": 0.9, "test": test, "ece": 0.02}
    return Record(run, metrics, COST, TEACHER, 800_000, 1_300_000, 600.0, machine=MACHINE)


def table(*records: Record) -> str:
    return markdown({each.run: each for each in records})


def test_a_row_has_sizes_accuracies_costs_and_the_number_of_runs() -> None:
    text = table(record("A", 0, 0.94), record("A", 1, 0.95))
    assert "| teacher abcdef | 1,000 | 3.0 | 7.0 | 2.00 | 96.00 | 95.00 |  | 1.00 |  |  |  |" in text
    row = "| A | 100 | 1.0 | 1.4 | 0.50 | 90.00 | 94.50 ± 0.71 | -0.50 [-6.85, +5.85] | 2.00 | 0.80 | 10 | 2 |"
    assert row in text
    assert "2 runs on one thread of an Abacus, Python 3.11, torch 2, commits c0ffee." in text


def test_failures_are_counted_and_screened_pairs_have_a_table_of_their_own() -> None:
    screen = [record("H-screen", 9, None, "convnext/at"), record("H-screen", 9, 0.5, "convnext/kd")]
    text = table(record("H", 0, 0.94, "convnext/kd"), record("H", 1, None, "convnext/kd"), *screen)
    assert "| 1, 1 failed |" in text
    assert "| at | failed |" in text
    assert "| kd | 90.00 |" in text


def test_an_arm_that_failed_with_all_seeds_has_a_row_and_a_study_has_none() -> None:
    failed = [record(arm, seed, None) for arm in ("B", "mine", "families") for seed in range(3)]
    text = table(record("A", 0, 0.94), record("H-tune", 9, None, "convnext/kd"), *failed)
    empty = "|  " * 10
    assert f"| B {empty}| 0, 3 failed |" in text
    assert f"| mine {empty}| 0, 3 failed |" in text
    assert text.count("0, 3 failed") == 2
    assert "| H-tune" not in text


@pytest.mark.parametrize("arm", ["A", "mine"])
def test_lines_of_earlier_settings_are_not_mixed_in(arm: str) -> None:
    text = table(record(arm, 0, 0.5, settings="old"), record(arm, 0, 0.94), record(arm, 1, 0.94))
    assert "94.00 ± 0.00" in text


def test_lines_of_another_protocol_are_not_compared_with_those_of_the_present_one() -> None:
    old = [record("A", seed, 0.94, settings="old") for seed in range(3)]
    new = [record("B", seed, 0.93) for seed in range(3)]
    assert "| S3 | A - B |  | **not measured yet** |" in table(*new, *old)
    assert "| A |" not in table(*new, *old)
    assert "Left out, since their lines are of another protocol: A." in table(*new, *old)
    assert "Left out" not in table(*new, *old, record("A", 0, 0.94))


def test_an_arm_of_ones_own_has_a_row() -> None:
    assert "| mine |" in table(record("mine", 0, 0.94))
    assert markdown({}) == "No runs yet."


def test_the_page_holds_the_report_of_the_lines_beside_it() -> None:
    file, page = HERE / "results.jsonl", (HERE / "RESULTS.md").read_text()
    assert f"<!-- report -->\n\n{markdown(read(file))}\n\n<!-- end of report -->\n" in page


def test_lines_of_two_files_make_one_table(tmp_path: Path) -> None:
    from records import read_all

    append(tmp_path / "a", record("A", 0, 0.94))
    append(tmp_path / "b", record("A", 1, 0.94))
    assert "| 2 |" in markdown(read_all(tmp_path / "a", tmp_path / "b"))


@pytest.mark.parametrize("name", ["A", "V"])
def test_no_table_needs_what_only_other_arms_have(name: str) -> None:
    assert f"| {name} " in table(record(name, 0, 0.94))
