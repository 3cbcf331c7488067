import re
import sys
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock
from uuid import uuid4

import pytest
from object_store import Bucket

from autokd.core.depot import Depot, checked_url
from autokd.errors import DepotError, InputError

CHANGING = re.compile("checkpoint")
Make = Callable[[str], Depot]


on_a_server = pytest.mark.parametrize("scheme", ["memory", "s3"])


@pytest.fixture
def scheme() -> str:
    return "memory"


@pytest.fixture
def make(scheme: str, request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Makes the depots of several machines at one URL, each with a folder of its own."""
    url = request.getfixturevalue("bucket").url if scheme == "s3" else f"memory://{uuid4().hex}/autokd"
    return lambda machine: Depot(url, tmp_path / machine, CHANGING)


def write(depot: Depot, name: str, text: str) -> Path:
    path = depot.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def contents(folder: Path) -> dict[str, str]:
    return {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*") if file.is_file()}


@on_a_server
def test_what_one_machine_sends_another_fetches_under_the_same_names(make: Make) -> None:
    here, there = make("here"), make("there")
    for name in ("run/a/weights", "run/a/deep/er", "run/ab/weights"):
        here.send(write(here, name, name))
    there.fetch(there.root / "run/a", changing=True)
    assert contents(there.root) == {name: name for name in ("run/a/weights", "run/a/deep/er")}
    there.fetch(there.root / "run/ab/weights", changing=True)
    there.fetch(there.root / "nothing", changing=True)
    assert contents(there.root) == contents(here.root)


def test_a_file_that_is_replaced_under_its_name_is_fetched_as_it_is_now(make: Make) -> None:
    here, there = make("here"), make("there")
    file = write(here, "teacher", "old")
    there.fetch_current(there.root / "teacher", here.send_current(file))
    file.write_text("new")
    stamp = make("here").send_current(file)  # another process
    assert here.send_current(file) == stamp
    there.fetch_current(there.root / "teacher", stamp)
    assert contents(there.root) == {"teacher": "new"}
    there.url = "memory://nowhere"
    there.fetch_current(there.root / "teacher", stamp)  # it is there


def test_files_are_fetched_again_only_if_their_size_or_name_says_that_they_changed(make: Make) -> None:
    here, there = make("here"), make("there")
    for name in ("outputs", "longer", "checkpoint"):
        here.send(write(here, f"run/{name}", "new" * (1 + (name == "longer"))))
        write(there, f"run/{name}", "old")
    there.fetch(there.root / "run", changing=False)
    assert contents(there.root / "run") == {"outputs": "old", "longer": "newnew", "checkpoint": "old"}
    there.fetch(there.root / "run", changing=True)
    assert contents(there.root / "run")["checkpoint"] == "new"


@on_a_server
def test_a_file_that_was_replaced_by_another_machine_is_seen_at_once(make: Make) -> None:
    here, there = make("here"), make("there")
    for text in ("one", "two", "three"):
        here.send(write(here, "run/checkpoint", text))
        there.fetch(there.root / "run", changing=True)
        assert contents(there.root) == {"run/checkpoint": text}
    here.remove([here.root / "run/checkpoint"])
    assert there.sizes(there.root / "run") == {}


def test_what_is_at_the_url_is_not_sent_in_its_place(make: Make) -> None:
    here, there = make("here"), make("there")
    here.send(write(here, "run/a", "first"))
    for name in ("a", "b", ".a.abcdefgh.part"):
        write(there, f"run/{name}", "second")
    there.send_missing(there.root / "run")
    assert here.sizes(here.root) == {here.root / "run/a": len("first"), here.root / "run/b": len("second")}


def test_changes_of_a_folder_are_sent_and_what_is_gone_is_removed(make: Make) -> None:
    here, there = make("here"), make("there")
    for name in ("kept", "gone", "changed"):
        here.send(write(here, f"run/{name}", name))
    there.fetch(there.root / "run", changing=True)
    (there.root / "run/gone").unlink()
    write(there, "run/changed", "CHANGED")
    write(there, "run/new", "new")
    here.send(write(here, "run/others", "others"))
    there.send_changes(there.root / "run")
    third = make("third")
    third.fetch(third.root / "run", changing=True)
    assert contents(third.root / "run") == {"kept": "kept", "changed": "CHANGED", "new": "new", "others": "others"}


@on_a_server
def test_removing_what_is_not_there_is_no_error(make: Make) -> None:
    here = make("here")
    here.remove([here.root / "run/a"])
    here.clear(here.root / "run")
    for name in ("run/a", "run/b/c", "runs"):
        here.send(write(here, name, name))
    here.clear(here.root / "run")
    assert list(here.sizes(here.root)) == [here.root / "runs"]


def test_a_file_that_is_replaced_while_it_is_sent_is_sent_again(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = make("here"), make("there")
    file, put = write(here, "module.py", "old"), here._files.put_file

    def put_and_replace(path: str, name: str) -> None:
        put(path, name)
        write(here, "module.py", "newer")

    with monkeypatch.context() as patch:
        patch.setattr(here._files, "put_file", put_and_replace)
        here.send_current(file)
    stamp = here.send_current(file)
    there.fetch_current(there.root / "module.py", stamp)
    assert contents(there.root) == {"module.py": "newer"}


def test_no_mark_is_left_where_it_cannot_be_read(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    here = make("here")
    with monkeypatch.context() as patch:
        patch.setattr(here._files, "cat_file", Mock(side_effect=PermissionError("no")))
        with pytest.raises(DepotError), here.mark():
            pass
    assert here.sizes(here.root) == {}


def test_a_mark_is_seen_by_others_as_long_as_it_is_there(make: Make) -> None:
    here, there = make("here"), make("there")
    with here.mark() as name:
        assert there.is_marked(name)
    assert not there.is_marked(name)
    assert here.sizes(here.root) == {}


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("/shared/folder", "must be a URL such as s3://bucket/prefix"),
        ("simplecache::s3://bucket", "must be a URL"),
        ("file:///shared", "must not be a folder"),
        ("s3://key:hush@bucket/prefix", "must hold no password"),
        ("https://account.example/container?sig=hush", "must hold no password"),
    ],
)
def test_a_url_that_cannot_be_one_of_a_depot_is_refused_without_showing_it(url: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as refusal:
        checked_url(url)
    assert "hush" not in str(refusal.value)
    checked_url("abfs://container@account.dfs.core.windows.net/prefix")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("s3://no-such-bucket/prefix", "The specified bucket does not exist"),
        ("nonsense://bucket/prefix", "Protocol not known: nonsense"),
        ("gs://bucket/prefix", ".*gcsfs.*"),
    ],
)
@pytest.mark.usefixtures("bucket")
def test_a_url_that_cannot_be_used_is_one_line_with_the_reason(url: str, reason: str, tmp_path: Path) -> None:
    with (
        pytest.raises(DepotError, match=rf"^workers\.files: {url} cannot be used: {reason}\.$"),
        Depot(url, tmp_path, CHANGING).mark(),
    ):
        pass


def test_without_credentials_the_line_says_so(bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(DepotError, match=r"cannot be used: Unable to locate credentials\.$"):
        Depot(bucket.url, tmp_path, CHANGING).sizes(tmp_path)


def test_wrong_credentials_are_told_and_not_shown(bucket: Bucket, tmp_path: Path) -> None:
    with (
        bucket.refusing(),
        pytest.raises(DepotError, match=r"The AWS Access Key Id you provided does not exist") as told,
    ):
        Depot(bucket.url, tmp_path, CHANGING).sizes(tmp_path)
    assert bucket.variables["AWS_SECRET_ACCESS_KEY"] not in str(told.value)


def test_a_missing_package_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(InputError, match=r"^workers.files = 's3://a/b' needs s3fs: pip install 'autokd\[s3\]'\.$"):
        Depot("s3://a/b", tmp_path, CHANGING).sizes(tmp_path)
