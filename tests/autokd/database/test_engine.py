import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from autokd.database.engine import database_url, open_engine
from autokd.database.errors import DatabaseError, DatabaseGone, DatabaseUnavailable
from autokd.database.store import Store


@pytest.mark.parametrize(
    ("where", "url"),
    [
        ("a/b.db", "sqlite:///a/b.db"),
        (Path("/a/b.db"), "sqlite:////a/b.db"),
        ("sqlite:////a/b.db", "sqlite:////a/b.db"),
        ("postgresql://me@host/name", "postgresql+psycopg://me@host/name"),
        ("postgres://me@host/name", "postgresql+psycopg://me@host/name"),
    ],
)
def test_a_path_or_url_becomes_a_url(where: str | Path, url: str) -> None:
    assert str(database_url(where)) == url


@pytest.mark.parametrize("where", ["mysql://host/name", "sqlite://", "sqlite:///:memory:", "://"])
def test_other_databases_are_rejected(where: str) -> None:
    with pytest.raises(DatabaseError, match=r"A .*database must be a"):
        database_url(where)


def test_a_missing_driver_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(DatabaseUnavailable, match=r"autokd\[postgresql\]"):
        open_engine(database_url("postgresql://host/name"))


def test_an_unreachable_server_is_one_line_without_the_password() -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(DatabaseUnavailable) as caught:
        Store("postgresql://me:secret@127.0.0.1:1/name?connect_timeout=2")
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_sqlite_is_set_up_for_several_processes(tmp_path: Path) -> None:
    with Store(tmp_path / "db") as store, store.engine.connect() as connection:
        pragmas = {name: connection.scalar(text(f"PRAGMA {name}")) for name in ("journal_mode", "synchronous")}
        assert pragmas == {"journal_mode": "wal", "synchronous": 2}
        assert connection.scalar(text("PRAGMA foreign_keys")) == 1
        assert connection.scalar(text("PRAGMA busy_timeout")) == 60_000


@pytest.mark.parametrize("is_replaced", [True, False])
def test_a_file_that_is_removed_or_replaced_is_written_no_more(tmp_path: Path, is_replaced: bool) -> None:
    with Store(tmp_path / "db") as store:
        store.create_search("first", 0, {}, "d", {})
        for file in tmp_path.iterdir():
            file.unlink()
        if is_replaced:
            Store(tmp_path / "db").close()
        for _ in range(2):
            with pytest.raises(DatabaseUnavailable, match="but the file was removed or replaced") as caught:
                store.create_search("second", 0, {}, "d", {})
            assert not isinstance(caught.value, DatabaseGone)
            assert "\n" not in str(caught.value)
    assert (tmp_path / "db").exists() is is_replaced
