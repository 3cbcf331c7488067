"""The shell of the page: HTML without data, its scripts and its styles. None of it needs a token."""

from importlib import resources
from pathlib import Path

from fastapi import APIRouter, HTTPException
from starlette.responses import FileResponse

__all__ = ["POLICY", "router"]

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
"""What the page may load: its own files, and answers of the service that made it."""

_HERE = Path(str(resources.files("autokd.service.pages")))
_SHELL = _HERE / "static" / "shell.html"
_FILES = {file.name: file for file in (_HERE / "static").iterdir() if file.suffix in (".css", ".js")}
_FILES["report.css"] = Path(str(resources.files("autokd.analysis"))) / "templates" / "page.css"

router = APIRouter(include_in_schema=False)


@router.get("/")
@router.get("/new")
@router.get("/searches/{search}")
@router.get("/searches/{search}/trials/{trial}")
def send_shell() -> FileResponse:
    """The shell, whose script asks for the fragment of the address."""
    return FileResponse(_SHELL, headers={"Content-Security-Policy": POLICY})


@router.get("/static/{name}")
def send_file(name: str) -> FileResponse:
    """A script or a style sheet of the shell."""
    if name not in _FILES:
        raise HTTPException(404, "the page has no such file")
    return FileResponse(_FILES[name])
