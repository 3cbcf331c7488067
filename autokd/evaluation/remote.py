"""Work for machines that do not see the folder of searches: it finds and leaves its files at a URL.

The controller's folder and each machine's cache have the same files under the same names, those that somebody there
needs, and the URL has all of them. A task names its files by paths below the controller's folder; the worker gets it
with those of its own cache instead.
"""

import hashlib
import io
import os
import pickle
import re
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from autokd.core.cache_folder import cache_folder
from autokd.core.depot import Depot
from autokd.core.files import followed_by
from autokd.evaluation.context import TrainingContext
from autokd.evaluation.task import EvaluationTask, weights_file

__all__ = ["bring", "depot_of", "is_marked", "packed", "run_remotely"]

Task = EvaluationTask | TrainingContext  # the first argument of `evaluate`, `precompute_outputs` and `prune_round`

CHANGING = re.compile(r"checkpoint|^best\.")
"""Names of the files with which a training goes on; the controller needs none of them."""


def depot_of(url: str | None, home: Path) -> Depot | None:
    """The depot of a folder of searches.

    Args:
        url: The URL of its files; None if the workers see the folder.
        home: The folder.
    """
    return None if url is None else Depot(url, home, CHANGING)


def packed(
    depot: Depot, work: Callable[..., Any], task: Task, *further: Any
) -> tuple[Callable[[str, bytes], Any], str, bytes]:
    """A function and its arguments that do this work on a machine with a folder of its own.

    What the work reads is put at the URL, unless it is there; a file that the configuration names, as it is now.

    Args:
        depot: The controller's files.
        work: The work.
        task: Its first argument, which says what it reads and writes.
        *further: Its other arguments.
    """
    file = io.BytesIO()
    packer = _Packer(file, depot.root)
    packer.dump((work, task, further))
    files = {name: depot.send_current(depot.root / name) for name in packer.named if (depot.root / name).is_file()}
    others = packer.named - files.keys()
    for place in _places(task, others, depot):
        depot.send_missing(place)
    return run_remotely, depot.url, pickle.dumps((files, others, file.getvalue()))


def bring(depot: Depot, task: Task) -> None:
    """Bring what work with this task has written, but for what only another training needs.

    Args:
        depot: The controller's files.
        task: The first argument of the work.
    """
    for place in _written(task):
        depot.fetch(place, changing=False)


def run_remotely(url: str, payload: bytes) -> Any:
    """What the work returns whose files are at the URL. Each file that it writes is there at once, a log at its end.

    What was brought stays in this machine's cache, but for the files of an evaluation.

    Args:
        url: The URL.
        payload: The packed work.
    """
    depot = _of_this_machine(url)
    files, others, pickled = pickle.loads(payload)
    work, task, further = _Unpacker(io.BytesIO(pickled), depot.root).load()
    for name, stamp in files.items():
        depot.fetch_current(depot.root / name, stamp)
    for place in _places(task, others, depot):
        depot.fetch(place, changing=True)
    try:
        with followed_by(lambda file: depot.send(file) if file.is_relative_to(depot.root) else None):
            return work(task, *further)
    finally:
        for folder in _written(task):
            depot.send_changes(folder)
        if isinstance(task, EvaluationTask):
            shutil.rmtree(task.weights.parent, ignore_errors=True)


def is_marked(url: str, name: str) -> bool:
    """Whether this machine sees the mark with this name at the URL."""
    return _of_this_machine(url).is_marked(name)


def _of_this_machine(url: str) -> Depot:
    return Depot(url, cache_folder("files") / hashlib.sha256(url.encode()).hexdigest()[:16], CHANGING)


def _places(task: Task, named: Iterable[str], depot: Depot) -> set[Path]:
    """Files and folders of the depot from which work with this task reads."""
    places = {*_written(task), *(depot.root / name for name in named)}
    if isinstance(task, EvaluationTask):
        places.update(_of_teachers(task.context))
        if task.warm_from:
            places.add(weights_file(task.folder, task.warm_from))
    return places


def _written(task: Task) -> list[Path]:
    """Folders into which it writes."""
    return [task.weights.parent] if isinstance(task, EvaluationTask) else _of_teachers(task)


def _of_teachers(context: TrainingContext) -> list[Path]:
    pruned = [] if context.pruned is None else [context.pruned.folder]
    return [*(context.stored(number).folder for number in range(context.n_teachers)), *pruned]


class _Packer(pickle.Pickler):
    """Pickler that names what lies below a folder by its place in it.

    Attributes:
        named: Places that strings name. They come from the configuration, and stand for a file or a whole folder;
            paths are ours, and stand for places of many files.
    """

    def __init__(self, file: io.BytesIO, root: Path) -> None:
        super().__init__(file)
        self._start = f"{root}{os.sep}"
        self.named: set[str] = set()

    def persistent_id(self, value: Any) -> tuple[bool, str] | None:
        if not isinstance(value, Path | str) or not str(value).startswith(self._start):
            return None
        name = str(value).removeprefix(self._start)
        if os.pardir in Path(name).parts:  # it may lead out of the folder
            return None
        if isinstance(value, str):
            self.named.add(name)
        return isinstance(value, Path), name


class _Unpacker(pickle.Unpickler):
    """Unpickler that puts these things below another folder."""

    def __init__(self, file: io.BytesIO, root: Path) -> None:
        super().__init__(file)
        self._root = root

    def persistent_load(self, place: tuple[bool, str]) -> Path | str:
        is_path, name = place
        return self._root / name if is_path else str(self._root / name)
