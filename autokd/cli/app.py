"""The commands: each parses its arguments, calls the public API and prints the result. Heavy imports are local."""

import io
import os
import shlex
import signal
import sys
import traceback
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer

from autokd.cli import pictures, serve, upkeep, winner
from autokd.cli.damage import explained, find_explanation, forget_command
from autokd.cli.interruption import listen
from autokd.cli.options import Force, HomeFolder, LateOverride, Name, Override, Overwrite, Within
from autokd.cli.options import OutputOption as Output
from autokd.errors import AutoKDError, InputError

if TYPE_CHECKING:
    from autokd.config.schema import SearchConfig
    from autokd.searches.result import SearchResult

__all__ = ["app", "main"]

INTERRUPTED = 130  # exit code of typer after Ctrl-C, when there is no search to resume yet

app = typer.Typer(
    name="autokd",
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(winner.app)
app.add_typer(pictures.app)
app.add_typer(upkeep.app)
app.add_typer(serve.app)

Exported = Annotated[
    Path | None, typer.Option("--export", metavar="FOLDER", help="Then train the winner at full length and export it.")
]


def main() -> NoReturn:
    """Run the command line; an `AutoKDError` is printed on one line and determines the exit code."""
    listen()
    forget_command()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # what a terminal cannot show, such as the sign of plus or minus
    try:
        code = app(prog_name="autokd", standalone_mode=False) or 0
        if code == INTERRUPTED:
            _complain("interrupted.")
        sys.stdout.flush()
    except AutoKDError as error:
        shown = explained(error)
        _complain(str(shown))
        code = shown.exit_code
    except (BrokenPipeError, SystemExit) as error:
        if not isinstance(error.__context__ or error, BrokenPipeError):  # typer makes an exit of it
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the reader of the output has ended, such as `head` in a pipe
        code = 0
    except Exception as error:
        code = _show_usage_error(error)
    for signum in (signal.SIGINT, signal.SIGTERM):  # a second Ctrl-C must not change the exit code at shutdown
        signal.signal(signum, signal.SIG_IGN)
    sys.exit(code)


def _show_version(wanted: bool) -> None:
    if wanted:
        from autokd import __version__

        typer.echo(f"autokd {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def program(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Find the small network to train for a teacher and a device budget, and how to distil it."""
    if context.invoked_subcommand is None:  # a missing command is bad input, with exit code 2
        with redirect_stdout(sys.stderr):
            typer.echo(context.get_help())
        raise typer.Exit(InputError.exit_code)


@app.command(rich_help_panel="Search")
def recipes(output: Output = "text") -> None:
    """List the ready-made searches."""
    from autokd.cli import show
    from autokd.recipes.catalogue import recipes

    show.recipes(recipes(), output)


@app.command(rich_help_panel="Search")
def init(
    recipe: Annotated[str, typer.Argument(help="Name of a recipe.", show_default=False)],
    file: Annotated[Path, typer.Argument(help="File to write.")] = Path("search.toml"),
    force: Overwrite = False,
) -> None:
    """Write a recipe as an editable file, and beside it the schema with which editors check and complete it."""
    from autokd.recipes.catalogue import SCHEMA_FILE, write_recipe

    write_recipe(recipe, file, force)
    typer.echo(
        f"wrote {file} and, for editors, {SCHEMA_FILE}; start it with `{shlex.join(['autokd', 'search', str(file)])}`"
    )


@app.command(rich_help_panel="Search")
def schema() -> None:
    """Print the JSON schema of a search.toml, for editors."""
    import json

    from autokd.config.json_schema import search_schema

    typer.echo(json.dumps(search_schema(), indent=2))


@app.command(rich_help_panel="Search")
def search(
    file_or_recipe: Annotated[
        str, typer.Argument(metavar="FILE-or-RECIPE", help="A search.toml, or a recipe's name.", show_default=False)
    ],
    overrides: Override = None,
    name: Annotated[str | None, typer.Option("--name", help="Name of the search.", show_default="the file's")] = None,
    export: Exported = None,
    force: Force = False,
    output: Output = "text",
    home: HomeFolder = None,
) -> None:
    """Search; Ctrl-C leaves a resumable search."""
    from autokd.recipes.catalogue import find_config
    from autokd.searches.api import begin

    config = find_config(file_or_recipe, overrides or [], name)
    _check_replaceable(export, None, force)
    is_named = name is not None or any(override.partition("=")[0].strip() == "name" for override in overrides or [])
    forget_command()  # the rows of a new search are as it writes them
    with _reporter(output) as reporter:
        command = ["autokd", *sys.argv[1:]]
        result = begin(config, home, reporter=reporter, command=command, renames=not is_named)
        result.resume()
    _conclude(result, export, force, output)


@app.command(rich_help_panel="Search")
def check(
    file_or_recipe: Annotated[
        str, typer.Argument(metavar="FILE-or-RECIPE", help="A search.toml, or a recipe's name.", show_default=False)
    ],
    overrides: Override = None,
    output: Output = "text",
    home: HomeFolder = None,
) -> None:
    """Check a search as `search` does and show what its teacher costs and its spaces offer; begin none.

    The file needs no budget yet: without one it is shown what is as large as the teacher.
    """
    from autokd.cli.check import TEACHERS_OWN, check
    from autokd.recipes.catalogue import find_config
    from autokd.searches.workspace import default_workspace

    check(find_config(file_or_recipe, overrides or [], defaults=TEACHERS_OWN), default_workspace(home), output)


@app.command(rich_help_panel="Search")
def resume(
    name: Name,
    overrides: LateOverride = None,
    export: Exported = None,
    force: Force = False,
    output: Output = "text",
    home: HomeFolder = None,
) -> None:
    """Go on after any interruption; only trials, seconds, workers, references, final, stop and tracking may change."""
    from autokd.searches.api import find

    _check_replaceable(export, find(name, home) if export else None, force)
    with _reporter(output) as reporter:
        result = find(name, home, reporter)
        result.resume(_changed(result, overrides))
    _conclude(result, export, force, output)


@app.command(rich_help_panel="Search")
def teach(
    file_or_recipe: Annotated[
        str, typer.Argument(metavar="FILE-or-RECIPE", help="A search.toml, or a recipe's name.", show_default=False)
    ],
    folder: Annotated[Path, typer.Argument(help="Folder of the trained weights.", show_default=False)],
    epochs: Annotated[
        int, typer.Option("--epochs", help="Length of the whole schedule.", min=1, max=100_000, show_default=False)
    ],
    checkpoints: Annotated[bool, typer.Option("--checkpoints", help="Keep the weights of every epoch, too.")] = False,
    seed: Annotated[
        int | None,
        typer.Option("--seed", help="Seed of the training.", min=0, max=2**63 - 1, show_default="the file's"),
    ] = None,
    overrides: Override = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace files, and abandon an unfinished training with other settings.")
    ] = False,
    output: Output = "text",
) -> None:
    """Train the teacher of a search: the module of its factory, on the labels of its data.

    Ctrl-C keeps every finished epoch; the same command goes on.
    """
    from autokd.cli.teach import teach
    from autokd.recipes.catalogue import find_config
    from autokd.teachers.training_plan import TeacherTraining

    config = find_config(file_or_recipe, overrides or [])
    seed = config.seed if seed is None else seed
    teach(TeacherTraining(config, epochs, seed, folder, checkpoints), Path(file_or_recipe), force, output)


@app.command("list", rich_help_panel="Results")
def list_searches(output: Output = "text", home: HomeFolder = None) -> None:
    """List all searches."""
    from autokd.cli.searches import show_searches
    from autokd.searches.workspace import default_workspace

    show_searches(default_workspace(home), output)


@app.command(rich_help_panel="Results")
def status(
    name: Name,
    watch: Annotated[
        float | None,
        typer.Option("--watch", metavar="SECONDS", help="Show it again every so often until the search ends.", min=0.1),
    ] = None,
    output: Output = "text",
    home: HomeFolder = None,
) -> None:
    """Show how far a search is, its best so far, and why trials wait or failed."""
    from autokd.cli import show
    from autokd.cli.watch import keep_showing
    from autokd.searches.api import find

    if watch is None:
        show.status(find(name, home), output)
    else:
        keep_showing(find(name, home), watch, output)


@app.command(rich_help_panel="Results")
def watch(name: Name, output: Output = "text", home: HomeFolder = None) -> None:
    """Watch a search that runs elsewhere, as `search` shows it there; end as it does, with the same exit code.

    Ctrl-C ends the watching only.
    """
    from autokd.cli.watch import watch_search
    from autokd.searches.api import find

    watch_search(find(name, home), output)


@app.command("show", rich_help_panel="Results")
def show_trial(
    name: Name,
    trial: Annotated[str, typer.Argument(help="Number of the trial, or name of a reference.", show_default=False)],
    output: Output = "text",
    home: HomeFolder = None,
) -> None:
    """Show one trial or reference whole."""
    from autokd.cli import show
    from autokd.searches.api import find

    result = find(name, home)
    show.trial(result.trial(trial), result, output)


@app.command(rich_help_panel="Results")
def best(name: Name, within: Within = None, output: Output = "text", home: HomeFolder = None) -> None:
    """Show the best student beside its teacher and the references."""
    from autokd.cli.best import best
    from autokd.cli.within import parse_within
    from autokd.searches.api import find

    best(find(name, home), output, within=parse_within(within))


@app.command(rich_help_panel="Results")
def pareto(
    name: Name,
    against: Annotated[
        Literal["params", "macs", "activation_bytes", "memory_bytes"] | None,
        typer.Option(
            "--against",
            help="Cost that the accuracy is set against.",
            show_default="the search's objectives, or params",
        ),
    ] = None,
    output: Output = "text",
    home: HomeFolder = None,
) -> None:
    """Show the students that are best for their size: no other one, trained as long, is as accurate and as small."""
    from autokd.cli.pareto import pareto
    from autokd.searches.api import find

    pareto(find(name, home), against, output)


@app.command(rich_help_panel="Results")
def families(
    name: Name,
    top: Annotated[int, typer.Option("--top", help="How many to show.", min=1)] = 10,
    output: Output = "text",
    home: HomeFolder = None,
) -> None:
    """Rank the families by what the search believes of them."""
    from autokd.cli import show
    from autokd.searches.api import find

    show.families(find(name, home), top, output)


@app.command(rich_help_panel="Winner")
def train(
    name: Name,
    overrides: LateOverride = None,
    within: Within = None,
    output: Output = "text",
    home: HomeFolder = None,
) -> None:
    """Draw students from the best of `families` that climbed highest, and distil them at full length.

    Ctrl-C keeps every finished epoch.
    """
    from autokd.cli.best import trained
    from autokd.cli.within import parse_within
    from autokd.searches.api import find

    limits = parse_within(within)
    with _reporter(output) as reporter:
        result = find(name, home, reporter)
        students = result.train(_changed(result, overrides), limits)
    trained(students, result, output, limits)


@app.command(rich_help_panel="Help")
def doctor(
    database: Annotated[
        bool, typer.Option("--database", help="List the rows of the database that are damaged; exit code 2 if any is.")
    ] = False,
    output: Output = "text",
    home: HomeFolder = None,
) -> None:
    """Show what works here and what does not: versions, devices, engines, database, data, disk."""
    from autokd.cli.doctor import doctor, doctor_database

    (doctor_database if database else doctor)(output, home)


def _conclude(result: "SearchResult", export: Path | None, force: bool, output: Literal["text", "json"]) -> None:
    """Show the best student of a search, or train and export it if a folder is given."""
    from autokd.cli.best import best

    if export is None:
        best(result, output)
        return
    with _reporter(output) as reporter:
        result.with_reporter(reporter).train()
    best(result, output, (export, result.export(export, force=force)))


def _check_replaceable(export: Path | None, search: "SearchResult | None", force: bool) -> None:
    """Check before a search of hours that its result can be exported to the folder."""
    from autokd.export.replacement import check_replaceable
    from autokd.searches.manifest import origin

    if export is not None:
        check_replaceable(export, None if search is None else origin(search.row), force)


def _reporter(output: Literal["text", "json"]) -> Any:
    from autokd.cli.reporting import reporter

    return reporter(to_stderr=output == "json")


def _changed(result: "SearchResult", overrides: list[str] | None) -> "SearchConfig | None":
    from autokd.config.toml import override_config

    return override_config(result.config, overrides) if overrides else None


def _show_usage_error(error: Exception) -> int:
    """Print an error of typer, or the damaged row behind any other one, on one line; return the exit code.

    An error that nothing explains is a bug, and printed with its traceback.
    """
    show, context = getattr(error, "format_message", None), getattr(error, "ctx", None)
    if show is None:
        if damage := find_explanation():
            _complain(str(damage))
            return damage.exit_code
        traceback.print_exception(error)
        _complain(f"failed unexpectedly: {type(error).__name__}; please report the lines above.")
        return AutoKDError.exit_code
    hint = f" See `{context.command_path} --help`." if context else ""
    _complain(show() + ("" if show().endswith((".", "?")) else ".") + hint)
    return InputError.exit_code


def _complain(message: str) -> None:
    typer.echo(f"autokd: {message}", err=True)
