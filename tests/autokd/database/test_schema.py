import resource
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, inspect
from sqlalchemy.exc import OperationalError

from autokd.database import schema
from autokd.database.engine import database_url, open_engine
from autokd.database.errors import DatabaseGone, DatabaseUnavailable, LeaseHeld, NotOurDatabase, UnknownRevision
from autokd.database.models import REVISION, Base
from autokd.database.outages import disk_remark
from autokd.database.owner import Owner
from autokd.database.store import Store

OLD = sorted((Path(__file__).parent / "old").glob("*.sql"))


def describe(engine: Engine) -> dict[str, object]:
    inspector = inspect(engine)
    return {
        table: [
            [{**column, "type": str(column["type"])} for column in inspector.get_columns(table)],
            inspector.get_pk_constraint(table),
            sorted(inspector.get_foreign_keys(table), key=str),
            sorted(inspector.get_unique_constraints(table), key=str),
            sorted(inspector.get_check_constraints(table), key=str),
            sorted(map(_plain, inspector.get_indexes(table)), key=str),
        ]
        for table in inspector.get_table_names()
        if table != "alembic_version"
    }


def _plain(index: Mapping[str, Any]) -> dict[str, Any]:
    """An index with the condition of a partial one as text."""
    return {**index, "dialect_options": {key: str(value) for key, value in index["dialect_options"].items()}}


def test_the_migrations_make_the_tables_of_the_models(tmp_path: Path) -> None:
    direct = create_engine(f"sqlite:///{tmp_path / 'direct'}")
    Base.metadata.create_all(direct)
    with Store(tmp_path / "migrated") as store:
        assert describe(store.engine) == describe(direct)
    direct.dispose()


def test_nothing_is_left_to_migrate(store: Store) -> None:
    with store.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_the_models_name_the_newest_revision() -> None:
    assert ScriptDirectory.from_config(schema._config()).get_heads() == [REVISION]


def test_there_is_an_old_database_for_each_revision() -> None:
    scripts = ScriptDirectory.from_config(schema._config()).walk_revisions()
    assert {file.stem for file in OLD} == {script.revision for script in scripts}


@pytest.mark.parametrize("dump", OLD, ids=lambda dump: dump.stem)
def test_an_old_database_still_opens(dump: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "db")) as connection:
        connection.executescript(dump.read_text())
    with Store(tmp_path / "db") as store:
        search = store.search("old")
        assert [(trial.value, trial.rung, trial.seconds) for trial in store.trials(search.id)] == [(0.1 + 0.2, 0, 1.5)]
        assert [student.digest for student in store.students(search.id)] == ["a0"]
        assert [evaluation.state for evaluation in store.evaluations(search.id)] == ["complete"]
        assert store.events(search.id)[0].kind == "search_created"


@pytest.mark.parametrize("dump", OLD[:-1], ids=lambda dump: dump.stem)
def test_an_old_database_is_left_as_it_is_while_its_search_runs(dump: Path, tmp_path: Path) -> None:
    owner = Owner.this(datetime.now(UTC))
    values = {
        "lease_host": owner.host,
        "lease_machine": owner.machine,
        "lease_pid": owner.pid,
        "lease_process_started": owner.process_started,
        "lease_heartbeat_at": "2026-11-28 00:00:00.000000",
    }
    with closing(sqlite3.connect(tmp_path / "db")) as connection:
        connection.executescript(dump.read_text())
        connection.execute(f"UPDATE searches SET {', '.join(f'{name} = :{name}' for name in values)}", values)
        connection.commit()
        before = list(connection.iterdump())
    with pytest.raises(LeaseHeld, match=rf"process {owner.pid} on .* runs search 'old' in it.* Nothing was changed"):
        Store(tmp_path / "db")
    with closing(sqlite3.connect(tmp_path / "db")) as connection:
        assert list(connection.iterdump()) == before
        connection.execute("UPDATE searches SET lease_pid = NULL")
        connection.commit()
    with Store(tmp_path / "db") as store:
        assert store.search("old").name == "old"


def test_opening_again_keeps_what_is_there(where: str) -> None:
    with Store(where) as store:
        store.create_search("kept", 0, {}, "d", {})
    with Store(where, create=False) as store:
        assert [search.name for search in store.searches()] == ["kept"]


def test_a_missing_database_is_an_error_if_none_shall_be_made(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnavailable, match="there is none"):
        Store(tmp_path / "folder" / "db", create=False)
    assert not (tmp_path / "folder").exists()


def test_an_empty_file_is_an_empty_database(tmp_path: Path) -> None:
    (tmp_path / "db").touch()
    with Store(tmp_path / "db") as store:
        assert store.searches() == []


def test_a_newer_database_is_refused_untouched(tmp_path: Path) -> None:
    file = tmp_path / "db"
    Store(file).close()
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
        connection.execute("PRAGMA journal_mode = DELETE")
    before = file.read_bytes()
    with pytest.raises(UnknownRevision, match=r"'9999'.*upgrade autokd") as caught:
        Store(file)
    assert "\n" not in str(caught.value)
    assert file.read_bytes() == before
    assert [other.name for other in tmp_path.iterdir()] == ["db"]


def test_a_newer_database_of_any_kind_is_refused(where: str) -> None:
    with Store(where) as store, store.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(UnknownRevision, match="'9999'"):
        Store(where)


def test_an_engine_that_was_used_before_notices_that_a_newer_version_has_upgraded_the_tables(where: str) -> None:
    engine = open_engine(database_url(where))
    Store(engine).close()
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(UnknownRevision, match="'9999'"):
        Store(engine)
    engine.dispose()


def test_a_full_disk_is_an_outage_and_no_foreign_file(tmp_path: Path) -> None:
    Store(tmp_path / "db").close()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))  # no byte more, not even of the log's index
    try:
        with pytest.raises(DatabaseGone, match="must be there, writable and free, but it says: disk I/O error"):
            Store(tmp_path / "db")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Store(tmp_path / "db").close()
    monkeypatch.setattr("shutil.disk_usage", lambda folder: mock.Mock(free=0))
    assert disk_remark(tmp_path / "db") == "; its disk is full: make room"
    store = Store(tmp_path / "db")
    outage = sqlite3.OperationalError("disk I/O error")
    outage.sqlite_errorcode = sqlite3.SQLITE_IOERR
    with pytest.raises(DatabaseGone, match=r"disk I/O error; its disk is full: make room\.$"), store.session():
        raise OperationalError("SELECT 1", None, outage)
    store.close()


def test_a_database_beside_which_nothing_can_be_written_is_no_foreign_file(tmp_path: Path) -> None:
    Store(tmp_path / "db").close()
    (tmp_path / "db-wal").mkdir()  # as a folder that cannot be written, for which SQLite has the same error
    with pytest.raises(DatabaseUnavailable, match=r"in a folder that can be written, .* unable to open database file"):
        Store(tmp_path / "db")


def test_a_file_that_is_no_database_is_refused_untouched(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("not a database")
    with pytest.raises(NotOurDatabase, match=r"notes\.txt SQLite says"):
        Store(file)
    assert file.read_text() == "not a database"


def test_a_damaged_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "db").write_bytes(b"SQLite format 3\x00" + b"\xff" * 4096)
    with pytest.raises(NotOurDatabase, match="SQLite says"):
        Store(tmp_path / "db")


def test_old_trials_are_told_how_many_had_ended_before_them(tmp_path: Path) -> None:
    day = "2026-11-25 {}:00.000000".format
    rows = [
        (2, 1, 1, "{}", "complete", 1.0, None, day("09:00"), day("09:10"), 2),
        (3, 1, 2, "{}", "complete", 1.0, None, day("09:01"), day("09:05"), 1),
        (4, 1, 3, "{}", "complete", 1.0, None, day("09:06"), day("09:20"), 3),
        (5, 1, 4, "{}", "running", None, None, day("09:11"), None, None),
    ]
    with closing(sqlite3.connect(tmp_path / "db")) as connection:
        connection.executescript(next(dump for dump in OLD if dump.stem == "0002").read_text())
        connection.executemany(f"INSERT INTO trials VALUES ({','.join('?' * 10)})", rows)
        connection.commit()
    with Store(tmp_path / "db") as store:
        assert [trial.opened_after for trial in store.trials(1)] == [0, 1, 1, 2, 3]


def test_old_failures_are_their_workers_fault_if_they_say_that_it_was_lost(tmp_path: Path) -> None:
    row = "INSERT INTO evaluations VALUES (?, 1, 1, 1, ?, 1.0, 'k', 'failed', NULL, NULL, ?, NULL, ?, ?)"
    day = "2026-11-25 09:00:00.000000"
    with closing(sqlite3.connect(tmp_path / "db")) as connection:
        connection.executescript(next(dump for dump in OLD if dump.stem == "0007").read_text())
        for number, reason in enumerate(("A worker must outlive its task, but ... (3 times)", "DivergedError: no"), 2):
            connection.execute(row, (number, number, reason, day, day))
        connection.commit()
    with Store(tmp_path / "db") as store:
        assert [row.fault for row in store.evaluations(1)] == [None, "worker", "trial"]


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotOurDatabase, match="SQLite says"):
        Store(tmp_path)


def test_another_programs_database_is_refused(where: str) -> None:
    engine = open_engine(database_url(where))
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE bookmarks (id INTEGER)")
    with pytest.raises(NotOurDatabase, match="bookmarks"):
        Store(where)
    engine.dispose()


def test_missing_folders_of_a_new_database_are_made(tmp_path: Path) -> None:
    Store(tmp_path / "a" / "b" / "db").close()
    assert (tmp_path / "a" / "b" / "db").is_file()


@pytest.mark.slow  # starts four processes
def test_several_processes_may_create_the_same_database(where: str, environment: Callable[[], dict[str, str]]) -> None:
    code = "import sys; from autokd.database.store import Store; Store(sys.argv[1]).close()"
    processes = [
        subprocess.Popen([sys.executable, "-c", code, where], stderr=subprocess.PIPE, text=True, env=environment())
        for _ in range(4)
    ]
    outcomes = [(process.communicate(timeout=120)[1], process.returncode) for process in processes]
    assert outcomes == [("", 0)] * 4


def test_opening_an_up_to_date_database_does_not_load_alembic(
    tmp_path: Path, environment: Callable[[], dict[str, str]]
) -> None:
    Store(tmp_path / "db").close()
    code = (
        "import sys; from autokd.database.store import Store; Store(sys.argv[1]).close(); "
        "print([name for name in ('alembic', 'torch') if name in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "db")]
    assert subprocess.check_output(command, text=True, env=environment()).strip() == "[]"
