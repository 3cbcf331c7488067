import os
import sys
from collections.abc import Callable
from concurrent.futures import Future
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

import pytest

from autokd.config.parsing import parse_config
from autokd.core.references import reference_to
from autokd.database.lease_keeper import StopRequest
from autokd.errors import InputError
from autokd.searches.reporter import SILENT
from autokd.searches.session import check_files, make_executor
from search_spaces.design.registry import space
from search_spaces.spaces.nago import Nago
from workers.base import Executor
from workers.inline import InlineExecutor

GIVEN: dict[str, Any] = {
    "name": "search",
    "data": {"source": "digits"},
    "teacher": {"factory": "autokd.recipes.teachers:digits"},
    "budget": {"params": 3_000},
}


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    """A main module without a file, as in a notebook."""
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"teacher": {"factory": "__main__:mine"}}, "teacher.factory"),
        ({"teacher": GIVEN["teacher"] | {"preprocess": "__main__:mine"}}, "teacher.preprocess"),
        ({"data": {"source": "__main__:mine"}}, "data.source"),
        ({"distillation": {"method": "ctkd+__main__:mine"}}, "distillation.method"),
        ({"distillation": {"methods": ["kd", "__main__:mine"]}}, "distillation.methods"),
        ({"distillation": {"method": "kd>__main__:mine"}}, "distillation.method"),
    ],
)
def test_what_workers_cannot_import_from_a_notebook_is_refused(notebook: None, changes: Any, key: str) -> None:
    with pytest.raises(InputError) as caught:
        make_executor(parse_config(GIVEN | changes))
    assert str(caught.value) == (
        f"{key}: worker processes cannot import '__main__:mine' from a notebook or an interactive session: move it to "
        "a file such as my_module.py and name it 'my_module:mine', or search without worker processes: "
        "workers = {'engine': 'inline', 'count': 1}."
    )


def test_a_space_that_a_notebook_defines_needs_no_worker_to_import_it(notebook: None) -> None:
    mine = type("Mine", (Nago,), {"__module__": "__main__"})
    sys.modules["__main__"].Mine = mine  # type: ignore[attr-defined]
    name = reference_to(mine)
    assert isinstance(space(name), mine)
    with make_executor(parse_config(GIVEN | {"space": {"name": name}})) as executor:
        assert executor.capacity == 2


def test_without_worker_processes_a_notebook_may_define_everything(notebook: None) -> None:
    config = parse_config(
        GIVEN | {"teacher": {"factory": "__main__:mine"}, "workers": {"engine": "inline", "count": 1}}
    )
    assert make_executor(config).capacity == 1


class Elsewhere(InlineExecutor):
    """A machine that does something else than it is told to."""

    def __init__(self, function: Callable[[str], Any], argument: str) -> None:
        super().__init__()
        self.function, self.argument = function, argument

    def submit(self, function: Any, /, *args: Any) -> Any:  # type: ignore[override]
        return super().submit(self.function, self.argument)


@pytest.mark.parametrize(
    ("executor", "message"),
    [
        (
            Elsewhere(os.path.exists, "/no such/disk"),
            r"those of tcp://10\.0\.0\.1:8786 do not see the folder of searches",
        ),
        (Elsewhere(import_module, "no_such"), r"no task runs on those of tcp://.*: No module named 'no_such'\.$"),
    ],
    ids=["another disk", "without our package"],
)
def test_workers_that_cannot_work_are_refused(executor: Executor, message: str, tmp_path: Path) -> None:
    config = parse_config(GIVEN | {"workers": {"engine": "dask", "address": "tcp://10.0.0.1:8786"}})
    home = tmp_path / "home"
    check_files(InlineExecutor(), config, home, SILENT)
    with pytest.raises(InputError, match=message):
        check_files(executor, config, home, SILENT)
    assert list(home.iterdir()) == []


def test_workers_that_do_not_find_what_is_at_the_url_are_refused_and_no_folder_is_wanted(tmp_path: Path) -> None:
    url = f"memory://{uuid4().hex}"
    config = parse_config(GIVEN | {"workers": {"engine": "dask", "address": "tcp://10.0.0.1:8786", "files": url}})
    check_files(InlineExecutor(), config, tmp_path / "home", SILENT)
    elsewhere = Elsewhere(os.path.exists, "/no such/mark")
    with pytest.raises(
        InputError, match=rf"those of tcp://10\.0\.0\.1:8786 do not find at {url} what this machine puts"
    ):
        check_files(elsewhere, config, tmp_path / "home", SILENT)
    assert not (tmp_path / "home").exists()


def test_workers_import_what_a_script_defines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["__main__"], "__file__", "script.py", raising=False)
    with make_executor(parse_config(GIVEN | {"teacher": {"factory": "__main__:mine"}})) as executor:
        assert executor.capacity == 2


class Nobody(InlineExecutor):
    """A cluster without a worker."""

    def submit(self, function: Any, /, *args: Any) -> Any:  # type: ignore[override]
        return Future()


@pytest.mark.parametrize("mode", ["gracefully", "now"])
def test_a_search_that_waits_for_its_first_worker_stops_when_asked_to(
    mode: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autokd.searches.session.LOOK_SECONDS", 0.01)
    config = parse_config(GIVEN | {"workers": {"engine": "dask", "address": "tcp://10.0.0.1:8786"}})
    with pytest.raises(KeyboardInterrupt):
        check_files(Nobody(), config, tmp_path / "home", SILENT, StopRequest(mode))
