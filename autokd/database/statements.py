"""Statements that check, change and tell whose a row is at once, so that a write waits for the database once."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Insert,
    Label,
    Table,
    Update,
    bindparam,
    case,
    exists,
    func,
    insert,
    literal_column,
    select,
    update,
)

from autokd.database.models import Evaluation, Student, Trial
from autokd.database.row_checks import TABLES
from autokd.database.rows import EvaluationRow, StudentRow, TrialRow
from autokd.database.types import BigInt

__all__ = [
    "FINISH_ORDER",
    "N_FINISHED",
    "OF_STUDENT",
    "TRIAL_OF_STUDENT",
    "Computed",
    "changing",
    "opening",
    "table_of",
]

Computed = tuple[tuple[str, ColumnElement[Any]], ...]
OF_STUDENT = ("replicate", "purpose")  # what events of an evaluation say of its student
"""Columns whose values the database computes, each with its expression."""

_TRIALS: Any = Trial.__table__
_STUDENTS: Any = Student.__table__
_EVALUATIONS: Any = Evaluation.__table__
_ENDED = _TRIALS.alias("ended")

N_FINISHED: ColumnElement[Any] = (
    select(func.coalesce(func.max(_ENDED.c.finish_order) + 1, 0))
    .where(_ENDED.c.search_id == bindparam("of_search"), _ENDED.c.finish_order >= 0)
    .scalar_subquery()
)
"""Number of trials of the search that ended; references do not count."""

FINISH_ORDER: ColumnElement[Any] = case((_TRIALS.c.reference.is_(None), N_FINISHED), else_=_TRIALS.c.number)
"""The finish order of a trial or reference that ends."""

TRIAL_OF_STUDENT: ColumnElement[Any] = _STUDENTS.c.trial_id
"""For an evaluation that is opened: the trial of its student."""


def table_of(kind: type) -> Table:
    """The table of a kind of rows."""
    return TABLES[kind].__table__  # type: ignore[return-value]


@cache
def opening(kind: type, given: tuple[str, ...], computed: Computed) -> Insert:
    """Inserts a row of a search unless there is one in its place or no row to which it belongs; returns whose it is.

    Args:
        kind: `TrialRow`, `StudentRow` or `EvaluationRow`.
        given: Names of the columns that get values, besides `search_id`, which is the parameter `of_search`.
        computed: Columns that the database computes, which come back, as does the id.
    """
    table = table_of(kind)
    values = [bindparam("of_search", type_=BigInt), *(bindparam(name, type_=table.c[name].type) for name in given)]
    new = select(*values, *(expression for _, expression in computed)).where(~_there(kind, table))
    if parent := _PARENTS.get(kind):
        its_table, key = parent
        new = new.where(its_table.c.id == bindparam(key), its_table.c.search_id == bindparam("of_search"))
    names = [name for name, _ in computed]
    back = [table.c[name] for name in ("id", *names)]
    return insert(table).from_select(["search_id", *given, *names], new).returning(*back, *_whose(kind))


@cache
def changing(kind: type, given: tuple[str, ...], computed: Computed) -> Update:
    """Changes the row `row_id` of the search `of_search` if it is in `state_before`; returns the rest, and whose it is.

    Args:
        kind: `TrialRow` or `EvaluationRow`.
        given: Names of the columns that get values.
        computed: Columns that the database computes.
    """
    table = table_of(kind)
    row = table.c.id == bindparam("row_id"), table.c.search_id == bindparam("of_search")
    back = (column for column in table.c if column.name not in given)
    changed = update(table).where(*row, table.c.state == bindparam("state_before")).values(dict(computed))
    return changed.returning(*back, *_whose(kind))


_PLACES: Mapping[type, tuple[str, ...]] = {
    TrialRow: ("number",),
    StudentRow: ("trial_id", "purpose", "replicate"),
    EvaluationRow: ("student_id", "rung"),
}
_PARENTS = {StudentRow: (_TRIALS, "trial_id"), EvaluationRow: (_STUDENTS, "student_id")}


def _there(kind: type, table: Table) -> ColumnElement[bool]:
    """Whether a row is there already in the place of a new one."""
    known = table.alias("known")
    same = (known.c[name] == bindparam(name, type_=known.c[name].type) for name in _PLACES[kind])
    return exists().where(known.c.search_id == bindparam("of_search"), *same)


def _whose(kind: type) -> list[Label[Any]]:
    """What events say of the trial and student of a student or evaluation; a trial says so itself."""
    if kind is TrialRow:
        return []
    table = table_of(kind)
    trial = [_of(table, _TRIALS, "trial_id", name) for name in ("number", "reference")]
    if kind is StudentRow:
        return trial
    return [*(_of(table, _STUDENTS, "student_id", name) for name in OF_STUDENT), *trial]


def _of(table: Table, parent: Table, key: str, name: str) -> Label[Any]:
    # By its text the column is of the row that is written; as an object it would add a table to the query.
    is_parent = parent.c.id == literal_column(f"{table.name}.{key}")
    return select(parent.c[name]).where(is_parent).scalar_subquery().label(name)
