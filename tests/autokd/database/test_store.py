import math
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from sqlalchemy import select

from autokd.database.errors import DatabaseError, LeaseLost, SearchExists, UnknownSearch
from autokd.database.lease import Lease, acquire
from autokd.database.models import Trial
from autokd.database.queue import enqueue
from autokd.database.reading import find_search
from autokd.database.rows import EvaluationRow, EventRow, JobRow, SearchRow, StudentRow, TrialRow
from autokd.database.store import Store
from autokd.database.writing import Writing, fenced

COST: dict[str, Any] = {"params": 10**10, "macs": 2**40, "activation_bytes": 3, "model_bytes": 4}


def add_student(store: Store, lease: Lease, number: int = 0) -> StudentRow:
    trial = store.open_trial(lease, number, {"temperature": 4.0})
    return store.add_student(lease, trial.id, 0, "search", "a0", {"nodes": [1, 2]}, **COST)


def kinds(store: Store, lease: Lease) -> list[str]:
    return [event.kind for event in store.events(lease.search_id)]


def everything(store: Store, search_id: int) -> tuple[Any, ...]:
    search = replace(store.search(search_id), lease_heartbeat_at=None)
    return (
        search,
        store.trials(search_id),
        store.students(search_id),
        store.evaluations(search_id),
        store.events(search_id),
    )


def test_a_student_keeps_whose_weights_it_inherits(store: Store, lease: Lease) -> None:
    trial = store.open_trial(lease, 0, {})
    heirs = [
        store.add_student(lease, trial.id, k, "search", "a0", {}, **COST, warm_from=key)
        for k, key in enumerate((None, "k-1"))
    ]
    assert [heir.warm_from for heir in heirs] == [None, "k-1"]
    again = store.add_student(lease, trial.id, 1, "search", "a0", {}, **COST)
    assert again == heirs[1]


def test_a_search_is_found_by_name_and_by_id(store: Store, search: SearchRow) -> None:
    assert store.search("first") == store.search(search.id) == search
    assert store.searches() == [search]
    assert (search.status, search.seed, search.config, search.lease_token) == ("created", 7, {"space": "nago"}, 0)


def test_a_taken_name_is_refused(store: Store, search: SearchRow) -> None:
    with pytest.raises(SearchExists, match="There is a search 'first' already"):
        store.create_search("first", 1, {}, "d", {})
    assert store.searches() == [search]


def test_an_unknown_search_offers_near_names(store: Store, search: SearchRow) -> None:
    with pytest.raises(UnknownSearch, match="'firts': did you mean 'first'"):
        store.search("firts")
    with pytest.raises(UnknownSearch, match=r"'x': this database has 'first'\.$"):
        store.search("x")


def test_an_unknown_search_of_an_empty_database_says_so(store: Store) -> None:
    with pytest.raises(UnknownSearch, match="no search yet"):
        store.search("first")


def test_rows_are_what_a_reader_sees(store: Store, lease: Lease) -> None:
    trial = store.open_trial(lease, 0, {"choice": (1, 2)})
    assert [trial] == store.trials(lease.search_id)
    student = store.add_student(lease, trial.id, 0, "final", "a0", {"nodes": []}, **COST)
    assert [student] == store.students(lease.search_id)
    evaluation = store.open_evaluation(lease, student.id, 0, 1.5, "k0")
    assert [evaluation] == store.evaluations(lease.search_id)
    finished = store.finish_evaluation(lease, evaluation.id, {"accuracy": 0.5}, 2.0, "host:1")
    assert [finished] == store.evaluations(lease.search_id)
    ended = store.finish_trial(lease, trial.id, "complete", 0.5)
    assert [ended] == store.trials(lease.search_id)
    event = store.record_event(lease, "note", {"text": "x"})
    assert event == store.events(lease.search_id)[-1]


def test_every_verb_leaves_an_event(store: Store, lease: Lease) -> None:
    student = add_student(store, lease)
    evaluation = store.open_evaluation(lease, student.id, 0, 1.0, "k0")
    store.fail_evaluation(lease, evaluation.id, "lost")
    store.open_evaluation(lease, student.id, 0, 1.0, "k0")
    store.finish_evaluation(lease, evaluation.id, {}, 1.0)
    store.finish_trial(lease, student.trial_id, "failed", reason="why not")
    store.set_status(lease, "running")
    store.set_config(lease, {"workers": 2}, "c1")
    assert kinds(store, lease) == [
        "search_created",
        "lease_acquired",
        "trial_opened",
        "student_added",
        "evaluation_opened",
        "evaluation_failed",
        "evaluation_opened",
        "evaluation_finished",
        "trial_finished",
        "status_changed",
        "config_changed",
    ]


def test_events_of_an_evaluation_say_whose_it_is(store: Store, lease: Lease) -> None:
    trial = store.open_trial(lease, -1, {}, "resnet")
    student = store.add_student(lease, trial.id, 2, "final", "a0", {}, **COST)
    evaluation = store.open_evaluation(lease, student.id, 1, 1.0, "k0")
    store.finish_evaluation(lease, evaluation.id, {}, 1.0)
    of_student = {"replicate": 2, "purpose": "final"}
    whose = {"evaluation": evaluation.id, "rung": 1, **of_student, "trial": -1, "reference": "resnet"}
    for event in store.events(lease.search_id)[-2:]:
        assert event.payload.items() >= whose.items()


def test_a_scan_finds_all_rows_of_all_kinds(store: Store, lease: Lease) -> None:
    student = add_student(store, lease)
    evaluation = store.open_evaluation(lease, student.id, 0, 1.0, "k0")
    job = enqueue(store, "first", None)
    assert store.scan() == {
        SearchRow: ([store.search("first")], []),
        TrialRow: (store.trials(lease.search_id), []),
        StudentRow: ([student], []),
        EvaluationRow: ([evaluation], []),
        EventRow: (store.events(lease.search_id), []),
        JobRow: ([job], []),
    }
    store.set_status(lease, "running")  # on the same connection


def test_events_after_an_id_are_the_rest(store: Store, lease: Lease) -> None:
    first, *rest = store.events(lease.search_id)
    assert store.events(lease.search_id, after=first.id) == rest
    assert store.events(lease.search_id, after=rest[-1].id) == []


def test_students_of_one_purpose(store: Store, lease: Lease) -> None:
    student = add_student(store, lease)
    final = store.add_student(lease, student.trial_id, 0, "final", "a1", {}, **COST)
    assert store.students(lease.search_id, "search") == [student]
    assert store.students(lease.search_id, "final") == [final]


def test_adding_the_same_student_again_changes_nothing(store: Store, lease: Lease) -> None:
    student = add_student(store, lease)
    before = store.events(lease.search_id)
    assert store.add_student(lease, student.trial_id, 0, "search", "a0", {}, **COST) == student
    assert store.events(lease.search_id) == before


def test_another_student_in_the_same_place_is_refused(store: Store, lease: Lease) -> None:
    student = add_student(store, lease)
    with pytest.raises(DatabaseError, match="digest of student 0"):
        store.add_student(lease, student.trial_id, 0, "search", "other", {}, **COST)


def test_a_trial_number_is_opened_once(store: Store, lease: Lease) -> None:
    store.open_trial(lease, 0, {})
    with pytest.raises(DatabaseError, match="has trial 0"):
        store.open_trial(lease, 0, {})


def test_a_lost_evaluation_is_opened_again(store: Store, lease: Lease) -> None:
    student = add_student(store, lease)
    first = store.open_evaluation(lease, student.id, 0, 1.0, "k0")
    assert store.open_evaluation(lease, student.id, 0, 1.0, "k0") == first
    assert store.events(lease.search_id)[-1].payload["again"] is True


def test_a_failed_evaluation_runs_again(store: Store, lease: Lease) -> None:
    student = add_student(store, lease)
    evaluation = store.open_evaluation(lease, student.id, 0, 1.0, "k0")
    store.place_evaluation(lease, evaluation.id, "host:1", None)
    assert store.fail_evaluation(lease, evaluation.id, "out of memory").reason == "out of memory"
    again = store.open_evaluation(lease, student.id, 0, 1.0, "k0")
    assert (again.id, again.state, again.reason, again.finished_at) == (evaluation.id, "running", None, None)
    assert again.worker is None


def test_an_evaluation_waits_then_has_a_worker_and_no_reason_is_left(store: Store, lease: Lease) -> None:
    evaluation = store.open_evaluation(lease, add_student(store, lease).id, 0, 1.0, "k0")
    waits = store.place_evaluation(lease, evaluation.id, None, "the cluster has no worker")
    assert (waits.state, waits.worker, waits.reason) == ("running", None, "the cluster has no worker")
    complete = store.finish_evaluation(lease, evaluation.id, {}, 1.0, "host:1")
    assert (complete.worker, complete.reason) == ("host:1", None)
    with pytest.raises(DatabaseError, match="is complete"):
        store.place_evaluation(lease, evaluation.id, "host:2", None)


def test_a_failed_trial_is_opened_again_and_its_failure_stays_in_the_events(store: Store, lease: Lease) -> None:
    student = add_student(store, lease)
    evaluation = store.open_evaluation(lease, student.id, 0, 1.0, "k0")
    failed = store.fail_evaluation(lease, evaluation.id, "it died", "worker")
    assert failed.fault == "worker"
    store.finish_trial(lease, student.trial_id, "failed", reason="it died")
    trial = store.reopen_trial(lease, student.trial_id)
    assert (trial.state, trial.reason, trial.finish_order, trial.finished_at) == ("running", None, None, None)
    assert store.evaluations(lease.search_id) == [evaluation]
    reasons = [event.payload.get("reason") for event in store.events(lease.search_id)]
    assert reasons[-3:] == ["it died"] * 3
    store.finish_evaluation(lease, evaluation.id, {}, 1.0)
    assert store.finish_trial(lease, trial.id, "complete", 1.0).finish_order == 0


def test_only_a_failed_trial_is_opened_again(store: Store, lease: Lease) -> None:
    student = add_student(store, lease)
    with pytest.raises(DatabaseError, match="Only a failed trial can be opened again, but trial 0 is running"):
        store.reopen_trial(lease, student.trial_id)


def test_a_complete_evaluation_is_not_opened_again(store: Store, lease: Lease) -> None:
    student = add_student(store, lease)
    evaluation = store.open_evaluation(lease, student.id, 0, 1.0, "k0")
    complete = store.finish_evaluation(lease, evaluation.id, {"accuracy": 1.0}, 1.0)
    events = store.events(lease.search_id)
    assert store.open_evaluation(lease, student.id, 0, 1.0, "k0") == complete
    assert store.events(lease.search_id) == events


def test_an_evaluation_of_another_key_is_refused(store: Store, lease: Lease) -> None:
    student = add_student(store, lease)
    store.open_evaluation(lease, student.id, 0, 1.0, "k0")
    with pytest.raises(DatabaseError, match="must stay 'k0'"):
        store.open_evaluation(lease, student.id, 0, 1.0, "k1")


def test_nothing_finishes_twice(store: Store, lease: Lease) -> None:
    student = add_student(store, lease)
    evaluation = store.open_evaluation(lease, student.id, 0, 1.0, "k0")
    store.finish_evaluation(lease, evaluation.id, {}, 1.0)
    with pytest.raises(DatabaseError, match="is complete"):
        store.finish_evaluation(lease, evaluation.id, {}, 1.0)
    with pytest.raises(DatabaseError, match="is complete"):
        store.fail_evaluation(lease, evaluation.id, "late")
    store.finish_trial(lease, student.trial_id, "pruned")
    with pytest.raises(DatabaseError, match="is pruned"):
        store.finish_trial(lease, student.trial_id, "complete", 1.0)


def test_the_finish_order_is_the_order_of_ends(store: Store, lease: Lease) -> None:
    trials = [store.open_trial(lease, number, {}) for number in range(3)]
    for number, state in [(2, "pruned"), (0, "failed"), (1, "complete")]:
        store.finish_trial(lease, trials[number].id, state, 1.0)  # type: ignore[arg-type]
    assert [trial.finish_order for trial in store.trials(lease.search_id)] == [1, 2, 0]


def test_a_trial_knows_how_many_had_ended_when_it_was_opened(store: Store, lease: Lease) -> None:
    first, second = (store.open_trial(lease, number, {}) for number in range(2))
    store.finish_trial(lease, second.id, "pruned", 1.0)
    assert store.open_trial(lease, 2, {}).opened_after == 1
    store.finish_trial(lease, first.id, "failed")
    assert [
        *(trial.opened_after for trial in store.trials(lease.search_id)),
        store.open_trial(lease, 3, {}).opened_after,
    ] == [
        0,
        0,
        1,
        2,
    ]


@pytest.mark.parametrize(("state", "value"), [("complete", None), ("complete", math.nan), ("pruned", math.inf)])
def test_a_value_that_no_optimiser_can_use_is_refused(store: Store, lease: Lease, state: Any, value: Any) -> None:
    trial = store.open_trial(lease, 0, {})
    with pytest.raises(DatabaseError, match="must be finite"):
        store.finish_trial(lease, trial.id, state, value)
    assert store.trials(lease.search_id) == [trial]


def test_a_trial_of_several_objectives_has_a_value_of_each(store: Store, lease: Lease) -> None:
    trial = store.open_trial(lease, 0, {})
    with pytest.raises(DatabaseError, match="must be finite"):
        store.finish_trial(lease, trial.id, "complete", 0.5, costs=[math.inf])
    with pytest.raises(DatabaseError, match="must have one"):
        store.finish_trial(lease, trial.id, "pruned", costs=[1.0])
    ended = store.finish_trial(lease, trial.id, "complete", 0.5, costs=[0.1 + 0.2, 7.0])
    assert ([ended], ended.costs) == (store.trials(lease.search_id), [0.1 + 0.2, 7.0])
    assert store.events(lease.search_id)[-1].payload["value"] == [0.5, 0.1 + 0.2, 7.0]


def test_metrics_may_be_nan(store: Store, lease: Lease) -> None:
    evaluation = store.open_evaluation(lease, add_student(store, lease).id, 0, 1.0, "k0")
    metrics = store.finish_evaluation(lease, evaluation.id, {"loss": math.nan, "top": math.inf}, 1.0).metrics
    assert metrics is not None
    assert math.isnan(metrics["loss"])
    assert metrics["top"] == math.inf


def test_status_facts_and_config_change(store: Store, lease: Lease) -> None:
    store.set_status(lease, "finished", {"teacher": "t1", "command": "autokd"})
    changed = store.set_config(lease, {"workers": 2}, "c1")
    assert changed == store.search("first")
    assert changed.status == "finished"
    assert changed.facts == {"teacher": "t1", "command": "autokd"}
    assert (changed.config, changed.config_digest) == ({"workers": 2}, "c1")
    assert changed.updated_at > changed.created_at


def test_an_unknown_status_is_refused(store: Store, lease: Lease) -> None:
    with pytest.raises(DatabaseError, match="rules of its table"):
        store.set_status(lease, "sleeping")  # type: ignore[arg-type]


def test_a_value_that_cannot_be_stored_writes_nothing(store: Store, lease: Lease) -> None:
    before = everything(store, lease.search_id)
    with pytest.raises(DatabaseError, match="must be made of"):
        store.open_trial(lease, 0, {"space": {1, 2}})
    assert everything(store, lease.search_id) == before


def test_rows_of_another_search_are_out_of_reach(store: Store, lease: Lease) -> None:
    trial = store.open_trial(lease, 0, {})
    store.create_search("second", 0, {}, "d", {})
    other = acquire(store, "second")
    with pytest.raises(DatabaseError, match="'second' must have the trial"):
        store.finish_trial(other, trial.id, "failed")
    assert store.trials(other.search_id) == []


WRITES: dict[str, Callable[[Store, Lease, int, int, int], object]] = {
    "open_trial": lambda store, lease, trial, student, evaluation: store.open_trial(lease, 9, {}),
    "add_student": lambda store, lease, trial, student, evaluation: store.add_student(
        lease, trial, 9, "search", "a9", {}, **COST
    ),
    "open_evaluation": lambda store, lease, trial, student, evaluation: store.open_evaluation(
        lease, student, 9, 1.0, "k"
    ),
    "finish_evaluation": lambda store, lease, trial, student, evaluation: store.finish_evaluation(
        lease, evaluation, {}, 1.0
    ),
    "fail_evaluation": lambda store, lease, trial, student, evaluation: store.fail_evaluation(lease, evaluation, "x"),
    "place_evaluation": lambda store, lease, trial, student, evaluation: store.place_evaluation(
        lease, evaluation, "w", None
    ),
    "finish_trial": lambda store, lease, trial, student, evaluation: store.finish_trial(lease, trial, "failed"),
    "reopen_trial": lambda store, lease, trial, student, evaluation: store.reopen_trial(lease, trial),
    "set_status": lambda store, lease, trial, student, evaluation: store.set_status(lease, "failed"),
    "set_config": lambda store, lease, trial, student, evaluation: store.set_config(lease, {}, "d"),
    "record_event": lambda store, lease, trial, student, evaluation: store.record_event(lease, "x", {}),
}


@pytest.mark.parametrize("verb", WRITES)
def test_a_zombies_write_is_refused_and_changes_nothing(store: Store, lease: Lease, verb: str) -> None:
    student = add_student(store, lease)
    evaluation = store.open_evaluation(lease, student.id, 0, 1.0, "k0")
    before = everything(store, lease.search_id)
    zombie = replace(lease, token=lease.token - 1)
    with pytest.raises(LeaseLost, match="Nothing was written"):
        WRITES[verb](store, zombie, student.trial_id, student.id, evaluation.id)
    assert everything(store, lease.search_id) == before


def test_readers_see_whole_transactions_while_a_writer_writes(where: str, store: Store, lease: Lease) -> None:
    stop, wrong = Event(), []

    def read() -> None:
        with Store(where) as reader:
            while not stop.is_set():
                trials = len(reader.trials(lease.search_id))
                opened = [event for event in reader.events(lease.search_id) if event.kind == "trial_opened"]
                if len(opened) < trials:
                    wrong.append((trials, len(opened)))

    readers = [Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(30):
        store.open_trial(lease, number, {})
    stop.set()
    for reader in readers:
        reader.join()
    assert not wrong
    assert len(store.trials(lease.search_id)) == 30


def test_the_events_of_a_batch_are_read_in_the_order_in_which_they_happened(store: Store, lease: Lease) -> None:
    before = store.events(lease.search_id)
    with store.batch(lease):
        store.open_trial(lease, 0, {})
        noted = store.record_event(lease, "note", {"loss": -math.inf})
        for number in (1, 2, 3):
            store.open_trial(lease, number, {})
    first, second, *others = store.events(lease.search_id, after=before[-1].id)
    assert second == noted
    assert [each.kind for each in (first, *others)] == ["trial_opened"] * 4
    assert [each.payload for each in (first, *others)] == [{"trial": number} for number in range(4)]


def test_a_reader_and_a_writer_do_not_wait_for_each_other(where: str, store: Store, lease: Lease) -> None:
    with Store(where) as other, other.session() as reading, store.transaction() as writing:
        assert reading.scalars(select(Trial.number)).all() == []
        fenced(writing, lease)  # now both are in a transaction
        assert other.trials(lease.search_id) == []
        Writing(writing, find_search(writing, "first").id).record("note", {})
        writing.commit()  # while the other one still reads


def test_two_controllers_and_their_readers_never_meet_a_locked_database(where: str, store: Store) -> None:
    def control(name: str) -> None:
        with Store(where) as own:
            lease = acquire(own, own.create_search(name, 0, {}, "d", {}).id)
            for number in range(20):
                own.open_trial(lease, number, {})

    def read(name: str) -> None:
        n = 0
        while n < 20:
            with Store(where) as reader:  # as `autokd status` does, again and again
                n = sum(len(reader.trials(search.id)) for search in reader.searches() if search.name == name)

    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(work, name) for name in ("a", "b") for work in (control, read)]
    assert [future.result() for future in running] == [None] * 4


WRITER = """
import sys
from autokd.database.lease import acquire
from autokd.database.store import Store
store = Store(sys.argv[1])
lease = acquire(store, "first")
for number in range(10**9):
    trial = store.open_trial(lease, number, {"number": number})
    store.finish_trial(lease, trial.id, "complete", float(number))
    print(number, flush=True)
"""


@pytest.mark.slow  # starts a process
@pytest.mark.parametrize("lines", [1, 5, 23])
def test_a_killed_writer_loses_nothing_that_it_wrote(
    where: str, store: Store, search: SearchRow, environment: Callable[[], dict[str, str]], lines: int
) -> None:
    command = [sys.executable, "-c", WRITER, where]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as writer:
        assert writer.stdout is not None
        for _ in range(lines):
            writer.stdout.readline()
        writer.send_signal(signal.SIGKILL)
        said = lines + len([line for line in writer.stdout.read().split("\n")[:-1] if line])
    trials = store.trials(search.id)
    finished = [trial for trial in trials if trial.state == "complete"]
    assert len(finished) >= said
    assert [trial.value for trial in finished] == [float(number) for number in range(len(finished))]
    events = [event.kind for event in store.events(search.id)]
    assert events.count("trial_opened") == len(trials)
    assert events.count("trial_finished") == len(finished)
    acquire(store, "first")  # the dead writer's lease is free at once


def test_a_sqlite_database_is_sound_after_use(tmp_path: Path) -> None:
    with Store(tmp_path / "db") as store:
        store.create_search("a", 0, {}, "d", {})
        add_student(store, acquire(store, "a"))
    with closing(sqlite3.connect(tmp_path / "db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


def test_references_are_no_trials_and_count_down(store: Store, lease: Lease) -> None:
    rows = [
        store.open_trial(lease, -1, {}, "resnet"),
        store.open_trial(lease, 0, {}),
        store.open_trial(lease, -2, {}, "other"),
    ]
    for row in reversed(rows):
        store.finish_trial(lease, row.id, "failed", reason="no")
    assert [(row.number, row.finish_order, row.opened_after) for row in store.trials(lease.search_id)] == [(0, 0, 0)]
    references = store.references(lease.search_id)
    assert [(row.reference, row.number, row.finish_order) for row in references] == [
        ("resnet", -1, -1),
        ("other", -2, -2),
    ]
    assert store.open_trial(lease, 1, {}).opened_after == 1
