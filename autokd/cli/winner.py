"""The commands that hand a winner on: as a folder, to a hub, and the check of a folder. Heavy imports are local.

`train`, which makes a winner of a search, is in `app`.
"""

from pathlib import Path
from typing import Annotated

import typer

from autokd.cli.options import Force, HomeFolder, Name, Within
from autokd.cli.options import OutputOption as Output

__all__ = ["app"]

app = typer.Typer()
PANEL = "Winner"


@app.command(rich_help_panel=PANEL)
def export(
    name: Name,
    folder: Annotated[Path, typer.Argument(help="Folder to write.", show_default=False)],
    keep: Annotated[
        bool, typer.Option("--keep-batch-norm", help="Do not fold batch norm into the convolutions: to train on.")
    ] = False,
    force: Force = False,
    within: Within = None,
    output: Output = "text",
    home: HomeFolder = None,
) -> None:
    """Write the best student as a plain PyTorch module, reload it in a fresh interpreter, and compare.

    An earlier export of the same search is replaced as a whole; nothing that an export did not write ever is.
    """
    from autokd.cli.exports import exported
    from autokd.cli.within import call_to_train, parse_within
    from autokd.searches.api import find

    result, limits = find(name, home), parse_within(within)
    student = result.best_within(limits)
    verification = result.export(folder, student, fold=not keep, force=force)
    exported(folder, verification, call_to_train(result, student, limits), output, result.compare(student))


@app.command(rich_help_panel=PANEL)
def push(
    name: Name,
    repository: Annotated[str, typer.Argument(help="Repository on the hub, `user/name`.", show_default=False)],
    folder: Annotated[
        Path | None, typer.Option("--folder", help="Folder to write.", show_default="the repository's name")
    ] = None,
    licence: Annotated[
        str | None,
        typer.Option("--licence", help="Licence that the model card names: apache-2.0.", show_default="none"),
    ] = None,
    uploads: Annotated[bool, typer.Option("--upload", help="Also upload the folder to the hub.")] = False,
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
    force: Force = False,
    within: Within = None,
    output: Output = "text",
    home: HomeFolder = None,
) -> None:
    """Write the best student as `export` does, as a repository of the Hugging Face hub with a model card.

    Nothing is uploaded without `--upload`. The folder holds up to 32 of the validation samples.
    """
    from autokd.cli.exports import pushed
    from autokd.cli.within import call_to_train, parse_within
    from autokd.export.card import Card
    from autokd.export.upload import check_upload, upload
    from autokd.searches.api import find

    card, folder = Card(repository, licence), folder or Path(repository)
    if uploads:
        check_upload()
    result, limits = find(name, home), parse_within(within)
    student = result.best_within(limits)
    verification = result.export(folder, student, force=force, card=card)
    address = upload(folder, repository, private) if uploads else None
    pushed(folder, verification, call_to_train(result, student, limits), output, address)


@app.command(rich_help_panel=PANEL)
def verify(
    folder: Annotated[Path, typer.Argument(help="An exported folder.", show_default=False)],
    data: Annotated[
        str | None,
        typer.Option("--data", help="Measure test accuracy again: fashion-mnist, digits, a .npz file, a folder."),
    ] = None,
    output: Output = "text",
) -> None:
    """Load an exported student in a fresh interpreter and compare it with what was exported.

    This RUNS the folder's `model.py`, with your rights: do not verify a folder whose code you would not run. It finds
    changed files and wrong results; it cannot tell who wrote the folder.
    """
    from autokd.cli.exports import verified
    from autokd.export.verification import samples_to_verify, verify_folder

    verified(folder, verify_folder(folder, samples_to_verify(folder, data) if data else None), output)
