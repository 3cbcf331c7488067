"""Each statement damages one row of a search that was sound; what is found is that row, and why."""

from collections.abc import Callable
from pathlib import Path

import pytest
from inline_searches import run
from sqlalchemy import text

from autokd.database.errors import DamagedRow
from autokd.database.store import Store
from autokd.searches.damage import damaged_rows
from autokd.searches.problem import Problem

DAMAGES = [
    ("UPDATE searches SET config = 'no json'", "searches", 1, "config should be a valid dictionary, but is 'no json'"),
    ("UPDATE searches SET config = '{}'", "searches", 1, "config: 'name' is missing"),
    ("UPDATE searches SET facts = '{}'", "searches", 1, "facts lack 'normalisation'"),
    ("UPDATE searches SET facts = json_set(facts, '$.classes', 'x')", "searches", 1, "facts.classes should be a valid"),
    ("UPDATE searches SET facts = json_set(facts, '$.normalisation', 5)", "searches", 1, "have another form"),
    ("UPDATE searches SET lease_heartbeat_at = 'x'", "searches", 1, "lease_heartbeat_at should be a valid datetime"),
    (
        "UPDATE trials SET parameters = '{\"x\": 1}' WHERE id = 2",
        "trials",
        2,
        "is missing. Space 'nago' needs",
    ),
    ("UPDATE trials SET parameters = json_set(parameters, '$.weight', 9) WHERE id = 2", "trials", 2, "weight is 9"),
    ("UPDATE trials SET value = NULL WHERE id = 2", "trials", 2, "it is complete, but has no value"),
    ("UPDATE trials SET value = 'x' WHERE id = 2", "trials", 2, "value should be a valid number, but is 'x'"),
    ("UPDATE trials SET created_at = 'x' WHERE id = 2", "trials", 2, "created_at should be a valid datetime"),
    ("UPDATE trials SET number = 7 WHERE id = 2", "trials", 2, "its number is 7, but there is no trial 6"),
    ("UPDATE students SET architecture = '{}' WHERE id = 2", "students", 2, "architecture: The architecture's schema"),
    ("UPDATE students SET macs = 'x' WHERE id = 2", "students", 2, "macs should be a valid integer, but is 'x'"),
    (
        "UPDATE evaluations SET metrics = '{}' WHERE id = 2",
        "evaluations",
        2,
        "complete, but its metrics have no accuracy",
    ),
    ("UPDATE evaluations SET metrics = NULL WHERE id = 2", "evaluations", 2, "but its metrics have no accuracy"),
    ("UPDATE evaluations SET key = 'x' WHERE id = 2", "evaluations", 2, "key is 'x', which is none of an evaluation"),
    (
        "UPDATE evaluations SET rung = 9 WHERE id = 2",
        "evaluations",
        2,
        "rung is 9, but the last rung of the search is 0",
    ),
    ("UPDATE events SET payload = 'x' WHERE id = 2", "events", 2, "payload should be a valid dictionary, but is 'x'"),
]


@pytest.fixture
def store(
    make_problem: Callable[..., Problem], make_store: Callable[..., Store], pretend: Callable[..., None]
) -> Store:
    """A database with a finished search of two trials."""
    problem = make_problem(trials=2, training={"rungs": [1]})
    store = make_store(problem)
    pretend()
    run(problem, store)
    return store


def damage(store: Store, statement: str) -> None:
    with store.engine.connect() as connection:
        connection.exec_driver_sql("COMMIT")  # outside of a transaction, where foreign keys can be turned off
        connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
        connection.execute(text(statement.replace(":", "\\:")))


def found(store: Store) -> list[tuple[str, object, str]]:
    return [(error.table, error.row, error.damage) for error in damaged_rows(store, Path("home"))]


def test_a_sound_database_has_no_damaged_row(store: Store) -> None:
    assert found(store) == []


@pytest.mark.parametrize(("statement", "table", "row", "why"), DAMAGES, ids=[each[0][:60] for each in DAMAGES])
def test_a_damaged_row_is_found(store: Store, statement: str, table: str, row: int, why: str) -> None:
    damage(store, statement)
    assert [(where, which, why in said) for where, which, said in found(store)] == [(table, row, True)]


def test_rows_that_name_one_that_is_gone_are_found_and_trials_that_lack_theirs(store: Store) -> None:
    damage(store, "DELETE FROM students WHERE id = 2")
    assert found(store) == [
        ("evaluations", 2, "student_id is 2, but table students has no such row"),
        ("trials", 2, "it is complete, but has no student"),
    ]
    damage(store, "DELETE FROM evaluations WHERE id = 1")
    assert ("trials", 1, "it is complete, but has no complete evaluation") in found(store)


def test_what_names_a_row_that_is_there_but_unreadable_is_sound(store: Store) -> None:
    damage(store, "UPDATE searches SET facts = 'x'")
    assert [(table, row) for table, row, _ in found(store)] == [("searches", 1)]


def test_reading_stops_at_a_row_that_cannot_be_read_and_names_it(store: Store) -> None:
    damage(store, "UPDATE evaluations SET created_at = 'soon' WHERE id = 2")
    with pytest.raises(DamagedRow) as caught:
        store.evaluations(1)
    assert str(caught.value) == (
        "row 2 of table evaluations is damaged: created_at should be a valid datetime, but is 'soon'; "
        "`autokd doctor --database` lists all that are."
    )
