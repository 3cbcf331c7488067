"""The console on which everything is printed."""

from rich.console import Console

__all__ = ["PlainConsole"]

FILE_WIDTH = 10_000  # columns, if the output is not a terminal: nothing is wrapped


class PlainConsole(Console):
    """A console that prints text as it is: names and paths of users are no markup, whatever brackets they have.

    In a file or pipe, tables are as wide as they need.
    """

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=False, force_jupyter=False)
        if not self.is_terminal:
            self.width = FILE_WIDTH
