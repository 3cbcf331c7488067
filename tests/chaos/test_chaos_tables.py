from pathlib import Path

from chaos_records import Hit, Record, append, read
from chaos_tables import markdown

MACHINE = {"processor": "Abacus", "python": "3.11", "commit": "c0ffee"}


def record(number: int, *hits: Hit, broken: tuple[str, ...] = (), hung: bool = False) -> Record:
    return Record("local", "sqlite", 0, number, "cosine", list(hits), len(hits), list(broken), hung, 60.0, MACHINE)


def test_records_are_read_as_they_were_written(tmp_path: Path) -> None:
    written = [record(0, Hit("kill-all", "trials", 3.5)), record(1, broken=("loss: trial 1 is gone",))]
    for each in written:
        append(tmp_path / "results.jsonl", each)
    assert [vars(each) for each in read(tmp_path / "results.jsonl")] == [
        vars(each) | {"hits": [Hit(hit.fault, hit.stage, hit.seconds, []) for hit in each.hits]} for each in written
    ]
    assert [each.is_survived for each in written] == [True, False]


def test_the_tables_count_what_was_lost_twice_and_hung_and_how_long_recovery_took() -> None:
    twice = Hit("kill-all", "export", 9.0, ["repetition: trial 0 is there 2 times"])
    table = markdown(
        [
            record(0, Hit("kill-all", "trials", 3.0), Hit("kill-all", "trials", 6.0), twice),
            record(1, broken=("loss: trial 1 is gone", "orphan: process 7 lives on")),
            record(2, broken=("nothing was recorded for 300 s",), hung=True),
        ]
    )
    assert "| sqlite | local | 3 | 3 | 0 | 1 | 1 | 1 | 1 |" in table
    assert "| kill-all | 3 | 2 | 6 | 9 |" in table
    assert "| kill-all |  |  |  |  | 2 |  |  | 1 |" in table
    assert "* search 1 on sqlite and local: loss: trial 1 is gone" in table
    assert table.endswith("Run on: Abacus, Python 3.11, commit c0ffee (3 searches).")


def test_without_a_broken_invariant_the_tables_say_so() -> None:
    assert "Nothing was broken." in markdown([record(0)])
    assert markdown([]) == "No runs yet."
