"""What can go wrong with a database; the command line turns each into one line and exit code 2.

The children are named by what happened; N818 would append Error to each.
"""

from autokd.errors import InputError

__all__ = [
    "DamagedRow",
    "DatabaseError",
    "DatabaseGone",
    "DatabaseUnavailable",
    "LeaseHeld",
    "LeaseLost",
    "NotOurDatabase",
    "NotRunning",
    "SearchExists",
    "UnknownJob",
    "UnknownRevision",
    "UnknownSearch",
]


class DatabaseError(InputError):
    """Base of all errors of this package."""


class DamagedRow(DatabaseError):  # noqa: N818
    """A row that makes no sense: the database was edited, or only part of it was restored.

    Args:
        table: Its table.
        row: Its id.
        damage: What is wrong with it.
        search_id: Id of the search of which it is, where that is known.
    """

    def __init__(self, table: str, row: object, damage: str, search_id: int | None = None) -> None:
        super().__init__(
            f"row {row} of table {table} is damaged: {damage}; `autokd doctor --database` lists all that are."
        )
        self.table, self.row, self.damage, self.search_id = table, row, damage, search_id


class DatabaseUnavailable(DatabaseError):  # noqa: N818
    """The database cannot be reached, locked or written."""


class DatabaseGone(DatabaseUnavailable):
    """The database cannot be reached, or is locked or full, and may be back later."""


class NotOurDatabase(DatabaseError):  # noqa: N818
    """The file is no database, or another program's."""


class NotRunning(DatabaseError):  # noqa: N818
    """No controller runs the search."""


class UnknownRevision(DatabaseError):  # noqa: N818
    """The database was written by a version that knows more than this one."""


class UnknownSearch(DatabaseError):  # noqa: N818
    """No search has this name."""


class UnknownJob(DatabaseError):  # noqa: N818
    """The queue has no such job."""


class SearchExists(DatabaseError):  # noqa: N818
    """A search has this name already."""


class LeaseHeld(DatabaseError):  # noqa: N818
    """Another controller runs this search."""


class LeaseLost(DatabaseError):  # noqa: N818
    """The controller no longer owns the search; nothing was written."""
