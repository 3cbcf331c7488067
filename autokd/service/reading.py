"""The routes that only read. Each answers what a verb of the command line prints with `-o json`."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Path, Query, Request

from autokd.analysis.plain_values import (
    failures_json,
    families_json,
    pareto_json,
    status_json,
    student_or_reference_json,
    trial_json,
)
from autokd.config.names import NAME
from autokd.config.objectives import Against
from autokd.database.errors import UnknownSearch
from autokd.database.lease import is_owned
from autokd.database.rows import EventRow
from autokd.recipes.catalogue import recipes
from autokd.searches.api import find, find_all
from autokd.searches.findings import Findings
from autokd.searches.progress import Progress
from autokd.searches.reporter import SILENT
from autokd.searches.result import SearchResult
from autokd.searches.trial_record import TrialRecord
from autokd.service.guard import allow
from autokd.service.refusals import meaning
from autokd.service.remembered import Remembered, as_of_events, as_of_process
from autokd.service.schemas import (
    BestAnswer,
    FailureAnswer,
    FamiliesAnswer,
    RecipeAnswer,
    StatusAnswer,
    StudentAnswer,
    TrialAnswer,
    WorkersAnswer,
)
from autokd.service.settings import Current

__all__ = [
    "AllProgress",
    "CurrentProgress",
    "Found",
    "FoundTrial",
    "Named",
    "ranked_families",
    "remembered_best",
    "remembered_progress",
    "remembered_status",
    "router",
]

MOST = 1_000  # rows in one answer

router = APIRouter(prefix="/api", dependencies=[allow("read")], tags=["reading"])

SearchName = Annotated[str, Path(pattern=NAME, max_length=255)]
Number = Annotated[int, Query(ge=1, le=MOST, description="How many at most.")]

RankedFamilies = Remembered[list[dict[str, Any]]]


def remembered_progress() -> Remembered[Progress]:
    """The progress of searches, which many clients ask for again and again."""
    return Remembered(lambda found: found.progress, as_of_process)


def remembered_status(computing: asyncio.Lock) -> Remembered[dict[str, Any]]:
    """What `show_status` answers, for which a model is fitted, as is for the following two."""
    return Remembered(status_json, as_of_events, computing)


def remembered_best(computing: asyncio.Lock) -> Remembered[dict[str, Any]]:
    """The best students of searches with all that is told of them."""
    return Remembered(lambda found: Findings.of(found).to_json(), as_of_events, computing)


def ranked_families(computing: asyncio.Lock) -> RankedFamilies:
    """The families of searches."""
    return Remembered(lambda found: families_json(found, MOST), as_of_events, computing)


async def _named(search: SearchName, settings: Current) -> SearchResult:
    return SearchResult(settings.home, search, None, SILENT)


Named = Annotated[SearchResult, Depends(_named)]
"""The search that a route's path names, as an argument of a route that notices by itself if there is none."""


async def _progress(request: Request, found: Named) -> Progress:
    remembered: Remembered[Progress] = request.app.state.progress
    return await remembered.of(found)


CurrentProgress = Annotated[Progress, Depends(_progress)]
"""The progress of the search that a route's path names, as an argument of the route."""


async def _all_progress(request: Request, settings: Current) -> list[Progress]:
    remembered: Remembered[Progress] = request.app.state.progress
    found = list[Progress]()
    for each in await run_sync(find_all, settings.home):
        with suppress(UnknownSearch):  # it has been deleted since
            found.append(await remembered.of(each))
    return found


AllProgress = Annotated[list[Progress], Depends(_all_progress)]
"""The progress of all searches, the oldest first, as an argument of a route."""


def _found(search: SearchName, settings: Current) -> SearchResult:
    return find(search, settings.home, SILENT)


Found = Annotated[SearchResult, Depends(_found)]
"""The search that a route's path names, as an argument of the route."""


def _found_trial(found: Found, trial: Annotated[str, Path(pattern=r"^[a-z0-9-]{1,32}$")]) -> TrialRecord:
    with meaning(404):
        return found.trial(trial)


FoundTrial = Annotated[TrialRecord, Depends(_found_trial)]
"""The trial that a route's path names by its number, or the reference by its name, as an argument of the route."""


@router.get("/recipes")
def list_recipes() -> list[RecipeAnswer]:
    """The ready-made searches."""
    return [RecipeAnswer(name=name, description=line) for name, line in recipes().items()]


@router.get("/searches")
async def list_searches(progress: AllProgress) -> list[Progress]:
    """The progress of all searches, the oldest first."""
    return progress


@router.get("/searches/{search}", response_model=StatusAnswer)
async def show_status(request: Request, found: Named, progress: CurrentProgress) -> dict[str, Any]:
    """How far a search and its full-length trainings are, and as of some event what its model believes."""
    status: Remembered[dict[str, Any]] = request.app.state.status
    known, as_of = await status.last(found)
    trainings = await run_sync(lambda: found.trainings)
    return known | asdict(progress) | {"trainings": [asdict(each) for each in trainings], "as_of": as_of}


@router.get("/searches/{search}/progress")
async def show_progress(progress: CurrentProgress) -> Progress:
    """How far a search is."""
    return progress


@router.get("/searches/{search}/configuration")
def show_configuration(found: Found) -> dict[str, Any]:
    """The search's configuration, as a `search.toml` would say it."""
    return found.config.to_dict()


@router.get("/searches/{search}/best", response_model=BestAnswer)
async def show_best(request: Request, found: Named) -> dict[str, Any]:
    """The best student beside its teacher and the references, as of some event."""
    best: Remembered[dict[str, Any]] = request.app.state.best
    with meaning(409):
        known, as_of = await best.last(found)
    return known | {"as_of": as_of}


@router.get("/searches/{search}/families", response_model=FamiliesAnswer)
async def list_families(request: Request, found: Named, top: Number = 10) -> dict[str, Any]:
    """The families, the best first by what the model believes, as of some event."""
    ranked: RankedFamilies = request.app.state.families
    known, as_of = await ranked.last(found)
    return {"as_of": as_of, "families": known[:top]}


@router.get("/searches/{search}/pareto", response_model=list[StudentAnswer])
def list_pareto(found: Found, against: Against | None = None) -> list[dict[str, Any]]:
    """The students and references that no other one trained as long exceeds in accuracy and the given cost."""
    chosen: Sequence[Against] = [against] if against else found.problem.costs or ["params"]
    return pareto_json(found, chosen)


@router.get("/searches/{search}/students", response_model=list[StudentAnswer])
def list_students(
    found: Found,
    offset: Annotated[int, Query(ge=0, le=2**31, description="How many to leave out.")] = 0,
    most: Number = 100,
) -> list[dict[str, Any]]:
    """The trained students, the best first, from number `offset` on."""
    return [student_or_reference_json(student) for student in found.students[offset : offset + most]]


@router.get("/searches/{search}/references", response_model=list[StudentAnswer])
def list_references(found: Found) -> list[dict[str, Any]]:
    """The trained references, the best first."""
    return [student_or_reference_json(student) for student in found.references]


@router.get("/searches/{search}/trials/{trial}", response_model=TrialAnswer)
def show_trial(found: Found, record: FoundTrial) -> dict[str, Any]:
    """A trial by number, or a reference by name, with its students, evaluations and the ends of their logs."""
    return trial_json(record, found)


@router.get("/searches/{search}/failures", response_model=list[FailureAnswer])
def list_failures(found: Found, most: Number = 100) -> list[dict[str, Any]]:
    """The failed trials and references with their reasons and the ends of their logs."""
    return failures_json(found, most)


@router.get("/searches/{search}/workers")
def list_workers(found: Named, progress: CurrentProgress) -> WorkersAnswer:
    """The process that runs the search, if one does, and what its workers have."""
    evaluations = list(progress.evaluations)
    with found.home.open() as store:
        if not is_owned(store, found.name):
            return WorkersAnswer(host=None, pid=None, heartbeat_at=None, stop=None, evaluations=evaluations)
        row = store.search(found.name)
    return WorkersAnswer(
        host=row.lease_host,
        pid=row.lease_pid,
        heartbeat_at=row.lease_heartbeat_at,
        stop=row.stop,
        evaluations=evaluations,
    )


@router.get("/searches/{search}/events")
def list_events(
    found: Named,
    after: Annotated[int, Query(ge=0, le=2**62, description="Only events with a larger id.")] = 0,
    most: Number = 100,
) -> list[EventRow]:
    """The events of a search with an id above `after`, the oldest first."""
    with found.home.open() as store:
        return store.events(store.search(found.name).id, after, most)
