"""Whether the service lives, and whether it can work; without a token, and without telling more."""

import os

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel

from autokd.core.disk import is_full
from autokd.errors import AutoKDError
from autokd.service.settings import Current

__all__ = ["router"]

router = APIRouter(prefix="/health", tags=["health"])


class HealthAnswer(BaseModel):
    """All is well."""

    status: str = "ok"


@router.get("/live")
async def is_alive() -> HealthAnswer:
    """Whether the service answers."""
    return HealthAnswer()


@router.get("/ready")
def is_ready(settings: Current) -> HealthAnswer:
    """Whether the database can be read, and the folder of searches written, where there is room."""
    try:
        if settings.home.exists:
            with settings.home.open() as store:
                store.searches()
    except AutoKDError:
        raise HTTPException(503, "the database cannot be used") from None
    if not os.access(settings.home.folder, os.W_OK):
        raise HTTPException(503, "the folder of searches cannot be written")
    if is_full(settings.home.folder):
        raise HTTPException(503, "the disk is full")
    return HealthAnswer()
