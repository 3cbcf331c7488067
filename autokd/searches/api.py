"""The public way to search: begin, find and list searches."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from autokd.config.parsing import checked_copy, parse_config
from autokd.config.schema import SearchConfig
from autokd.config.toml import make_paths_absolute, read_config
from autokd.core.references import reference_to
from autokd.core.spelling import free_name
from autokd.data.dataset import Dataset
from autokd.database.reading import Reader
from autokd.errors import InputError
from autokd.evaluation.precompute import store_shapes
from autokd.searches.data_from_python import data_source
from autokd.searches.method_check import check_methods
from autokd.searches.preflight import (
    broken_limits,
    check_budget,
    check_config,
    check_storage,
    check_workers,
    checks,
    find_facts,
    survey,
    with_feasible_spaces,
    with_own_dimensions,
)
from autokd.searches.printer import default_reporter
from autokd.searches.problem import Problem
from autokd.searches.recall import recall, usable
from autokd.searches.remarks import prunes_early
from autokd.searches.reporter import SILENT, Reporter, Silent
from autokd.searches.result import SearchResult
from autokd.searches.speed import measure_speed, typical_students
from autokd.searches.workspace import Workspace, default_workspace
from autokd.teachers.from_python import teacher_from_python, teacher_source
from autokd.teachers.outputs.shapes import OutputShapes
from autokd.teachers.process_cache import forget_files
from autokd.teachers.registry import Teacher
from search_spaces.design.budget import Budget
from search_spaces.design.envelope import Offer
from search_spaces.design.space import Space
from workers.worker_process import leave_if_importing

__all__ = ["Checked", "begin", "check", "find", "find_all", "search"]


def search(
    *,
    teacher: str | Path | Callable[[Tensor], Any] | Mapping[str, Any],
    data: str | Path | Dataset | Mapping[str, Any],
    budget: Budget | Mapping[str, int],
    weights: str | Path | None = None,
    floor: float | None = None,
    teacher_settings: Mapping[str, Any] | None = None,
    data_settings: Mapping[str, Any] | None = None,
    space: str | type[Space] | Sequence[str | type[Space]] | None = None,
    ranges: Mapping[str, Any] | None = None,
    trials: int = 60,
    name: str = "search",
    home: Workspace | str | Path | None = None,
    reporter: Reporter | None = None,
    **sections: Any,
) -> "SearchResult":
    """Search the student for a teacher, and return what was found.

    Workers are processes of their own, so a script calls this under `if __name__ == "__main__":`.

    Args:
        teacher: A module or any callable from a normalised float batch (images `batch x channels x height x width`,
            signals `batch x channels x length`, vectors `batch x features`) to logits; "module:function" that returns
            one; an `.onnx` file; or a teacher's outputs: a dict of the arrays `train`, `validation` and `test`, or an
            `.npz` file or folder of them.
        data: A data set or a dict of arrays, or where they are: "fashion-mnist", "digits", a `.npz` file, a folder, or
            "module:function".
        budget: What the device allows: `autokd.Budget(params=100_000)`, or a dict of its limits.
        weights: File of the teacher's weights, where `teacher` is a name.
        floor: Smallest validation accuracy of the teacher at which the search starts.
        teacher_settings: Everything else that the section `[teacher]` may say:
            `{"resize": 224, "mean": [0.5], "deviation": [0.5]}`.
        data_settings: Everything else that the section `[data]` may say: `{"image_size": 64, "subset": 2000}`.
        space: Name of the search space, or a class of your own; a list of several lets the search choose among them, by
            default among random graphs, known blocks and slim copies of the teacher.
        ranges: Narrower ranges for the space's dimensions, or values that fix them. With several spaces, the space's
            name comes first: `{"blocks.head_ratio": 0}`.
        trials: Number of trials.
        name: Name of the search; a number is appended if it is taken.
        home: Folder of all searches; `AUTOKD_HOME` or `autokd-runs` by default.
        reporter: Hears of the progress; by default lines are printed on a terminal and in a notebook.
        sections: Everything else that a `search.toml` may say: `seed=1`, `training={"rungs": [1, 3]}`.

    Raises:
        InputError: If something that was given cannot be used.
        BudgetInfeasibleError: If no student meets the budget.
        InterruptedSearchError: If the search was interrupted; `find(name).resume()` goes on.
    """
    leave_if_importing()
    place = _place(home)
    source, in_data = teacher_source(teacher, place.folder), dict(data_settings or {})
    known = str(data) if isinstance(data, str | Path) else "data"
    values: dict[str, Any] = {
        "name": name,
        "trials": trials,
        "budget": budget,
        "space": _space_section(space) | {"ranges": dict(ranges or {})},
        "teacher": source | {"weights": weights and str(weights), "floor": floor} | dict(teacher_settings or {}),
        "data": {"source": known, **in_data},
        **sections,
    }
    validation = parse_config(values).data.validation  # which is checked before that many samples are held out
    values["data"] = {"source": data_source(data, place, validation), **in_data}
    make_paths_absolute(values, Path.cwd())
    return begin(parse_config(values), place, None if source else teacher, reporter).resume()  # type: ignore[arg-type]


def begin(
    config: SearchConfig | str | Path,
    home: Workspace | str | Path | None = None,
    teacher: Callable[[Tensor], Any] | None = None,
    reporter: Reporter | None = None,
    command: Sequence[str] = (),
    renames: bool = True,
) -> "SearchResult":
    """Check everything and record a new search, which `SearchResult.resume` then runs, or `SearchResult.asking`.

    Nothing is recorded if a check fails.

    Args:
        config: The search, or the file `search.toml` that describes it.
        home: Where it is recorded.
        teacher: The teacher, where the configuration does not name one.
        reporter: Hears of the progress; by default lines are printed on a terminal and in a notebook.
        command: The command line, to be recorded.
        renames: Whether a number is appended to a name that is taken; else it is an error.

    Raises:
        InputError: If something that was given cannot be used.
        BudgetInfeasibleError: If no student meets the budget.
    """
    leave_if_importing()
    started = time.monotonic()
    config = checked_copy(config) if isinstance(config, SearchConfig) else read_config(Path(config))
    home, reporter = _place(home), reporter or default_reporter()
    home.check()
    if home.exists:
        with home.open() as store:
            config = _named(config, home, store, reporter, renames)
    checked = check(config, home, teacher, reporter)
    problem = checked.problem
    with home.open(create=True, notify=reporter.notify) as store:
        config = _named(config, home, store, reporter, renames)  # another search may have begun meanwhile
        recorded = asdict(problem.facts) | {
            "command": list(command or sys.argv),
            "data_seconds": round(time.monotonic() - started, 3),
        }
        result = SearchResult(home, config.name, checked.teacher, reporter)
        with result.interruptible("resume"):
            store_shapes(problem.context, checked.shapes)
            store.create_search(config.name, config.seed, config.to_dict(), config.digest, recorded)
            reporter.began(config.name)
    return result


@dataclass(frozen=True)
class Checked:
    """A search that may begin.

    Attributes:
        problem: What is searched, with what was found out about data, teacher and device.
        offers: What the spaces offer under each limit of the budget.
        shapes: Shapes of the teacher's outputs.
        teacher: The teacher, where it was given as an object.
    """

    problem: Problem
    offers: Sequence[Offer]
    shapes: OutputShapes
    teacher: Teacher | None


def check(
    config: SearchConfig,
    home: Workspace,
    teacher: Callable[[Tensor], Any] | None = None,
    reporter: Reporter = SILENT,
) -> Checked:
    """Check everything before a search begins; nothing is recorded.

    What needs neither data nor teacher is checked first.

    Args:
        config: The search.
        home: Where it would be recorded.
        teacher: The teacher, where the configuration does not name one.
        reporter: Hears of the progress, and of what was found and is offered.

    Raises:
        InputError: If something that was given cannot be used.
        BudgetInfeasibleError: If no student meets the budget.
    """
    with checks():
        forget_files()
        check_config(config)
        earlier = recall(config, home)
        check_workers(config, home.folder, reporter)
        reporter.loading()
        wrapped = teacher_from_python(teacher, config)
        facts = find_facts(config, wrapped, reporter)
        problem = Problem(config, facts, home.folder)
        offers = survey(problem)
        broken = broken_limits(offers)
        problem = with_feasible_spaces(problem, broken)
        students = typical_students(problem)
        check_methods(problem, students, wrapped)
        problem = replace(problem, facts=measure_speed(problem, students, wrapped))
        reporter.checked(problem.facts, offers)
        if problem.facts.rungs:
            reporter.notify(_shortened(config, problem.facts.rungs))
        if line := prunes_early(problem):
            reporter.notify(line)
        check_budget(broken, reporter)
        problem = replace(problem, facts=replace(problem.facts, earlier=usable(earlier, problem, reporter)))
        problem = with_own_dimensions(problem)
        shapes = check_storage(problem, wrapped)
    return Checked(problem, offers, shapes, wrapped)


def find(
    name: str,
    home: Workspace | str | Path | None = None,
    reporter: Reporter | None = None,
    teacher: Callable[[Tensor], Any] | None = None,
) -> "SearchResult":
    """The search of that name.

    Args:
        name: Of the search.
        home: Where it is recorded.
        reporter: Hears of the progress; by default lines are printed on a terminal and in a notebook.
        teacher: The teacher, where the search began with an object: wanted by `resume` and `train` only as far as its
            outputs are not stored yet.

    Raises:
        InputError: If there is none, or it began with another teacher.
    """
    result = SearchResult(_place(home), name, None, reporter or default_reporter())
    row = result.row
    result = replace(result, teacher=teacher_from_python(teacher, result.problem_of(row).config))
    digest = row.facts["teacher_digest"]
    if result.teacher and result.teacher.digest != digest:
        raise InputError(
            f"search {name!r} began with another teacher: the digest of this one is {result.teacher.digest[:12]}, "
            f"but was {digest[:12]}."
        )
    return result


def find_all(home: Workspace | str | Path | None = None) -> list["SearchResult"]:
    """All searches, the oldest first; none where there is no database yet."""
    home = _place(home)
    if not home.exists:
        return []
    with home.open() as store:
        return [SearchResult(home, row.name, None, Silent()) for row in store.searches()]


def _space_section(space: str | type[Space] | Sequence[str | type[Space]] | None) -> dict[str, Any]:
    if space is None:
        return {}
    if isinstance(space, str | type):
        return {"name": _space_name(space)}
    return {"names": [_space_name(each) for each in space]}


def _space_name(space: str | type[Space]) -> str:
    return space if isinstance(space, str) else reference_to(space)


def _shortened(config: SearchConfig, rungs: Sequence[float]) -> str:
    """That the rungs were shortened, and why."""
    before, now = (", ".join(f"{rung:g}" for rung in each) for each in (config.training.rungs, rungs))
    return (
        f"rungs of {now} epochs instead of {before}, so that {config.min_trials} trials fit into {config.seconds:g} s "
        "at the measured speed"
    )


def _place(home: Workspace | str | Path | None) -> Workspace:
    return home if isinstance(home, Workspace) else default_workspace(home)


def _named(config: SearchConfig, home: Workspace, store: Reader, reporter: Reporter, renames: bool) -> SearchConfig:
    """The configuration with a name that no search has; another one than it had is said."""
    taken, name = {row.name for row in store.searches()}, config.name
    if name not in taken:
        return config
    if not renames:
        raise InputError(
            f"there is a search {name!r} in {home.folder} already: choose another name, go on with it by "
            f"`autokd resume {name}{home.option}`, or remove it by `autokd delete {name}{home.option}`."
        )
    free = free_name(name, taken)
    reporter.notify(f"there is a search {name!r} already: this one is called {free!r}")
    return config.model_copy(update={"name": free})
