"""Logs as whole files: what an evaluation printed in its worker, and what the process of a job did.

A search that the command line runs prints to its terminal, so there is no file.
"""

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException
from fastapi import Path as InPath
from starlette.responses import StreamingResponse

from autokd.evaluation.task import log_file
from autokd.service.files import opened, sent
from autokd.service.guard import allow
from autokd.service.reading import Found
from autokd.service.settings import Current

__all__ = ["router"]

TEXT: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}

router = APIRouter(prefix="/api", dependencies=[allow("read")], tags=["logs"], default_response_class=StreamingResponse)


@router.get("/searches/{search}/logs/{key}", responses=TEXT)
def show_log(
    found: Found, key: Annotated[str, InPath(pattern=r"^[0-9a-f]{24}-[0-9]{1,9}(-test)?$")]
) -> StreamingResponse:
    """What is kept of all that an evaluation printed, by the evaluation's key."""
    return _sent(log_file(found.problem.evaluations, key), f"{found.name}-{key}.txt")


@router.get("/queue/{job}/log", responses=TEXT)
def show_job_log(job: Annotated[int, InPath(ge=1, le=2**62)], settings: Current) -> StreamingResponse:
    """All that the processes printed which ran the search of a job."""
    return _sent(settings.job_log(job), f"job-{job}.txt")


def _sent(path: Path, name: str) -> StreamingResponse:
    if file := opened(path):
        return sent(file, name, "text/plain")
    raise HTTPException(404, "there is no such log, or it is gone")
