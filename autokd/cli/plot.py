"""The command `plot`: writes a picture of the results of a search."""

from pathlib import Path

import typer

from autokd.analysis.evidence import Evidence, evidence
from autokd.analysis.importances import share_text
from autokd.analysis.plots import FORMATS, render
from autokd.analysis.report import plot_page
from autokd.cli.output import Output, picture_format, show_json, write_picture
from autokd.searches.result import SearchResult
from autokd.searches.tables import counted

__all__ = ["plot"]

N_NAMED = 3  # most important dimensions to name


def plot(result: SearchResult, out: Path, output: Output) -> None:
    """Write the picture of a search, and print what was written.

    Args:
        result: The search.
        out: File to write; its suffix determines the format.
        output: What to print.

    Raises:
        InputError: If none of its trials has a value yet, or the file cannot be written.
    """
    form = picture_format(out, ("html", *FORMATS))
    shown = evidence(result)
    write_picture(out, plot_page(shown).encode() if form == "html" else render(shown, form))
    _say(shown, out, output)


def _say(shown: Evidence, out: Path, output: Output) -> None:
    trials = len(shown.outcomes)
    if output == "text":
        typer.echo(f"wrote {out}: {counted(trials, 'trial')}; {shown.note or _named(shown)}")
        return
    facts = {"file": str(out), "search": shown.name, "trials": trials}
    learnt_from = shown.families[0].learnt_from
    show_json(facts | {"learnt_from": learnt_from, "importances": dict(shown.importances) or None, "note": shown.note})


def _named(shown: Evidence) -> str:
    """The most important dimensions, with the caveat about the number of trials."""
    named = [f"{name} {share_text(share)}" for name, share in list(shown.importances.items())[:N_NAMED]]
    return f"most important, {shown.caveat}: {', '.join(named)}"
