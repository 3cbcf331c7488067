"""What `serve` does and prints: its tokens, and the service itself."""

import sys
from dataclasses import dataclass
from pathlib import Path

from autokd.cli.output import Output, show_json, show_text
from autokd.searches.workspace import Workspace
from autokd.service.registered import read_registered
from autokd.service.server import allowed_hosts, allowed_origins, listen, run
from autokd.service.settings import Settings
from autokd.service.tokens import Role, Tokens

__all__ = ["Address", "Mode", "forget_tokens", "serve", "show_token"]


@dataclass(frozen=True)
class Address:
    """Where a service listens, and by whom it may be called.

    Attributes:
        host: Address to listen at.
        port: Port; 0 for a free one.
        further_hosts: Names by which it may be called beside its own.
        further_origins: Sites beside its own whose scripts may call it.
    """

    host: str
    port: int
    further_hosts: tuple[str, ...]
    further_origins: tuple[str, ...]


@dataclass(frozen=True)
class Mode:
    """How a service works.

    Attributes:
        read_only: Whether nothing is changed.
        quota_bytes: Bytes of files above which nothing new begins; None for no limit.
        most_running: Searches of its queue that run at the same time.
        names: File of the teachers and data that clients may name; None for those of the recipes alone.
    """

    read_only: bool
    quota_bytes: int | None
    most_running: int
    names: Path | None


def serve(workspace: Workspace, address: Address, mode: Mode, output: Output) -> None:
    """Serve a workspace until the process is interrupted; say first where, and the token of a new service.

    Args:
        workspace: What is served.
        address: Where.
        mode: How.
        output: What to print.

    Raises:
        InputError: If the address cannot be used, or makes no sense.
    """
    hosts = allowed_hosts(address.host, address.further_hosts)
    with listen(address.host, address.port) as listening:
        port = listening.getsockname()[1]
        origins = allowed_origins(hosts, port, address.further_origins)
        settings = Settings(
            workspace, hosts, origins, mode.read_only, mode.quota_bytes, mode.most_running, read_registered(mode.names)
        )
        tokens = Tokens(settings.tokens_file)
        token = None if tokens.exist else tokens.make("admin")
        url = f"http://{f'[{address.host}]' if ':' in address.host else address.host}:{port}"
        if output == "json":
            show_json({"url": url, "token": token, "read_only": mode.read_only})
        else:
            show_text(f"the searches in {workspace.folder} are served at {url}")
            if token:
                show_text(f"token of the role admin, shown this once: {token}")
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
