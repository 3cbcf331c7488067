"""What a service is told when it starts."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Request

from autokd.searches.workspace import Workspace
from autokd.service.registered import Registered

__all__ = ["LOCAL", "Current", "Settings"]

LOCAL = ("127.0.0.1", "localhost", "[::1]")
"""The names of this machine."""


@dataclass(frozen=True)
class Settings:
    """What a service is told when it starts.

    Attributes:
        home: The workspace that it serves.
        hosts: Names under which it may be called: host names and addresses, without port.
        origins: Pages whose scripts may call it, such as `http://127.0.0.1:8765`.
        read_only: Whether it changes nothing.
        quota_bytes: Size of the workspace's files above which it begins nothing that writes; None for no limit.
        most_running: Searches of the queue that run at the same time.
        registered: Teachers and data that clients may name.
    """

    home: Workspace
    hosts: tuple[str, ...] = LOCAL
    origins: frozenset[str] = frozenset()
    read_only: bool = False
    quota_bytes: int | None = None
    most_running: int = 1
    registered: Registered = field(default_factory=Registered)

    @property
    def folder(self) -> Path:
        """The service's own files: tokens, audit, exports."""
        return self.home.folder / "service"

    @property
    def audit_file(self) -> Path:
        """Where changes are recorded, see `audit`."""
        return self.folder / "audit.jsonl"

    def job_log(self, job: int) -> Path:
        """The file of what the processes print that run the search of a job."""
        return self.folder / "logs" / f"job-{job}.log"

    @property
    def tokens_file(self) -> Path:
        """Where the digests of tokens are, see `tokens`."""
        return self.folder / "tokens.json"


async def _current(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


Current = Annotated[Settings, Depends(_current)]
"""The settings, as an argument of a route."""
