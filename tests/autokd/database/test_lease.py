import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psutil
import pytest

from autokd.database import lease_keeper
from autokd.database.errors import LeaseHeld, LeaseLost, NotRunning, UnknownSearch
from autokd.database.lease import Lease, acquire, heartbeat, release, request_stop
from autokd.database.lease_keeper import StopRequest, owning
from autokd.database.models import Search
from autokd.database.reading import find_search
from autokd.database.rows import SearchRow
from autokd.database.store import Store

Environment = Callable[[], dict[str, str]]

OWNER = """
import sys
from autokd.database.errors import LeaseHeld
from autokd.database.lease import acquire
from autokd.database.store import Store
store = Store(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
try:
    print("won", acquire(store, "first").token, flush=True)
except LeaseHeld as error:
    print("held", error, flush=True)
sys.stdin.readline()
"""


@contextmanager
def another_process(where: str, environment: Environment) -> Iterator[subprocess.Popen[str]]:
    """A process that tries to acquire when told so, says how it went, and keeps what it has."""
    command = [sys.executable, "-c", OWNER, where]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment()) as process:
        assert listen(process) == "ready"
        yield process
        process.kill()


def tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def listen(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@contextmanager
def owner_of(store: Store, lease: Lease) -> Iterator[Search]:
    """The row, to be changed behind the lease's back."""
    with store.transaction() as session:
        yield find_search(session, lease.search_id)


def test_the_row_says_who_owns_the_search(store: Store, lease: Lease) -> None:
    row = store.search(lease.search_id)
    assert (row.lease_token, row.lease_pid) == (lease.token, os.getpid())
    assert row.lease_heartbeat_at is not None


def test_an_unknown_search_cannot_be_acquired(store: Store) -> None:
    with pytest.raises(UnknownSearch):
        acquire(store, "nothing")


def test_a_live_lease_is_refused_with_its_owner(store: Store, lease: Lease) -> None:
    with pytest.raises(
        LeaseHeld, match=rf"run by process {os.getpid()} on .* \(last heartbeat \d+ s ago\), .*: release it"
    ):
        acquire(store, "first")
    heartbeat(store, lease)


def test_a_live_process_of_this_machine_keeps_its_lease_without_heartbeats(store: Store, lease: Lease) -> None:
    with owner_of(store, lease) as row:
        assert row.lease_heartbeat_at is not None
        row.lease_heartbeat_at -= timedelta(days=1)
    with pytest.raises(LeaseHeld, match="86400 s ago"):
        acquire(store, "first")


def test_a_later_process_of_the_same_id_is_not_the_owner(store: Store, lease: Lease) -> None:
    with owner_of(store, lease) as row:
        assert row.lease_process_started is not None
        row.lease_process_started -= 100.0
    assert acquire(store, "first").token == lease.token + 1


def test_a_live_process_keeps_its_lease_when_the_clock_is_set_back(
    store: Store, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    booted = psutil.boot_time() - 3600  # which is how psutil sees it
    monkeypatch.setattr("psutil._psplatform.boot_time", lambda: booted)
    assert psutil.boot_time() == booted
    with pytest.raises(LeaseHeld, match="it is this very process"):
        acquire(store, "first")


@pytest.mark.parametrize("silent_seconds", [0, 50])
def test_an_owner_elsewhere_keeps_its_lease_while_it_is_heard(store: Store, lease: Lease, silent_seconds: int) -> None:
    with owner_of(store, lease) as row:
        row.lease_machine, row.lease_host = "elsewhere", "node7"
        assert row.lease_heartbeat_at is not None
        row.lease_heartbeat_at -= timedelta(seconds=silent_seconds)
    with pytest.raises(LeaseHeld, match=r"on node7 .*wait until it was silent for 60 s"):
        acquire(store, "first")


def test_an_owner_elsewhere_loses_its_lease_by_silence(store: Store, lease: Lease) -> None:
    with owner_of(store, lease) as row:
        row.lease_machine = "elsewhere"
        assert row.lease_heartbeat_at is not None
        row.lease_heartbeat_at -= timedelta(seconds=61)
    taken = acquire(store, "first")
    assert taken.token == lease.token + 1
    with pytest.raises(LeaseLost):
        heartbeat(store, lease)
    assert store.events(lease.search_id)[-1].payload["before"].startswith(f"process {os.getpid()} on ")


def test_an_owner_whose_lease_is_taken_is_to_stop_now(
    store: Store, search: SearchRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_keeper, "PERIOD_SECONDS", 0.01)
    stop = StopRequest()
    with owning(store, search.name, stop) as lease:
        with owner_of(store, lease) as row:
            row.lease_token += 1
        until = time.monotonic() + 60
        while stop.mode is None and time.monotonic() < until:
            time.sleep(0.01)
    assert stop.mode == "now"


def test_a_heartbeat_moves_the_clock_only(store: Store, lease: Lease) -> None:
    with owner_of(store, lease) as row:
        assert row.lease_heartbeat_at is not None
        row.lease_heartbeat_at -= timedelta(seconds=50)
    before = store.search("first").lease_heartbeat_at
    events = store.events(lease.search_id)
    heartbeat(store, lease)
    after = store.search("first").lease_heartbeat_at
    assert before is not None
    assert after is not None
    assert after - before >= timedelta(seconds=50)
    assert store.events(lease.search_id) == events


@pytest.mark.parametrize("mode", ["gracefully", "now"])
def test_an_owner_hears_with_its_heartbeat_that_it_is_to_stop(store: Store, lease: Lease, mode: Any) -> None:
    assert heartbeat(store, lease) is None
    assert request_stop(store, "first", mode).lease_pid == os.getpid()
    assert heartbeat(store, lease) == mode
    assert store.search("first").stop == mode
    assert (store.events(1)[-1].kind, store.events(1)[-1].payload) == ("stop_requested", {"mode": mode})


def test_the_next_owner_is_not_asked_to_stop(store: Store, lease: Lease) -> None:
    request_stop(store, "first", "now")
    release(store, lease)
    assert store.search("first").stop is None
    with owner_of(store, lease) as row:
        row.stop = "now"  # as one leaves it that was killed
    assert heartbeat(store, acquire(store, "first")) is None


def test_only_a_search_that_runs_can_be_asked_to_stop(store: Store, lease: Lease) -> None:
    release(store, lease)
    with pytest.raises(NotRunning, match="nobody runs 'first'"):
        request_stop(store, "first", "now")
    assert store.search("first").stop is None


def test_a_released_lease_is_free_and_void(store: Store, lease: Lease) -> None:
    assert release(store, lease)
    assert store.search("first").lease_host is None
    with pytest.raises(LeaseLost, match="released or taken over"):
        store.set_status(lease, "failed")
    assert acquire(store, "first").token > lease.token


def test_releasing_a_lost_lease_changes_nothing(store: Store, lease: Lease) -> None:
    release(store, lease)
    taken = acquire(store, "first")
    assert not release(store, lease)
    heartbeat(store, taken)


@pytest.mark.slow  # starts two processes
def test_of_two_processes_that_race_exactly_one_wins(where: str, search: SearchRow, environment: Environment) -> None:
    with another_process(where, environment) as first, another_process(where, environment) as second:
        tell(first)
        tell(second)
        outcomes = sorted([listen(first), listen(second)])
        assert outcomes[1] == "won 1"
        assert re.match(r"held .*'first' is run by process \d+", outcomes[0])


@pytest.mark.slow  # starts a process
def test_the_lease_of_a_killed_process_is_taken_over_at_once(
    where: str, store: Store, search: SearchRow, environment: Environment
) -> None:
    with another_process(where, environment) as owner:
        tell(owner)
        assert listen(owner) == "won 1"
        with pytest.raises(LeaseHeld, match=f"process {owner.pid}"):
            acquire(store, "first")
        owner.send_signal(signal.SIGKILL)
        owner.wait()
        assert acquire(store, "first").token == 2
