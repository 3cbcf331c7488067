import threading
import time

from sqlalchemy import text

from autokd.database.lease import acquire
from autokd.database.removal import delete_rows, leftovers
from autokd.database.store import Store


def test_searches_that_are_deleted_at_once_may_leave_the_same_folder(store: Store) -> None:
    store.create_search("first", 0, {}, "digest", {})
    folders, lease = ["searches/first", "teachers/shared"], acquire(store, "first")
    deletion = threading.Thread(target=delete_rows, args=(store, lease, folders))
    with store.transaction() as other:
        other.execute(text("INSERT INTO leftovers (folder) VALUES ('teachers/shared')"))
        deletion.start()
        time.sleep(0.3)  # in which it comes as far as it can
    deletion.join()
    assert store.searches() == []
    assert leftovers(store) == folders
