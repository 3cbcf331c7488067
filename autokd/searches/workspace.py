"""The workspace: the folder of all searches, and their database."""

import os
import shlex
import stat
from dataclasses import dataclass
from pathlib import Path

from autokd.database.store import Store
from autokd.errors import InputError

__all__ = ["Workspace", "default_workspace"]


@dataclass(frozen=True)
class Workspace:
    """Where searches are recorded.

    Attributes:
        folder: Holds the teachers' outputs and each search's files.
        url: The database: `postgresql+psycopg://...`, or None for the file `autokd.db` in the folder.
    """

    folder: Path
    url: str | None = None

    def open(self, create: bool = False) -> Store:
        """Open the database and upgrade it to the newest schema.

        Args:
            create: Whether to create a missing SQLite file.

        Raises:
            InputError: If there is no database, or it cannot be used.
        """
        self.check()
        if not create and not self.exists:
            raise InputError(
                f"there is no search in {self.folder}: begin one with `autokd search`, or give its folder."
            )
        return Store(self.url or self._file, create)

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
        return self.url is not None or os.path.exists(self._file)

    @property
    def option(self) -> str:
        """The option that a command line needs to find this workspace; empty for the default one."""
        return "" if self == default_workspace() else f" --home {shlex.quote(str(self.folder))}"

    @property
    def _file(self) -> Path:
        return self.folder / "autokd.db"


def default_workspace(folder: str | Path | None = None) -> Workspace:
    """The workspace in a folder, by default `AUTOKD_HOME` or `autokd-runs`, with `AUTOKD_DATABASE` if set."""
    folder = Path(folder or os.environ.get("AUTOKD_HOME") or "autokd-runs")
    return Workspace(folder.absolute(), os.environ.get("AUTOKD_DATABASE") or None)
