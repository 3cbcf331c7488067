"""The command `teach`: trains a teacher, and prints its figures and the lines that name its weights in a search."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autokd.cli.output import Output, show_json, show_text
from autokd.cli.reporting import teacher_reporter
from autokd.core.speed import worker_threads
from autokd.searches.tables import count, counted, duration, facts_table, percent
from autokd.teachers.training import train_teacher
from autokd.teachers.training_plan import TeacherTraining

__all__ = ["teach", "toml_lines"]


def teach(training: TeacherTraining, source: Path, force: bool, output: Output) -> None:
    """Train a teacher with as many threads as all workers of the search have, and print the result.

    Args:
        training: What is trained.
        source: The file, or the name of the recipe, that the lines to paste are for.
        force: Whether files may be replaced.
        output: What to print: text or one JSON value.
    """
    workers = training.config.workers
    with worker_threads(workers.count * workers.threads), teacher_reporter(to_stderr=output == "json") as on_epoch:
        figures = train_teacher(training, force, on_epoch)
    lines = toml_lines(training, source.parent if source.suffix == ".toml" else None)
    if output == "json":
        files = {"weights": training.weights, "figures": training.figures, "checkpoints": training.checkpoints}
        show_json({"files": _text(files), "toml": lines} | figures)
        return
    show_text(facts_table(_facts(training, figures)))
    show_text("\n".join(["", "For the section [teacher] of a search:", "", *lines]))


def toml_lines(training: TeacherTraining, folder: Path | None) -> list[str]:
    """Lines for the section `[teacher]` with which a search uses the trained weights.

    A teacher that has weights already gets the new ones as an alternative.

    Args:
        training: The training.
        folder: Folder of the file that the lines are for, to which paths are relative if they are in it; None for
            absolute paths.
    """
    teacher, new = training.config.teacher, str(training.weights.resolve())
    if teacher.weights is None or teacher.weights == new:
        entries: dict[str, str | Sequence[str]] = {"weights": _relative(new, folder)}
    else:
        files = dict.fromkeys((*teacher.alternatives, new))
        entries = {"alternatives": [_relative(file, folder) for file in files]}
    if training.checkpoints:
        entries["checkpoints"] = [_relative(str(file.resolve()), folder) for file in training.checkpoints]
    return [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in entries.items()]


def _facts(training: TeacherTraining, figures: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        ("teacher", f"{count(figures['parameters'])} parameters, {training.config.teacher.factory}"),
        ("validation", percent(figures["validation"]["accuracy"])),
        ("test", percent(figures["test"]["accuracy"])),
        ("trained", f"{counted(training.epochs, 'epoch')} in {duration(figures['seconds'])}"),
        ("kept", f"the weights of epoch {figures['kept_epoch']:g}"),
        ("written", f"{training.weights} and {training.figures.name}"),
    ]


def _text(files: dict[str, Any]) -> dict[str, Any]:
    return {name: [str(each) for each in file] if isinstance(file, list) else str(file) for name, file in files.items()}


def _relative(file: str, folder: Path | None) -> str:
    """The file relative to the folder if it is in it; a file in a package, "package:file", is left as it is."""
    if folder is None or not Path(file).is_relative_to(folder.resolve()):
        return file
    return str(Path(file).relative_to(folder.resolve()))
