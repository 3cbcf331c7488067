"""The verb `serve`: the HTTP service. Heavy imports are local, as in `app`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from autokd.cli.options import HomeFolder
from autokd.cli.options import OutputOption as Output

__all__ = ["app"]

app = typer.Typer()


@app.command(rich_help_panel="Service")
def serve(
    host: Annotated[str, typer.Option("--host", help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", help="Port to listen at; 0 takes a free one.", min=0, max=65535)
    ] = 8765,
    read_only: Annotated[bool, typer.Option("--read-only", help="Change nothing, whatever the token.")] = False,
    allow_hosts: Annotated[
        list[str] | None,
        typer.Option("--allow-host", metavar="NAME", help="Another name by which clients call this machine."),
    ] = None,
    allow_origins: Annotated[
        list[str] | None,
        typer.Option("--allow-origin", metavar="URL", help="Another site whose scripts may call the service."),
    ] = None,
    quota: Annotated[
        int | None,
        typer.Option("--quota", metavar="BYTES", help="Size of all files above which nothing new begins.", min=0),
    ] = None,
    at_once: Annotated[int, typer.Option("--at-once", help="Searches that run at the same time.", min=1)] = 1,
    names: Annotated[
        Path | None,
        typer.Option("--names", metavar="FILE", help="Teachers and data that clients may name, beside the recipes'."),
    ] = None,
    new_token: Annotated[
        Literal["read", "run", "admin"] | None,
        typer.Option("--new-token", help="Only print a new token of this role; a running service knows it at once."),
    ] = None,
    forget_tokens: Annotated[bool, typer.Option("--forget-tokens", help="Only make all tokens void.")] = False,
    output: Output = "text",
    home: HomeFolder = None,
) -> None:
    """Serve the searches over HTTP, on this machine alone unless told otherwise; Ctrl-C ends it, and no search.

    Every request needs a token. The first start prints one of the role admin, once: only its digest is kept.
    """
    from autokd.core.extras import needs
    from autokd.searches.workspace import default_workspace

    workspace = default_workspace(home)
    workspace.check()
    with needs("serve", "`autokd serve`"):
        from autokd.cli import serving
        from autokd.service.registered import read_registered
        from autokd.service.server import allowed_hosts, listen
        from autokd.service.settings import Settings

    if forget_tokens:
        serving.forget_tokens(workspace, output)
    elif new_token is not None:
        serving.show_token(workspace, new_token, output)
    else:
        named, origins = read_registered(names), frozenset(allow_origins or ())
        with listen(host, port) as listening:
            hosts = allowed_hosts(host, listening, allow_hosts or ())
            settings = Settings(workspace, hosts, origins, read_only, quota, most_running=at_once, registered=named)
            serving.serve(settings, host, listening, output)
