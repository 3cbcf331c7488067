"""Fragments of HTML that tell of searches, as the command line and the report do."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated

from anyio.to_thread import run_sync
from fastapi import APIRouter, HTTPException, Query, Request
from starlette.responses import HTMLResponse

from autokd.analysis.plain_values import failures_json
from autokd.analysis.report import drawing, findings_values
from autokd.analysis.status_facts import status_facts
from autokd.analysis.trial_facts import evaluation_logs, evaluations_table, students_table, trial_facts, trials_table
from autokd.database.errors import UnknownSearch
from autokd.database.queue import LIVE
from autokd.errors import InputError
from autokd.searches.progress import Progress
from autokd.searches.result import SearchResult
from autokd.searches.tables import searches_table
from autokd.searches.trial_record import TrialRecord, trial_records
from autokd.service.artefacts import list_export
from autokd.service.guard import allow
from autokd.service.pages.rendering import Roles, render
from autokd.service.queueing import list_queued, newest_of, pending_job
from autokd.service.reading import AllProgress, CurrentProgress, Found, FoundTrial, Named, list_workers
from autokd.service.remembered import Remembered, as_of_events
from autokd.service.schemas import JobAnswer
from autokd.service.settings import Current
from search_spaces.architecture.format import Architecture

__all__ = ["remembered_findings", "router"]

MOST_TRIALS = 20  # on a page
MOST_FAILURES = 20
MOST_ENDED = 100  # jobs among which those that failed are sought
ELSEWHERE = ("search", "running")  # words of a status that the heading and the table of what is trained tell
MOST_FOUND = 2_000  # trials of a search whose findings are told without being asked for

router = APIRouter(
    prefix="/fragments", dependencies=[allow("read")], include_in_schema=False, default_response_class=HTMLResponse
)


@router.get("/")
def show_start(roles: Roles) -> str:
    """The page of all searches."""
    return render("start.html", roles=roles)


@router.get("/searches")
def show_searches(settings: Current, roles: Roles, progress: AllProgress) -> str:
    """All searches with their progress, and the queue."""
    queued = _queued(list_queued(settings, MOST_ENDED))
    running = {each.name for each in progress if each.is_running}
    return render("searches.html", table=searches_table(progress[::-1]), jobs=queued, running=running, roles=roles)


@router.get("/searches/{search}")
async def show_search(request: Request, found: Named, settings: Current, roles: Roles) -> str:
    """The page of a search, or of its job in the queue while it has not begun."""
    progress: Remembered[Progress] = request.app.state.progress
    try:
        now = await progress.of(found)
    except UnknownSearch:
        job = await run_sync(newest_of, found.name, settings)
        if job is None or job.state == "done":  # it had begun, and was deleted
            raise
        return render("waiting.html", job=job)
    job = await run_sync(pending_job, found.name, settings)
    return render("search.html", is_large=now.finished > MOST_FOUND, progress=now, job=job, roles=roles)


@router.get("/searches/{search}/progress")
def show_progress(found: Named, progress: CurrentProgress, settings: Current, roles: Roles) -> str:
    """How far a search is, and what may be done with it."""
    return render("progress.html", progress=progress, job=pending_job(found.name, settings), roles=roles)


@router.get("/searches/{search}/facts")
def show_facts(found: Found) -> str:
    """What its status says and the rest of the page does not."""
    facts = [fact for fact in status_facts(found, asks_model=False) if fact[0] not in ELSEWHERE]
    return render("facts.html", facts=facts)


@router.get("/searches/{search}/findings")
async def show_findings(request: Request, found: Named) -> str:
    """All that the report of a search tells, as of some event; it asks the model, and draws."""
    findings: Remembered[str] = request.app.state.findings
    known, as_of = await findings.last(found)
    return render("as_of.html", as_of=as_of) + known


@router.get("/searches/{search}/trials")
def show_trials(found: Found, end: Annotated[int | None, Query(ge=1, le=2**31)] = None) -> str:
    """The newest trials, or those before number `end`, the newest first."""
    records, first, n = _records(found, end)
    table = trials_table(records[::-1], found.problem)
    return render("trials.html", search=found.name, table=table, first=first, end=first + len(records), n=n)


@router.get("/searches/{search}/trials/{trial}")
def show_trial(found: Found, record: FoundTrial) -> str:
    """The page of a trial or reference: its students, evaluations and logs."""
    states = [record.trial.state, *(evaluation.state for evaluation in record.evaluations)]
    return render(
        "trial.html",
        search=found.name,
        trial=record.trial,
        is_under_way="running" in states,
        facts=trial_facts(record, found),
        students=students_table(record, found.problem.budget),
        evaluations=evaluations_table(record),
        logs=list(evaluation_logs(record, found.problem)),
    )


@router.get("/searches/{search}/trials/{trial}/drawings")
def show_drawings(record: FoundTrial) -> str:
    """The graphs of a trial's students, each once."""
    drawn = {row.digest: Architecture.from_dict(dict(row.architecture)) for row in record.students}
    return render("drawings.html", drawings=[drawing(each, f"graph-{digest}") for digest, each in drawn.items()])


@router.get("/searches/{search}/failures")
def show_failures(found: Found) -> str:
    """The failed trials and references with their reasons and the ends of their logs."""
    return render("failures.html", search=found.name, failures=failures_json(found, MOST_FAILURES))


@router.get("/searches/{search}/workers")
def show_workers(found: Named, progress: CurrentProgress, settings: Current) -> str:
    """The process that runs a search, and what its workers have."""
    trainings = [each for each in found.trainings if each.state == "running"] if progress.is_running else []
    workers, job = list_workers(found, progress), newest_of(found.name, settings)
    return render("workers.html", workers=workers, trainings=trainings, job=job)


@router.get("/searches/{search}/export")
def show_export(found: Named, progress: CurrentProgress, settings: Current, roles: Roles) -> str:
    """The files of a search's export."""
    export = None
    with suppress(HTTPException):  # there is none yet
        export = list_export(found, settings)
    has_student = progress.best_trial is not None
    return render("export.html", search=found.name, export=export, has_student=has_student, roles=roles)


def remembered_findings(computing: asyncio.Lock) -> Remembered[str]:
    """The findings of searches, as HTML."""
    return Remembered(_findings, as_of_events, computing)


def _findings(found: SearchResult) -> str:
    try:
        return render("findings.html", **findings_values(found, f"/searches/{found.name}/trials/"))
    except InputError as error:  # there is no student yet, which is no failure
        return render("nothing.html", line=str(error))


def _queued(jobs: Sequence[JobAnswer]) -> list[JobAnswer]:
    """The jobs, the newest first, that have not ended, or that failed and whose search has no newer one."""
    newest = {job.search: job.id for job in reversed(jobs)}
    return [job for job in jobs if job.state in LIVE or (job.state == "failed" and job.id == newest[job.search])]


def _records(found: SearchResult, end: int | None) -> tuple[list[TrialRecord], int, int]:
    """The trials of one page, the number of the first, and that of all trials."""
    with found.home.open() as store:
        search_id = store.search(found.name).id
        n = store.n_trials(search_id)
        last = n if end is None else min(end, n)
        first = max(0, last - MOST_TRIALS)
        ids = store.trial_ids(search_id, numbers=range(first, last))
        return list(trial_records(store, search_id, ids).values()), first, n
