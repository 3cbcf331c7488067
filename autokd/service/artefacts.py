"""Exports: folders of a student, made on request, whose files and zips are told and sent by their SHA-256 alone."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import Annotated

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import APIRouter, HTTPException, Request
from fastapi import Path as InPath
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import StreamingResponse

from autokd.database.errors import UnknownSearch
from autokd.errors import InputError
from autokd.export.archive import write_archive
from autokd.export.manifest import MANIFEST, Manifest, read_manifest
from autokd.export.replacement import Origin
from autokd.export.verification import file_digest
from autokd.searches.manifest import origin
from autokd.searches.result import SearchResult
from autokd.searches.students import TrainedStudent
from autokd.service.files import opened, sent
from autokd.service.guard import allow
from autokd.service.quota import check_quota
from autokd.service.reading import Found
from autokd.service.refusals import meaning
from autokd.service.schemas import ExportAnswer, FileAnswer
from autokd.service.settings import Current, Settings
from search_spaces.design.budget import LARGEST_LIMIT, Budget

__all__ = ["router"]

Limit = Annotated[int | None, Field(ge=1, le=LARGEST_LIMIT)]

router = APIRouter(prefix="/api", tags=["exports"])


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

    within: WithinOrder = Field(default_factory=WithinOrder)
    keep_batch_norm: bool = False


@router.get("/searches/{search}/export", dependencies=[allow("read")])
def list_export(found: Found, settings: Current) -> ExportAnswer:
    """The files of the search's export, and a zip of them, which `/api/artefacts/{sha256}` sends."""
    try:
        return _export(found, settings)
    except FileNotFoundError:  # it is being replaced, or somebody has removed a file
        raise _no_export(found) from None


@router.post("/searches/{search}/export", dependencies=[allow("run")], status_code=201)
async def make_export(found: Found, settings: Current, order: ExportOrder, request: Request) -> ExportAnswer:
    """Export the best student, replacing the search's earlier export, and verify it in a fresh interpreter."""
    exporting: CapacityLimiter = request.app.state.exporting
    student = await run_sync(_chosen, found, settings, order)
    return await run_sync(_make_export, found, settings, student, not order.keep_batch_norm, limiter=exporting)


@router.get(
    "/artefacts/{sha256}",
    dependencies=[allow("read")],
    response_class=StreamingResponse,
    responses={200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}},
)
def send_artefact(sha256: Annotated[str, InPath(pattern=r"^[0-9a-f]{64}$")], settings: Current) -> StreamingResponse:
    """A file of an export, or the zip of one; what has another digest by now is not sent."""
    for path, name in _of_digest(sha256, settings):
        if file := _opened(path, sha256):
            headers = {
                "Content-Length": str(os.fstat(file.fileno()).st_size),
                "ETag": f'"{sha256}"',
                "Cache-Control": "private, immutable, max-age=31536000",
            }
            return sent(file, name, "application/octet-stream", headers)
    raise HTTPException(404, "no export has a file of this digest")


def _chosen(found: SearchResult, settings: Settings, order: ExportOrder) -> TrainedStudent:
    """The student to export; what is refused is refused before anything is waited for."""
    check_quota(settings)
    with meaning(409):
        return found.best_within(Budget(**order.within.model_dump()))


def _make_export(found: SearchResult, settings: Settings, student: TrainedStudent, fold: bool) -> ExportAnswer:
    folder = settings.home.exports / found.name
    with _removed_with_search(found, settings):
        found.export(folder, student, fold=fold, force=True)
        _make_archive(folder, settings.home.archives / found.name)
    return _export(found, settings)


@contextmanager
def _removed_with_search(found: SearchResult, settings: Settings) -> Iterator[None]:
    """A block that makes an export, of which nothing stays if the search is deleted meanwhile."""
    began = origin(found.row)
    try:
        yield
    finally:
        if _origin_now(found) != began:
            for folder in (settings.home.exports, settings.home.archives):
                shutil.rmtree(folder / found.name, ignore_errors=True)
            raise HTTPException(404, f"search {found.name!r} was deleted while it was exported")


def _origin_now(found: SearchResult) -> Origin | None:
    with suppress(UnknownSearch):
        return origin(found.row)
    return None


def _make_archive(export: Path, folder: Path) -> None:
    """Put the zip of an export into a folder, in place of an earlier one.

    `MANIFEST-ZIP.zip` is the zip of digest `ZIP` of the export whose manifest has the digest `MANIFEST`.
    """
    earlier, made = list(folder.glob("*.zip")), folder / "export.zip.new"
    write_archive(export, made)
    named = made.rename(folder / f"{file_digest(export / MANIFEST)}-{file_digest(made)}.zip")
    for file in earlier:
        if file != named:
            file.unlink()


def _export(found: SearchResult, settings: Settings) -> ExportAnswer:
    folder = settings.home.exports / found.name
    manifest = _manifest(folder)
    if manifest is None or manifest.search_began != origin(found.row)[1]:
        raise _no_export(found)
    digests, training = _digests(folder, manifest), manifest.training or {}
    zips = (settings.home.archives / found.name).glob(f"{digests[MANIFEST]}-*.zip")
    archives = (_file(path, f"{found.name}.zip", path.stem.partition("-")[2]) for path in zips)
    return ExportAnswer(
        trial=training.get("trial"),
        accuracy=manifest.metrics.get("accuracy"),
        epochs=training.get("epochs"),
        archive=next(archives, None),
        files=[_file(folder / name, name, digest) for name, digest in digests.items()],
    )


def _no_export(found: SearchResult) -> HTTPException:
    return HTTPException(404, f"search {found.name!r} has no export yet")


def _file(path: Path, name: str, sha256: str) -> FileAnswer:
    return FileAnswer(name=name, sha256=sha256, bytes=path.stat().st_size)


def _of_digest(sha256: str, settings: Settings) -> Iterator[tuple[Path, str]]:
    """What should have this digest, each with the name to save it as."""
    for folder in settings.home.exports.glob("[!.]*"):
        digests = dict[str, str]()
        with suppress(FileNotFoundError):  # it is being replaced
            if manifest := _manifest(folder):
                digests = _digests(folder, manifest)
        yield from ((folder / name, name) for name, digest in digests.items() if digest == sha256)
    for path in settings.home.archives.glob(f"*/*-{sha256}.zip"):
        yield path, f"{path.parent.name}.zip"


def _manifest(folder: Path) -> Manifest | None:
    """What is in an export's folder; None where there is no export."""
    with suppress(InputError):
        return read_manifest(folder)
    return None


def _digests(folder: Path, manifest: Manifest) -> dict[str, str]:
    """SHA-256 of each file of an export, its manifest among them, by name."""
    return {MANIFEST: file_digest(folder / MANIFEST), **manifest.files}


def _opened(path: Path, sha256: str) -> BufferedReader | None:
    """The file, open; None if it is gone, is a link, or has another digest."""
    file = opened(path)
    if file is None:
        return None
    if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
        file.close()
        return None
    file.seek(0)
    return file
