"""A client of the service: its calls, watching, and downloads that are checked."""

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, TypeAdapter, ValidationError

from autokd.client.generated.calls import Calls
from autokd.client.generated.types import EventRow, Progress
from autokd.core.extras import needs
from autokd.errors import AutoKDError, InputError, first_line

with needs("client", "autokd.client"):
    import httpx2

__all__ = ["Client", "ServiceError"]

PAUSE_SECONDS = 2.0
T = TypeVar("T")


class ServiceError(AutoKDError):
    """The service refused something or failed; the message is its line.

    Args:
        line: What it said.
        status: The status of HTTP; None if it did not answer.
    """

    def __init__(self, line: str, status: int | None = None) -> None:
        super().__init__(line)
        self.status = status


class Client(Calls):
    """A service of searches, which `autokd serve` runs, perhaps on another machine.

    Each method but `watch` and `download` is one request. All raise `ServiceError` if the service refuses or fails, or
    does not answer. Not for several threads at once.

    Args:
        url: Its address, such as "http://127.0.0.1:8765".
        token: A token that it printed.
        timeout: Seconds to wait for each answer; an export takes as long as loading the data does.

    Raises:
        InputError: If the address is none of HTTP, or the token has other than printable ASCII characters.
    """

    def __init__(self, url: str, token: str, timeout: float = 600.0) -> None:
        token = token.strip()  # as it is read from a file
        if not (token.isascii() and token.isprintable()):  # the message never has the token
            raise InputError(f"no service can be called at {url!r} with this token: it must be printable ASCII.")
        headers, limits = {"Authorization": f"Bearer {token}"}, httpx2.Timeout(timeout, connect=10.0)
        try:
            self._http = httpx2.Client(base_url=url, headers=headers, timeout=limits)
        except httpx2.InvalidURL as error:
            raise InputError(f"no service can be called at {url!r}: {first_line(error)}.") from None
        if self._http.base_url.scheme not in ("http", "https") or not self._http.base_url.host:
            raise InputError(f"no service can be called at {url!r}: it must be like http://HOST:PORT, or with https.")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def watch(self, search: str, after: int | None = None) -> Iterator[EventRow | Progress]:
        """What happens to a search from now on: events as they are recorded, progress whenever it changes.

        It waits while the search is in the queue. A connection that breaks is made again, and no event that came after
        the last one is missed; it does not end by itself: leave the loop when `Progress.status` says so.

        Args:
            search: Its name.
            after: Id of an event after which to begin; None begins with the next one, or if the search is in the queue
                with its first.

        Raises:
            ServiceError: If the service refuses, never answered, there is no such search, or it could not begin.
        """
        path = f"/api/searches/{quote(search, safe='')}/watch"
        reached = False
        while True:
            try:
                with self._http.stream("GET", path, params=_given({"after": after})) as answer:
                    reached = True
                    _check(answer)
                    for seen, news in _news(_lines(answer.iter_text())):
                        after = seen
                        yield news
            except ServiceError as error:
                if error.status == 404 and self._is_queued_at_last(search):
                    after = after or 0  # from its beginning, which may be over when it is asked again
                elif error.status != 503:
                    raise
            except httpx2.RequestError as error:
                if not (reached and isinstance(error, httpx2.TransportError)):
                    raise self._failure(error) from error
            time.sleep(PAUSE_SECONDS)

    def _is_queued_at_last(self, search: str) -> bool:
        """Whether a search is in the queue, once the service, which responded before, does so again."""
        while True:
            try:
                return self._is_queued(search)
            except ServiceError as error:
                if error.status != 503 and not isinstance(error.__cause__, httpx2.TransportError):
                    raise
            time.sleep(PAUSE_SECONDS)

    def download(self, search: str, folder: str | Path) -> Path:
        """Fetch a search's export into a new folder, check the SHA-256 of each file, and return the folder.

        Args:
            search: Name of the search; `make_export` makes its export.
            folder: The folder, which must be missing or empty.

        Raises:
            InputError: If the folder is not empty, or a file.
            ServiceError: If the search has no export, or a file is not what it should be.
        """
        folder = Path(folder)
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder} is a file: choose a folder that is missing or empty.")
        if folder.exists() and any(folder.iterdir()):
            raise InputError(f"{folder} is not empty: choose another folder.")
        contents = {file.name: self._fetch(file.sha256) for file in self.list_export(search).files}
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            (folder / Path(name).name).write_bytes(content)  # the name alone, whatever the service says
        return folder

    def _fetch(self, sha256: str) -> bytes:
        content = bytes(self._answer("GET", f"/api/artefacts/{sha256}").content)
        if hashlib.sha256(content).hexdigest() != sha256:
            raise ServiceError(f"the service sent another file than the one of SHA-256 {sha256}")
        return content

    def _is_queued(self, search: str) -> bool:
        """Whether a search waits in the queue, or begins.

        Raises:
            ServiceError: If it could not begin.
        """
        job = next((job for job in self.list_queue(most=1000) if job.search == search), None)
        if job is not None and job.state == "failed":
            raise ServiceError(f"search {search!r} could not begin: {job.reason}")
        return job is not None and job.state in ("waiting", "running")

    def _call(
        self,
        answer: type[T],
        method: str,
        path: str,
        query: Mapping[str, object] | None = None,
        body: BaseModel | None = None,
    ) -> T:
        content = self._answer(method, path, query, body).content
        try:
            return TypeAdapter(answer).validate_json(content or b"null")
        except ValidationError:
            raise _other_form(f"{method} {path}") from None

    def _text(self, method: str, path: str) -> str:
        return str(self._answer(method, path).text)

    def _answer(
        self, method: str, path: str, query: Mapping[str, object] | None = None, body: BaseModel | None = None
    ) -> httpx2.Response:
        value = None if body is None else body.model_dump(mode="json", exclude_unset=True)
        try:
            response = self._http.request(method, path, params=_given(query or {}), json=value)
        except httpx2.RequestError as error:
            raise self._failure(error) from error
        return _check(response)

    def _failure(self, error: httpx2.RequestError) -> ServiceError:
        what = "does not answer" if isinstance(error, httpx2.TransportError) else "sent what cannot be read"
        return ServiceError(f"the service at {self._http.base_url} {what}: {first_line(error)}")


def _other_form(request: str) -> ServiceError:
    return ServiceError(f"the response to {request} is not of the form that a service of this version sends")


def _check(response: httpx2.Response) -> httpx2.Response:
    """The response, if it is what was asked for."""
    if response.is_success:
        return response
    try:
        line = json.loads(response.read())["detail"]
    except (ValueError, KeyError, TypeError):  # of something between here and the service
        line = f"the service answered {response.status_code}"
    raise ServiceError(line, response.status_code)


def _given(query: Mapping[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in query.items() if value is not None}


def _lines(texts: Iterator[str]) -> Iterator[str]:
    """The lines of a text that comes in pieces, which end with a newline alone: JSON may have other separators."""
    rest = ""
    for text in texts:
        *lines, rest = (rest + text).split("\n")
        yield from (line.removesuffix("\r") for line in lines)


def _news(lines: Iterator[str]) -> Iterator[tuple[int, EventRow | Progress]]:
    """What the service's server-sent events tell, each with the id after which to go on."""
    kinds: Mapping[str, type[EventRow] | type[Progress]] = {"recorded": EventRow, "progress": Progress}
    fields = dict[str, str]()
    for line in lines:
        name, colon, value = line.partition(": ")
        if colon and name:
            fields[name] = value
        elif not line:  # the end of an event
            if fields.get("event") in kinds:
                try:
                    news = int(fields["id"]), kinds[fields["event"]].model_validate_json(fields["data"])
                except (KeyError, ValueError):  # pydantic's error is a ValueError, too
                    raise _other_form("watch") from None
                yield news
            fields.clear()
