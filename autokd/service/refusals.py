"""Refusals and failures as HTTP: a status and one line, in the same form wherever they come from."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.responses import JSONResponse, Response

from autokd.database.errors import (
    DamagedRow,
    DatabaseUnavailable,
    LeaseHeld,
    NotRunning,
    SearchExists,
    UnknownJob,
    UnknownSearch,
)
from autokd.errors import AutoKDError, DiskFullError, InputError

__all__ = ["RESPONSES", "Refusal", "handle_errors", "meaning", "refuse"]

# The first that an error is an instance of.
_STATUS: dict[type[AutoKDError], int] = {
    UnknownSearch: 404,
    UnknownJob: 404,
    LeaseHeld: 409,
    NotRunning: 409,
    SearchExists: 409,
    DamagedRow: 500,
    DatabaseUnavailable: 503,
    DiskFullError: 507,
    InputError: 422,
    AutoKDError: 500,
}


class Refusal(BaseModel):
    """Why something was refused or failed, in one line."""

    detail: str


RESPONSES: dict[int | str, dict[str, Any]] = {
    400: {"model": Refusal, "description": "The request makes no sense, or its Host is not allowed."},
    401: {"model": Refusal, "description": "There is no token, or it is void."},
    403: {
        "model": Refusal,
        "description": "The token's role, the Origin or the mode of the service does not allow it.",
    },
    404: {"model": Refusal, "description": "There is no such thing."},
    408: {"model": Refusal, "description": "The body did not come in time."},
    409: {"model": Refusal, "description": "The search is not in a state that allows it."},
    413: {"model": Refusal, "description": "The body is too large."},
    422: {"model": Refusal, "description": "What was given cannot be used."},
    500: {"model": Refusal, "description": "Something recorded is damaged, or the service fails."},
    503: {"model": Refusal, "description": "The database cannot be reached, or too many are watching."},
    507: {"model": Refusal, "description": "The disk is full, or the quota is used up."},
}


def handle_errors(api: FastAPI) -> None:
    """Let every error become a `Refusal`."""

    @api.exception_handler(AutoKDError)
    def of_ours(request: Request, error: AutoKDError) -> Response:
        return refuse(next(code for kind, code in _STATUS.items() if isinstance(error, kind)), str(error))

    @api.exception_handler(StarletteHTTPException)
    def of_http(request: Request, error: HTTPException) -> Response:
        return refuse(error.status_code, str(error.detail), dict(error.headers or {}))

    @api.exception_handler(RequestValidationError)
    def of_values(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return refuse(422, f"{'.'.join(map(str, first['loc']))}: {first['msg']}")

    @api.exception_handler(Exception)
    def of_unforeseen(request: Request, error: Exception) -> Response:
        return refuse(500, "failed unexpectedly; the service's own output tells more")


@contextmanager
def meaning(status: int) -> Iterator[None]:
    """A block whose `InputError` means this status; the special ones mean what they always do."""
    try:
        yield
    except InputError as error:
        if type(error) is InputError:
            raise HTTPException(status, str(error)) from None
        raise


def refuse(status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    """The response of a refusal.

    Args:
        status: Status code.
        detail: Why, in one line.
        headers: Further headers.
    """
    return JSONResponse({"detail": detail}, status, headers)
