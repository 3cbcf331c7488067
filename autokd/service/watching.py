"""Watching a search: its events as they are recorded, and its progress whenever it changes, as server-sent events."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import closing, suppress
from typing import Annotated

import anyio
from anyio.to_thread import run_sync
from fastapi import APIRouter, Header, HTTPException, Query, Request
from pydantic import TypeAdapter
from sse_starlette import EventSourceResponse, ServerSentEvent

from autokd.database.errors import DatabaseUnavailable, UnknownSearch
from autokd.database.reading import Reader
from autokd.database.rows import EventRow
from autokd.searches.progress import Progress
from autokd.searches.result import SearchResult
from autokd.searches.watching import newest_event
from autokd.service.guard import allow
from autokd.service.reading import Found
from autokd.service.remembered import Remembered

__all__ = ["MOST_WATCHERS", "router"]

LOOK_SECONDS = 1.0
MOST_EVENTS = 500  # in one look: a client that was away for long gets them piece by piece
MOST_WATCHERS = 100
SEND_SECONDS = 30.0  # a client that takes nothing for so long has left

_EVENT, _PROGRESS = TypeAdapter(EventRow), TypeAdapter(Progress)

router = APIRouter(prefix="/api", dependencies=[allow("read")], tags=["watching"])


@router.get(
    "/searches/{search}/watch",
    response_class=EventSourceResponse,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
async def watch(
    request: Request,
    found: Found,
    after: Annotated[int | None, Query(ge=0, le=2**62)] = None,
    last_event_id: Annotated[int | None, Header(ge=0, le=2**62)] = None,
) -> EventSourceResponse:
    """What happens to a search from now on, or after the event `Last-Event-ID` (or `after`), until the client leaves.

    Each recorded event comes as `event: recorded` with its id, the progress as `event: progress` with the id of the
    event before, so that a client that reconnects misses none.
    """
    seen = after if last_event_id is None else last_event_id
    watchers: asyncio.Semaphore = request.app.state.watchers
    progress: Remembered[Progress] = request.app.state.progress
    if watchers.locked():
        raise HTTPException(503, f"{MOST_WATCHERS} clients are watching already: try again later")
    messages = _messages(found, progress, seen, request.state.may_stay)
    return EventSourceResponse(_counted(watchers, messages), send_timeout=SEND_SECONDS)


async def _counted(
    watchers: asyncio.Semaphore, messages: AsyncIterator[ServerSentEvent]
) -> AsyncIterator[ServerSentEvent]:
    async with watchers:
        async for message in messages:
            yield message


async def _messages(
    found: SearchResult, progress: Remembered[Progress], seen: int | None, may_stay: Callable[[], bool]
) -> AsyncIterator[ServerSentEvent]:
    """What a watcher is sent, until the search is deleted, the database is gone or the watcher's token is void.

    Args:
        found: The search.
        progress: Its progress.
        seen: Id of the event after which to begin; None begins with the next one.
        may_stay: Whether the token is still one.
    """
    before = None
    with suppress(UnknownSearch, DatabaseUnavailable), closing(await run_sync(found.home.open)) as store:
        while may_stay():
            now = await progress.of(found)  # first: events of its end are then among what follows
            events, seen = await run_sync(_since, store, found.name, seen)
            for event in events:
                yield ServerSentEvent(_EVENT.dump_json(event).decode(), event="recorded", id=str(event.id))
            if now != before:
                yield ServerSentEvent(_PROGRESS.dump_json(now).decode(), event="progress", id=str(seen))
            before = now
            if len(events) < MOST_EVENTS:
                await anyio.sleep(LOOK_SECONDS)


def _since(store: Reader, name: str, seen: int | None) -> tuple[list[EventRow], int]:
    """The events of a search after one, by default its newest, and the id of the last of them."""
    search = store.search(name)
    seen = newest_event(store, search) if seen is None else seen
    events = store.events(search.id, seen, MOST_EVENTS)
    return events, events[-1].id if events else seen
