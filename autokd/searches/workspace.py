"""The workspace: the folder of all searches, and their database."""

import math
import os
import shlex
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from sqlalchemy import Engine

from autokd.database.engine import database_url, open_engine, shown
from autokd.database.outages import Patience
from autokd.database.store import Store
from autokd.errors import InputError

__all__ = ["Workspace", "default_workspace"]


@dataclass(frozen=True)
class Workspace:
    """Where searches are recorded.

    Attributes:
        folder: Holds the teachers' outputs and each search's files.
        url: The database: `postgresql://...`, or None for the file `autokd.db` in the folder.
        patience_seconds: The longest outage of the database that a running search waits out.
        engine: What `open` uses within `kept_open`; otherwise each store has its own.
    """

    folder: Path
    url: str | None = field(default=None, repr=False)  # it may hold a password
    patience_seconds: float = 600.0
    engine: Engine | None = field(default=None, repr=False, compare=False)

    def open(self, create: bool = False, notify: Callable[[str], None] | None = None) -> Store:
        """Open the database and upgrade it to the newest schema; a server's that is empty gets its tables.

        Args:
            create: Whether to create a missing SQLite file.
            notify: Called with a line when an outage begins and when it ends; without it, an outage is an error.

        Raises:
            InputError: If there is no database, or it cannot be used.
        """
        self.check()
        if not create and not self.exists:
            raise InputError(
                f"there is no search in {self.folder}: begin one with `autokd search`, or give its folder."
            )
        patience = Patience() if notify is None else Patience(self.patience_seconds, notify)
        return Store(self.engine or self.url or self.file, create or self.url is not None, patience)

    @contextmanager
    def kept_open(self) -> Iterator["Workspace"]:
        """A block with the same workspace whose stores share one engine, so that `open` is cheap; for many threads."""
        engine = open_engine(database_url(self.url or self.file), follows=True)
        try:
            yield replace(self, engine=engine)
        finally:
            engine.dispose()

    def check(self) -> None:
        """Check that the folder can be one: nothing else is there, and its path is none that the system refuses.

        Raises:
            InputError: If it cannot.
        """
        try:
            is_folder = stat.S_ISDIR(self.folder.stat().st_mode)
        except FileNotFoundError:
            return
        except OSError as error:
            raise InputError(f"the folder of searches {self.folder} cannot be used: {error.strerror}.") from None
        if not is_folder:
            raise InputError(f"the folder of searches {self.folder} cannot be used: it is a file.")

    @property
    def exists(self) -> bool:
        """Whether there is a database, as far as can be told without opening it."""
        return self.url is not None or os.path.exists(self.file)

    @property
    def database(self) -> str:
        """The database as it may be printed, without its password."""
        return shown(database_url(self.url)) if self.url else str(self.file)

    def search_folder(self, search: str) -> Path:
        """Folder of the files of a search."""
        return self.folder / "searches" / search

    def evaluations(self, search: str) -> Path:
        """Folder of the files of all evaluations of a search."""
        return self.search_folder(search) / "evaluations"

    @property
    def exports(self) -> Path:
        """Folder of the service's exports, each named by its search."""
        return self.folder / "service" / "exports"

    @property
    def archives(self) -> Path:
        """Folder of the zips of these exports, each in a folder named by its search."""
        return self.folder / "service" / "archives"

    def own_folders(self, search: str) -> tuple[Path, ...]:
        """Folders that no other search uses: those of its files, of its export and of the zip of that."""
        return self.search_folder(search), self.exports / search, self.archives / search

    @property
    def option(self) -> str:
        """The option that a command line needs to find this workspace; empty for the default one."""
        return "" if self == default_workspace() else f" --home {shlex.quote(str(self.folder))}"

    @property
    def file(self) -> Path:
        """The SQLite file, unless the database is on a server."""
        return self.folder / "autokd.db"


def default_workspace(folder: str | Path | None = None) -> Workspace:
    """The workspace in a folder, by default `AUTOKD_HOME` or `autokd-runs`, with `AUTOKD_DATABASE` if set.

    Raises:
        InputError: If `AUTOKD_DATABASE` or `AUTOKD_DATABASE_PATIENCE` makes no sense.
    """
    folder = Path(folder or os.environ.get("AUTOKD_HOME") or "autokd-runs")
    url, patience = os.environ.get("AUTOKD_DATABASE") or None, os.environ.get("AUTOKD_DATABASE_PATIENCE")
    if url and "://" not in url:
        raise InputError("AUTOKD_DATABASE must be a URL such as postgresql://USER:PASSWORD@HOST/NAME, but has no ://.")
    if url and url.startswith("sqlite"):
        raise InputError(
            "AUTOKD_DATABASE must be the URL of a server, postgresql://USER:PASSWORD@HOST/NAME: "
            "a SQLite file is autokd.db in the folder that AUTOKD_HOME or --home names."
        )
    workspace = Workspace(folder.absolute(), url)
    return replace(workspace, patience_seconds=_seconds(patience)) if patience else workspace


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise InputError(f"AUTOKD_DATABASE_PATIENCE must be a number of seconds from 0 on, but is {text!r}.")
    return seconds
