"""The console on which everything is printed."""

from rich.console import Console

__all__ = ["PlainConsole"]


class PlainConsole(Console):
    """A console that prints text as it is: names and paths of users are no markup, whatever brackets they have."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=False, force_jupyter=False)
