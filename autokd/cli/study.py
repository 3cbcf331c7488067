"""The command `study`: writes a search as an Optuna study."""

import shlex
from pathlib import Path

from autokd.analysis.optuna_study import write_study
from autokd.cli.output import Output, show_json, show_text
from autokd.searches.result import SearchResult
from autokd.searches.tables import counted

__all__ = ["study"]


def study(result: SearchResult, file: Path, force: bool, output: Output) -> None:
    """Write the study, and print what was written.

    Args:
        result: The search.
        file: File to write.
        force: Whether it may exist.
        output: What to print.

    Raises:
        InputError: If the file exists, or cannot be written.
    """
    trials = write_study(result, file, force)
    if output == "json":
        show_json({"file": str(file), "study": result.name, "trials": trials})
    else:
        show_text(f"wrote {file}: {counted(trials, 'trial')}; {_how_to_see(file)}")


def _how_to_see(file: Path) -> str:
    if found := sorted({*str(file)} & {*"?%{}"}):  # which a database's URL and Optuna take for their own
        return f"optuna-dashboard shows them if no name in the path has {' or '.join(found)}"
    return f"optuna-dashboard {shlex.quote(f'sqlite:///{file}')} shows them"
