"""The rows of a search are deleted, and its folders recorded until they are removed."""

from collections.abc import Iterable

from sqlalchemy import delete, select, text, update

from autokd.database.models import Evaluation, Event, Job, Leftover, Student, Trial
from autokd.database.queue import LIVE
from autokd.database.reading import Reader
from autokd.database.store import Store
from autokd.database.writing import Lease, fenced

__all__ = ["delete_rows", "forget_leftover", "leftovers"]

_LEAVE = text("INSERT INTO leftovers (folder) VALUES (:folder) ON CONFLICT DO NOTHING")  # another deletion may be first


def delete_rows(store: Store, lease: Lease, folders: Iterable[str]) -> None:
    """Delete the search of a lease, with its trials, students, evaluations and events, and cancel its jobs.

    Args:
        store: The database.
        lease: Lease of the search, from `lease.acquire`.
        folders: Its folders, which are `leftovers` until `forget_leftover`.
    """
    with store.transaction() as session:
        search = fenced(session, lease)
        jobs = Job.search == search.name, Job.state.in_(LIVE)  # left by their processes: the search is ours
        session.execute(update(Job).where(*jobs).values(state="cancelled"))
        for model in (Event, Evaluation, Student, Trial):
            session.execute(delete(model).where(model.search_id == search.id))
        session.delete(search)
        for folder in folders:
            session.execute(_LEAVE, {"folder": folder})


def leftovers(store: Reader) -> list[str]:
    """Folders of deleted searches that are still to be removed, relative to the folder of all searches."""
    with store.session() as session:
        return list(session.scalars(select(Leftover.folder).order_by(Leftover.folder)))


def forget_leftover(store: Store, folder: str) -> None:
    """Record that a folder of a deleted search is removed."""
    with store.transaction() as session:
        session.execute(delete(Leftover).where(Leftover.folder == folder))
