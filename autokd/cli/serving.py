"""What `serve` does and prints: its tokens, and the service itself."""

import socket
import sys
from dataclasses import replace

from autokd.cli.output import Output, show_json, show_text
from autokd.searches.workspace import Workspace
from autokd.service.server import allowed_origins, run
from autokd.service.settings import Settings
from autokd.service.tokens import Role, Tokens

__all__ = ["forget_tokens", "serve", "show_token"]


def serve(settings: Settings, host: str, listening: socket.socket, output: Output) -> None:
    """Serve a workspace until the process is interrupted; say first where, and the token of a new service.

    Args:
        settings: Of the service, whose own origins are added.
        host: The address, as it was given.
        listening: What listens there.
        output: What to print.
    """
    port = listening.getsockname()[1]
    settings = replace(settings, origins=allowed_origins(settings.hosts, port, settings.origins))
    tokens = Tokens(settings.tokens_file)
    token = None if tokens.exist else tokens.make("admin")
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    page = f"{url}/#token={token}" if token else url
    if output == "json":
        show_json({"url": url, "token": token, "page": page, "read_only": settings.read_only})
    else:
        show_text(f"the searches in {settings.home.folder} are served at {url}")
        if token:
            show_text(f"token of the role admin, shown this once: {token}")
            show_text(f"its page, for the browser in which you open this: {page}")
        else:
            show_text(f"its token was shown before; another one: autokd serve --new-token admin{settings.home.option}")
    sys.stdout.flush()
    run(settings, listening)


def show_token(workspace: Workspace, role: Role, output: Output) -> None:
    """Print a new token, which is shown this once.

    Args:
        workspace: What it is for.
        role: What it allows.
        output: What to print.
    """
    token = Tokens(Settings(workspace).tokens_file).make(role)
    if output == "json":
        show_json({"token": token, "role": role})
    else:
        show_text(token)


def forget_tokens(workspace: Workspace, output: Output) -> None:
    """Make all tokens void.

    Args:
        workspace: What they are for.
        output: What to print.
    """
    n = Tokens(Settings(workspace).tokens_file).forget()
    if output == "json":
        show_json({"forgotten": n})
    else:
        show_text(f"{n} tokens are void; the next `autokd serve` shows a new one")
