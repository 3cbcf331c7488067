"""A search as an Optuna study in a file, for optuna-dashboard and whatever else reads studies."""

from datetime import datetime
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory
from warnings import catch_warnings

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial

from autokd.core.files import write_atomically
from autokd.errors import InputError
from autokd.searches.recorded import RecordedSearch
from autokd.searches.study import quiet_optuna, to_study
from autokd.searches.trial_record import TrialRecord

__all__ = ["write_study"]


def write_study(result: RecordedSearch, file: Path, force: bool = False) -> int:
    """Write a search as an Optuna study of its name into a new SQLite file, and return the number of trials.

    Values and reports are those that the optimiser sees: accuracy first, then the costs that are objectives; the report
    at step `r + 1` is that of rung `r`. Times are those of a clock. What the first student of a trial costs, why a
    trial ended and how long it took are user attributes, so that pages can plot them.

    Args:
        result: The search.
        file: File to write.
        force: Whether the file may exist.

    Raises:
        InputError: If the file exists, or cannot be written.
    """
    if file.exists() and not force:
        raise InputError(f"{file} exists: choose another name, or overwrite it with --force.")
    problem, records = result.problem, result.trials
    study = to_study(records, problem.distributions, costs=problem.costs)
    trials = [_as_shown(trial, record) for trial, record in zip(study.trials, records, strict=True)]

    def write(temporary: Path) -> None:
        with TemporaryDirectory() as folder:
            plain = Path(folder) / "study.db"  # a URL would take `?` and `%` of the user's path for its own
            fill(plain)
            copyfile(plain, temporary)

    def fill(plain: Path) -> None:
        storage = RDBStorage(f"sqlite:///{plain}")
        with quiet_optuna(), catch_warnings(action="ignore", category=ExperimentalWarning):
            written = optuna.create_study(study_name=result.name, storage=storage, directions=study.directions)
            written.set_metric_names(["accuracy", *problem.costs])
        for name, value in _facts(result).items():
            written.set_user_attr(name, value)
        written.add_trials(trials)
        storage.remove_session()
        storage.engine.dispose()

    try:
        write_atomically(file, write)
    except OSError as error:
        raise InputError(f"{file} cannot be written: {error.strerror}.") from None
    return len(trials)


def _as_shown(trial: FrozenTrial, record: TrialRecord) -> FrozenTrial:
    """A trial with the times of a clock, and what people want to know of it."""
    row = record.trial
    trial.datetime_start = _local(row.created_at)
    trial.datetime_complete = None if row.finished_at is None else _local(row.finished_at)
    attributes = {"state": row.state, "reason": row.reason, "seconds": row.seconds, "rung": row.rung}
    for student in record.students[:1]:
        attributes |= vars(student.cost) | {"digest": student.digest}
    trial.user_attrs = {name: value for name, value in attributes.items() if value is not None}
    return trial


def _facts(result: RecordedSearch) -> dict[str, object]:
    """What is the same for all trials."""
    progress = result.progress
    return {
        "status": progress.status,
        "teacher_accuracy": progress.teacher_accuracy,
        "teacher_params": progress.teacher_params,
        "limits": dict(result.problem.budget.limits),
        "references": {
            reference.name: reference.accuracy for reference in progress.references if reference.state == "complete"
        },
    }


def _local(at: datetime) -> datetime:
    """A time as Optuna keeps it: of this machine, without a zone."""
    return at.astimezone().replace(tzinfo=None)
