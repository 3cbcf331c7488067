"""A depot: a copy of the files below a folder at a URL of fsspec, such as a bucket of an object store."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from re import Pattern
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from autokd.core.extras import needs
from autokd.core.files import UNFINISHED, write_atomically
from autokd.errors import AutoKDError, DepotError, first_line

__all__ = ["Depot", "checked_url"]

Stamp = tuple[int, int]  # size in bytes and time of the last change in nanoseconds


class Depot:
    """The files below a folder of this machine, as they are at a URL, under the same names.

    Files appear there whole, as an object store lets them, and credentials come from the environment of each process.
    Every method raises `DepotError` with the URL if it cannot be used.

    Args:
        url: The URL, see `checked_url`.
        root: The folder; everything that is given by a path lies in it.
        changing: Pattern of the names of files that are overwritten in time. All others never change, but for those
            that are sent and fetched as they are now.
    """

    def __init__(self, url: str, root: Path, changing: Pattern[str]) -> None:
        self.url = url.rstrip("/")
        self.root = root
        self._changing = changing
        self._same: dict[Path, Stamp] = {}  # size and time of files that are at the URL as they are here

    def fetch(self, place: Path, changing: bool) -> None:
        """Bring a file, or all files of a folder, that are at the URL and not here, or here in another size.

        Args:
            place: The file or folder.
            changing: Whether those that change are brought, too; then always.
        """
        for file, size in self.sizes(place).items():
            changes = self._changing.search(file.name) is not None
            if changes and not changing:
                continue
            if changes or not file.is_file() or file.stat().st_size != size:
                self._get(file)
            self._same[file] = _stamp(file)

    def fetch_current(self, file: Path, stamp: Stamp) -> None:
        """Bring a file that is not here with this size and time, those of the file that was sent."""
        if not file.is_file() or _stamp(file) != stamp:
            self._get(file)
            os.utime(file, ns=(stamp[1], stamp[1]))

    def send_current(self, file: Path) -> Stamp:
        """Put a file at the URL unless this process has done so; its size and time, for others to fetch it."""
        if self._same.get(file) != _stamp(file):
            self.send(file)
        return self._same[file]

    def send(self, file: Path) -> None:
        """Put a file at the URL, in place of the one that is there."""
        stamp = _stamp(file)  # taken first: a file that changes meanwhile is sent again
        with self._reaching():
            self._files.put_file(str(file), self._name(file))
        self._same[file] = stamp

    def send_missing(self, place: Path) -> None:
        """Put a file, or all files of a folder, at the URL, as far as there are none."""
        unknown = [file for file in _files_in(place) if file not in self._same]
        there = self.sizes(place) if unknown else {}
        for file in unknown:
            if file in there:
                self._same[file] = _stamp(file)
            else:
                self.send(file)

    def send_changes(self, folder: Path) -> None:
        """Put at the URL what changed in a folder since it was fetched or sent, and remove there what is gone here."""
        files = set(_files_in(folder))
        self.remove(file for file in list(self._same) if file.is_relative_to(folder) and file not in files)
        for file in sorted(files):
            if self._same.get(file) != _stamp(file):
                self.send(file)

    def remove(self, files: Iterable[Path]) -> None:
        """Remove files at the URL, some of which may be gone."""
        with self._reaching():
            for file in files:
                self._same.pop(file, None)
                with suppress(FileNotFoundError):
                    self._files.rm_file(self._name(file))

    def clear(self, folder: Path) -> None:
        """Remove all files of a folder at the URL."""
        with self._reaching(), suppress(FileNotFoundError):
            self._files.rm(self._name(folder), recursive=True)

    def sizes(self, place: Path) -> dict[Path, int]:
        """Sizes in bytes of the file, or of all files of the folder, that are at the URL, by their paths here."""
        start = len(self._place) + 1
        with self._reaching():
            found = self._files.find(self._name(place), detail=True)
            return {  # of a file that is asked for itself, some file systems say nothing
                self.root / name[start:]: int((details or self._files.info(name))["size"])
                for name, details in sorted(found.items())
            }

    @contextmanager
    def mark(self) -> Iterator[str]:
        """A block in which a mark with this name is at the URL, which others see by `is_marked`."""
        name = f".autokd-{uuid4().hex}"
        with self._reaching():
            self._files.pipe_file(f"{self._place}/{name}", b"autokd")
        try:
            with self._reaching():
                self._files.cat_file(f"{self._place}/{name}")
            yield name
        finally:
            self.remove([self.root / name])

    def is_marked(self, name: str) -> bool:
        """Whether the mark with this name is at the URL and can be read."""
        with self._reaching(), suppress(FileNotFoundError):
            return bool(self._files.cat_file(f"{self._place}/{name}"))
        return False

    def _name(self, path: Path) -> str:
        """The name of a file or folder in the words of fsspec."""
        return f"{self._place}/{path.relative_to(self.root).as_posix()}".removesuffix("/.")

    def _get(self, file: Path) -> None:
        with self._reaching():
            write_atomically(file, lambda part: self._files.get_file(self._name(file), str(part)))

    @property
    def _files(self) -> Any:
        return self._system[0]

    @property
    def _place(self) -> str:
        return self._system[1]

    @cached_property
    def _system(self) -> tuple[Any, str]:
        """The file system and the place in it; nothing is remembered, since others write there, too."""
        from fsspec.core import url_to_fs

        if urlsplit(self.url).scheme in ("s3", "s3a"):
            with needs("s3", f"workers.files = {self.url!r}"):
                import s3fs  # noqa: F401 (so that what is missing is told as everywhere)
        files, place = url_to_fs(self.url, use_listings_cache=False, skip_instance_cache=True)
        return files, place.rstrip("/")

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except AutoKDError:
            raise
        except Exception as error:  # every file system has its own
            raise DepotError(f"workers.files: {self.url} cannot be used: {first_line(error)}.") from error


def checked_url(url: str) -> str:
    """The URL, if it can be one of a depot.

    Raises:
        ValueError: If it has no scheme, is a folder, or may hold a secret; the message does not show it.
    """
    parts = urlsplit(url)
    if not parts.scheme or "://" not in url or "::" in url:
        raise ValueError("must be a URL such as s3://bucket/prefix")
    if parts.scheme in ("file", "local"):
        raise ValueError("must not be a folder: name one that all machines share by --home, and leave this out")
    if parts.password is not None or parts.query:
        raise ValueError("must hold no password or key: give it to every machine by its environment")
    return url


def _files_in(place: Path) -> Iterator[Path]:
    """A file, or those of a folder that are finished."""
    if place.is_file():
        yield place
    for folder, _, names in os.walk(place):
        yield from (Path(folder, name) for name in sorted(names) if not UNFINISHED.fullmatch(name))


def _stamp(file: Path) -> Stamp:
    status = file.stat()
    return status.st_size, status.st_mtime_ns
