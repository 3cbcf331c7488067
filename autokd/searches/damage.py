"""Rows that make no sense: of a database that was edited, or of which only a part was restored."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from autokd.database.errors import DamagedRow
from autokd.database.reading import Reader
from autokd.database.row_checks import TABLES
from autokd.database.rows import EvaluationRow, SearchRow, StudentRow, TrialRow
from autokd.errors import InputError, first_line
from autokd.searches.facts import Facts
from autokd.searches.problem import Problem, recorded_problem
from search_spaces.architecture.format import Architecture
from search_spaces.design.dimensions import contains
from search_spaces.errors import SpaceError

__all__ = ["damaged_rows"]

Rows = Mapping[int, Any]  # by id; None for one that cannot be read

_PARENTS = {"search_id": SearchRow, "trial_id": TrialRow, "student_id": StudentRow}
_KEY = re.compile(r"[0-9a-f]+-\d+(-test)?")  # of an evaluation: digest, rung, and whether it is tested
_WRONG = (LookupError, TypeError, ValueError, AttributeError, SpaceError)  # what a value of another form raises


def damaged_rows(store: Reader, folder: Path) -> list[DamagedRow]:
    """All rows that are damaged: by what a column holds, by what it says, or by naming a row that is gone.

    Args:
        store: The database.
        folder: Folder of all searches.
    """
    scanned = store.scan()
    unreadable = [error for _, damaged in scanned.values() for error in damaged]
    rows: dict[type, Rows] = {
        kind: {row.id: row for row in found} | {error.row: None for error in damaged}
        for kind, (found, damaged) in scanned.items()
    }
    return sorted(
        [*unreadable, *_senseless(rows, folder), *_incomplete(rows)], key=lambda error: (error.table, error.row)
    )


def _senseless(rows: Mapping[type, Rows], folder: Path) -> Iterator[DamagedRow]:
    """The rows that can be read and make no sense, one error each."""

    @cache
    def problem(search_id: int) -> Problem | None:
        try:
            found = recorded_problem(rows[SearchRow][search_id], folder, "config")
            return found if found.dimensions else None
        except (InputError, *_WRONG):  # a space of the user's own that is gone is no damage of a row
            return None

    def damages(row: Any) -> Iterator[str]:
        yield from _orphaned(row, rows)
        match row:
            case SearchRow():
                yield from _search_damages(row, folder)
            case TrialRow():
                yield from _trial_damages(row, problem(row.search_id))
            case StudentRow():
                yield from _student_damages(row)
            case EvaluationRow():
                yield from _evaluation_damages(row, problem(row.search_id), rows[StudentRow].get(row.student_id))

    for kind, found in rows.items():
        for row in found.values():
            if row is not None and (damage := next(damages(row), None)):
                search_id = row.id if kind is SearchRow else getattr(row, "search_id", None)
                yield DamagedRow(TABLES[kind].__tablename__, row.id, damage, search_id)


def _incomplete(rows: Mapping[type, Rows]) -> Iterator[DamagedRow]:
    """The trials that lack rows; none where some rows cannot be read, which may be those."""
    trials, students, evaluations = (rows[kind].values() for kind in (TrialRow, StudentRow, EvaluationRow))
    if None in (*trials, *students, *evaluations):
        return
    numbers = {(trial.search_id, trial.number) for trial in trials}
    drawn = {student.trial_id for student in students}
    evaluated = {row.trial_id for row in evaluations if row.state == "complete"}
    for trial in trials:
        if trial.number > 0 and (trial.search_id, trial.number - 1) not in numbers:
            damage = f"its number is {trial.number}, but there is no trial {trial.number - 1}"
        elif trial.state in ("complete", "pruned") and trial.id not in drawn:
            damage = f"it is {trial.state}, but has no student"
        elif trial.state in ("complete", "pruned") and trial.id not in evaluated:
            damage = f"it is {trial.state}, but has no complete evaluation"
        else:
            continue
        yield DamagedRow("trials", trial.id, damage, trial.search_id)


def _orphaned(row: Any, rows: Mapping[type, Rows]) -> Iterator[str]:
    for column, parent in _PARENTS.items():
        if hasattr(row, column) and getattr(row, column) not in rows[parent]:
            yield f"{column} is {getattr(row, column)}, but table {TABLES[parent].__tablename__} has no such row"


def _search_damages(search: SearchRow, folder: Path) -> Iterator[str]:
    try:
        facts = recorded_problem(search, folder, "config").facts
        TypeAdapter(Facts).validate_python(asdict(facts))
        facts.teacher_metrics["accuracy"]
    except ValidationError as error:
        first = error.errors()[0]
        name, rule = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Input ")
        yield f"facts.{name} {rule}, but is {first['input']!r:.60}"
    except InputError as error:
        yield first_line(error)
    except KeyError as error:
        yield f"facts lack {error}"
    except _WRONG as error:
        yield f"config or facts have another form: {first_line(error)}"


def _trial_damages(trial: TrialRow, problem: Problem | None) -> Iterator[str]:
    if trial.state == "complete" and trial.value is None:
        yield "it is complete, but has no value"
    if problem is not None:
        yield from _parameter_damages(trial, problem)


def _parameter_damages(trial: TrialRow, problem: Problem) -> Iterator[str]:
    try:
        problem.describe(trial)
        problem.methods_of(trial).chosen(trial.parameters)
        if trial.reference is None:
            for name in trial.parameters.keys() & problem.distributions.keys():
                if not contains(problem.distributions[name], trial.parameters[name]):
                    yield f"parameters.{name} is {trial.parameters[name]!r:.60}, which the search does not allow"
    except KeyError as error:
        yield f"parameters lack {error}"
    except _WRONG as error:
        yield f"parameters: {first_line(error)}"


def _student_damages(student: StudentRow) -> Iterator[str]:
    try:
        Architecture.from_dict(student.architecture)
    except SpaceError as error:
        yield f"architecture: {first_line(error)}"


def _evaluation_damages(row: EvaluationRow, problem: Problem | None, student: StudentRow | None) -> Iterator[str]:
    if not _KEY.fullmatch(row.key):
        yield f"key is {row.key!r:.60}, which is none of an evaluation"
    if row.state == "complete" and not isinstance((row.metrics or {}).get("accuracy"), float | int):
        yield "it is complete, but its metrics have no accuracy"
    if problem is not None and student is not None and student.purpose == "search" and row.rung > problem.last_rung:
        yield f"rung is {row.rung}, but the last rung of the search is {problem.last_rung}"
