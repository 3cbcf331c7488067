"""The command `plot`: writes a picture of the results of a search."""

from pathlib import Path
from typing import Literal

import typer

from autokd.analysis.plots import FORMATS, Evidence, evidence, render
from autokd.cli.output import show_json
from autokd.core.files import write_atomically
from autokd.errors import InputError
from autokd.searches.api import find
from autokd.searches.tables import counted

__all__ = ["plot"]

N_NAMED = 3  # most important dimensions to name


def plot(name: str, out: Path, output: Literal["text", "json"], home: Path | None) -> None:
    """Write the picture of a search, and print what was written.

    Args:
        name: Name of the search.
        out: File to write; its suffix determines the format.
        output: What to print.
        home: Folder of all searches; the default one if None.

    Raises:
        InputError: If there is no such search, none of its trials has a value yet, or the file cannot be written.
    """
    form = out.suffix.removeprefix(".")
    if form not in FORMATS:
        raise InputError(f"the file to write must end in {', '.join(f'.{known}' for known in FORMATS)}, but got {out}.")
    shown = evidence(find(name, home))
    content = render(shown, form)
    try:
        write_atomically(out, lambda temporary: temporary.write_bytes(content))
    except OSError as error:
        raise InputError(f"{out} cannot be written: {error.strerror}.") from None
    _say(shown, out, output)


def _say(shown: Evidence, out: Path, output: Literal["text", "json"]) -> None:
    trials = len(shown.trial_records)
    if output == "text":
        typer.echo(f"wrote {out}: {counted(trials, 'trial')}; {shown.note or _named(shown)}")
        return
    facts = {"file": str(out), "search": shown.name, "trials": trials}
    show_json(facts | {"importances": dict(shown.importances) or None, "note": shown.note})


def _named(shown: Evidence) -> str:
    """The most important dimensions, with the caveat about the number of trials."""
    named = [f"{name} {100 * share:.0f} %" for name, share in list(shown.importances.items())[:N_NAMED]]
    return f"most important, {shown.caveat}: {', '.join(named)}"
