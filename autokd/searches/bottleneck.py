"""Why tasks wait for a worker, as a line for the user."""

from collections.abc import Iterable

from workers.base import Placement

__all__ = ["Bottleneck"]


class Bottleneck:
    """What tasks wait for, told when it changes."""

    def __init__(self) -> None:
        self._reason: str | None = None

    def line(self, placements: Iterable[Placement]) -> str | None:
        """Why tasks in these places wait; None if none does, or if it is the reason of the last time."""
        reason = next((placement.reason for placement in placements if placement.reason), None)
        is_new, self._reason = reason != self._reason, reason
        return f"waiting for a worker: {reason}" if reason and is_new else None
