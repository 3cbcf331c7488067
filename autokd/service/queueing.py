"""The routes of the queue: a search is begun or resumed by a process of its own, once it is its turn."""

from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from autokd.config.names import NAME
from autokd.config.schema import SearchConfig
from autokd.config.toml import parse_tables, put
from autokd.database.errors import LeaseHeld
from autokd.database.lease import is_owned
from autokd.database.queue import cancel, enqueue, is_past, jobs, newest_job, queued_jobs
from autokd.database.rows import JobRow, JobState
from autokd.errors import InputError
from autokd.searches.result import SearchResult
from autokd.service.guard import allow
from autokd.service.quota import check_quota
from autokd.service.reading import MOST, Found
from autokd.service.registered import Registered
from autokd.service.schemas import JobAnswer, NamesAnswer
from autokd.service.settings import Current, Settings

__all__ = ["SearchOrder", "config_of", "list_queued", "newest_of", "pending_job", "router"]

router = APIRouter(prefix="/api", tags=["queue"])

Priority = Annotated[int, Field(ge=-100, le=100, description="Higher ones begin first.")]


class SearchOrder(BaseModel):
    """A search to begin: a recipe, or the text of a `search.toml` whose teacher and data are registered names.

    `name` is its name; with one that is taken it is refused, so that a request may be repeated. Without `name` a number
    is appended to the recipe's or the text's where that is taken. `settings` are further keys, such as
    `{"trials": 20, "training.rungs": [1, 3]}`.
    """

    model_config = ConfigDict(extra="forbid")

    recipe: Annotated[str, Field(max_length=100)] | None = None
    toml: str | None = None
    name: Annotated[str, Field(max_length=100, pattern=NAME)] | None = None
    settings: Annotated[dict[str, JsonValue], Field(max_length=1000)] = {}
    priority: Priority = 0

    @model_validator(mode="after")
    def _one_source(self) -> "SearchOrder":
        if (self.recipe is None) == (self.toml is None):
            raise ValueError("either recipe or toml must be given")
        return self


class Urgency(BaseModel):
    """How urgent it is."""

    model_config = ConfigDict(extra="forbid")

    priority: Priority = 0


@router.get("/names", dependencies=[allow("read")])
def list_names(settings: Current) -> NamesAnswer:
    """The names of teachers and data that a search may have."""
    registered = settings.registered
    return NamesAnswer(teachers=sorted(registered.teachers), data=sorted(registered.data))


@router.post("/searches", dependencies=[allow("run")], status_code=202)
def create_search(order: SearchOrder, settings: Current) -> JobAnswer:
    """Put a new search into the queue. Its teacher and data are checked when it begins; see the job's `reason`."""
    config = config_of(order, settings.registered)
    check_quota(settings)
    with settings.home.open(create=True) as store:
        job = enqueue(store, config.name, config.to_dict(), order.priority, renames=order.name is None)
    return _answer(job, settings)


@router.post("/searches/{search}/resume", dependencies=[allow("run")], status_code=202)
def resume(found: Found, settings: Current, order: Urgency) -> JobAnswer:
    """Put a search that nobody runs into the queue, to go on as `autokd resume` does."""
    return _go_on(found, settings, order, trains=False)


@router.post("/searches/{search}/train", dependencies=[allow("run")], status_code=202)
def train(found: Found, settings: Current, order: Urgency) -> JobAnswer:
    """Put a search that nobody runs into the queue, to train its winner at full length as `autokd train` does."""
    return _go_on(found, settings, order, trains=True)


@router.get("/queue", dependencies=[allow("read")])
def list_queue(
    settings: Current,
    state: JobState | None = None,
    most: Annotated[int, Query(ge=1, le=MOST, description="How many at most.")] = 100,
) -> list[JobAnswer]:
    """The newest jobs, of one state or all, the newest first."""
    if not settings.home.exists:
        return []
    with settings.home.open() as store:
        return [_answer(job, settings) for job in jobs(store, most, *([] if state is None else [state]))]


@router.delete("/queue/{job}", dependencies=[allow("run")], status_code=204)
def cancel_job(job: Annotated[int, Path(ge=1, le=2**62)], settings: Current) -> Response:
    """Cancel a job whose search does not run yet; one that runs is ended by stopping it."""
    with settings.home.open(create=True) as store:
        if not cancel(store, job):
            raise HTTPException(409, f"job {job} has ended, or its search runs, which is ended by stopping it")
    return Response(status_code=204)


def list_queued(settings: Settings, most_ended: int) -> list[JobAnswer]:
    """All jobs that have not ended, and the newest others, the newest first.

    Args:
        settings: Of the service.
        most_ended: Largest number of those that have ended.
    """
    if not settings.home.exists:
        return []
    with settings.home.open() as store:
        return [_answer(job, settings) for job in queued_jobs(store, most_ended)]


def newest_of(search: str, settings: Settings) -> JobAnswer | None:
    """The newest job of a search, if it has any."""
    if not settings.home.exists:
        return None
    with settings.home.open() as store:
        job = newest_job(store, search)
    return None if job is None else _answer(job, settings)


def pending_job(search: str, settings: Settings) -> JobAnswer | None:
    """The newest job of a search if it waits, or if it failed and nobody has gone on with the search since."""
    job = newest_of(search, settings)
    if job is None or job.state not in ("waiting", "failed"):
        return None
    with settings.home.open() as store:
        return None if is_past(store, job.id) else job


def config_of(order: SearchOrder, registered: Registered) -> SearchConfig:
    """The configuration that an order says.

    Raises:
        InputError: If there is no such recipe, the text is not TOML, or the configuration is not allowed.
    """
    values = _parsed(order.toml) if order.recipe is None else registered.recipe(order.recipe)
    for key, value in order.settings.items():
        put(values, key, value)
    if order.name is not None:
        values["name"] = order.name
    return registered.config(values)


def _go_on(found: SearchResult, settings: Settings, order: Urgency, trains: bool) -> JobAnswer:
    check_quota(settings)
    with settings.home.open() as store:
        if is_owned(store, found.name):
            raise LeaseHeld(f"search {found.name!r} is running already.")
        job = enqueue(store, found.name, None, order.priority, trains=trains)
    return _answer(job, settings)


def _parsed(toml: str | None) -> dict[str, Any]:
    try:
        return parse_tables(toml or "")
    except ValueError as error:
        raise InputError(f"toml: {error}.") from None


def _answer(job: JobRow, settings: Settings) -> JobAnswer:
    return JobAnswer.model_validate(vars(job) | {"has_log": settings.job_log(job.id).exists()})
