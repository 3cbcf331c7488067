"""The routes that change something: what `autokd stop`, `retry` and `delete` do."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict

from autokd.searches.deletion import delete_search
from autokd.service.audit import audit_lines
from autokd.service.guard import allow
from autokd.service.reading import Found
from autokd.service.schemas import AuditAnswer, RetryAnswer, StopAnswer
from autokd.service.settings import Current

__all__ = ["router"]

router = APIRouter(prefix="/api", tags=["changing"])


class StopOrder(BaseModel):
    """How to stop: once the running evaluations have ended, or `now`, as Ctrl-C does."""

    model_config = ConfigDict(extra="forbid")

    now: bool = False


class RetryOrder(BaseModel):
    """What to retry: what failed by a worker's fault, or all that `failed`."""

    model_config = ConfigDict(extra="forbid")

    failed: bool = False


@router.post("/searches/{search}/stop", dependencies=[allow("run")], status_code=202)
def stop(found: Found, order: StopOrder) -> StopAnswer:
    """Ask the process that runs the search, wherever it was started, to stop; it hears of that within seconds."""
    row = found.stop(order.now)
    return StopAnswer.model_validate(
        {"search": row.name, "stop": row.stop, "host": row.lease_host, "pid": row.lease_pid}
    )


@router.post("/searches/{search}/retry", dependencies=[allow("run")])
def retry(found: Found, order: RetryOrder) -> list[RetryAnswer]:
    """Open failed trials again, as they were, with which a resumed search goes on."""
    opened = [record.trial for record in found.retry(order.failed)]
    return [RetryAnswer(trial=row.number, reference=row.reference, reason=row.reason) for row in opened]


@router.delete("/searches/{search}", dependencies=[allow("admin")], status_code=204)
def delete(found: Found, settings: Current) -> Response:
    """Delete a search that nobody runs, with its files and its export."""
    delete_search(settings.home, found.name)
    return Response(status_code=204)


@router.get("/audit", dependencies=[allow("admin")])
def list_audit(settings: Current, most: Annotated[int, Query(ge=1, le=10_000)] = 100) -> list[AuditAnswer]:
    """The last requests that changed something or tried to, the newest last."""
    return [AuditAnswer.model_validate(line) for line in audit_lines(settings.audit_file, most)]
