from pathlib import Path

from autokd.searches.workspace import Workspace


def test_a_workspace_that_is_kept_open_notices_another_database_in_the_place_of_its_own(tmp_path: Path) -> None:
    engines = set()
    with Workspace(tmp_path).kept_open() as home:
        for name in ("first", "second"):
            with home.open(create=True) as store:
                store.create_search(name, 0, {}, "", {})
                assert [row.name for row in store.searches()] == [name]
                engines.add(store.engine)
            for file in tmp_path.iterdir():
                file.unlink()
    assert len(engines) == 1
