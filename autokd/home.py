"""The folder of all searches, and the database in it."""

import os
from dataclasses import dataclass
from pathlib import Path

from autokd.database.store import Store
from autokd.errors import InputError

__all__ = ["Home", "default_home"]


@dataclass(frozen=True)
class Home:
    """Where searches live.

    Attributes:
        folder: Holds the teachers' outputs and each search's files.
        url: The database: `postgresql+psycopg://...`, or None for the file `autokd.db` in the folder.
    """

    folder: Path
    url: str | None = None

    def open(self, create: bool = False) -> Store:
        """The database, brought to the newest schema.

        Args:
            create: Whether a missing SQLite file is made.

        Raises:
            InputError: If there is none, or it cannot be used.
        """
        file = self.folder / "autokd.db"
        if self.url is None and not create and not file.exists():
            raise InputError(
                f"there is no search in {self.folder}: begin one with `autokd search`, or give its folder."
            )
        return Store(self.url or file, create)


def default_home(folder: Path | None = None) -> Home:
    """The folder, else `AUTOKD_HOME`, else `autokd-runs`; the database of `AUTOKD_DATABASE`, else a file in it."""
    folder = folder or Path(os.environ.get("AUTOKD_HOME", "autokd-runs"))
    return Home(folder.absolute(), os.environ.get("AUTOKD_DATABASE"))
