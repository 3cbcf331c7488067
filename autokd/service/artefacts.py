"""Exports: folders of a student, made on request, whose files are told and sent by their SHA-256 alone."""

import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, BinaryIO

from fastapi import APIRouter, HTTPException
from fastapi import Path as InPath
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import StreamingResponse

from autokd.errors import InputError
from autokd.export.manifest import MANIFEST, read_manifest
from autokd.export.verification import file_digest
from autokd.searches.manifest import origin
from autokd.searches.result import SearchResult
from autokd.service.guard import allow
from autokd.service.quota import check_quota
from autokd.service.reading import Found
from autokd.service.refusals import meaning
from autokd.service.schemas import FileAnswer
from autokd.service.settings import Current, Settings
from search_spaces.design.budget import LARGEST_LIMIT, Budget

__all__ = ["exports_folder", "router"]

CHUNK_BYTES = 2**18

Limit = Annotated[int | None, Field(ge=1, le=LARGEST_LIMIT)]

router = APIRouter(prefix="/api", tags=["exports"])
_one_at_a_time = threading.Lock()  # each export loads data and starts an interpreter


class WithinOrder(BaseModel):
    """Further limits that the student to be chosen keeps."""

    model_config = ConfigDict(extra="forbid")

    params: Limit = None
    macs: Limit = None
    activation_bytes: Limit = None
    model_bytes: Limit = None
    memory_bytes: Limit = None


class ExportOrder(BaseModel):
    """What to export: the best student that is `within` further limits; on request with its batch norm, to train on."""

    model_config = ConfigDict(extra="forbid")

    within: WithinOrder = WithinOrder()
    keep_batch_norm: bool = False


@router.get("/searches/{search}/export", dependencies=[allow("read")])
def list_export(found: Found, settings: Current) -> list[FileAnswer]:
    """The files of the search's export, which `/api/artefacts/{sha256}` sends."""
    return _files(found, settings)


@router.post("/searches/{search}/export", dependencies=[allow("run")], status_code=201)
def make_export(found: Found, settings: Current, order: ExportOrder) -> list[FileAnswer]:
    """Export the best student, replacing the search's earlier export, and verify it in a fresh interpreter."""
    check_quota(settings)
    with meaning(409):
        student = found.best_within(Budget(**order.within.model_dump()))
    with _one_at_a_time:
        found.export(exports_folder(settings) / found.name, student, fold=not order.keep_batch_norm, force=True)
    return _files(found, settings)


@router.get(
    "/artefacts/{sha256}",
    dependencies=[allow("read")],
    response_class=StreamingResponse,
    responses={200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}},
)
def send_artefact(sha256: Annotated[str, InPath(pattern=r"^[0-9a-f]{64}$")], settings: Current) -> StreamingResponse:
    """A file of an export; one that has another digest by now is not sent."""
    for folder in exports_folder(settings).glob("[!.]*"):
        for name, digest in _digests(folder).items():
            if digest == sha256 and (file := _opened(folder / name, sha256)):
                headers = {
                    "Content-Disposition": f'attachment; filename="{name}"',
                    "Content-Length": str(os.fstat(file.fileno()).st_size),
                    "ETag": f'"{sha256}"',
                    "Cache-Control": "private, immutable, max-age=31536000",
                }
                return StreamingResponse(_chunks(file), headers=headers, media_type="application/octet-stream")
    raise HTTPException(404, "no export has a file of this digest")


def exports_folder(settings: Settings) -> Path:
    """The folder of all exports, each named by its search."""
    return settings.folder / "exports"


def _files(found: SearchResult, settings: Settings) -> list[FileAnswer]:
    folder = exports_folder(settings) / found.name
    digests = _digests(folder, began=origin(found.row)[1])
    if not digests:
        raise HTTPException(404, f"search {found.name!r} has no export yet")
    return [
        FileAnswer(name=name, sha256=digest, bytes=(folder / name).stat().st_size) for name, digest in digests.items()
    ]


def _digests(folder: Path, began: str | None = None) -> dict[str, str]:
    """SHA-256 of each file of an export, by name; none where there is no export, or not of the search that began then.

    Args:
        folder: The export's folder.
        began: When its search began; None for any.
    """
    try:
        manifest = read_manifest(folder)
    except InputError:
        return {}
    if began not in (None, manifest.search_began):
        return {}
    return {MANIFEST: file_digest(folder / MANIFEST), **manifest.files}


def _opened(path: Path, sha256: str) -> BinaryIO | None:
    """The file, open so that it stays the one whose digest was taken; None if it has another one, or is a link."""
    try:
        file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb")
    except OSError:
        return None
    if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
        file.close()
        return None
    file.seek(0)
    return file


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk
