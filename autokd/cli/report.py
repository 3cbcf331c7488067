"""The verb `report`: writes a search as one HTML page."""

import hashlib
from pathlib import Path

import typer

from autokd.analysis.report import GENERATOR, report_page
from autokd.cli.output import Output, show_json, write_picture
from autokd.errors import InputError
from autokd.searches.result import SearchResult

__all__ = ["report"]


def report(result: SearchResult, folder: Path, output: Output) -> None:
    """Write the report of a search as `index.html`, and print what was written.

    Args:
        result: The search.
        folder: Folder to write; it is made if it is missing, and what else it holds stays.
        output: What to print: text or one JSON value.

    Raises:
        InputError: If the search has no trained student yet, or the file is another one or cannot be written.
    """
    file = folder / "index.html"
    _check_replaceable(file)
    content = report_page(result).encode()
    write_picture(file, content)
    digest = hashlib.sha256(content).hexdigest()
    if output == "json":
        show_json({"file": str(file), "search": result.name, "bytes": len(content), "sha256": digest})
    else:
        typer.echo(f"wrote {file}: {len(content) / 1e3:.0f} kB, SHA-256 {digest}")


def _check_replaceable(file: Path) -> None:
    """Check that no file is in the place of the report but an earlier one."""
    try:
        before = file.read_text(errors="replace")
    except FileNotFoundError:
        return
    except OSError as error:
        raise InputError(f"{file} cannot be written: {error.strerror}.") from None
    if f'<meta name="generator" content="{GENERATOR}">' not in before:
        raise InputError(f"{file} is no report of AutoKD and is not replaced: choose another folder.")
