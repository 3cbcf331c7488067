"""Handling of Ctrl-C and SIGTERM, which must stop a search at any point.

Python drops a KeyboardInterrupt that is raised in the callback of a weak reference or in a finaliser, such as those
that SQLAlchemy runs all the time. The signal is therefore also recorded, and checked when progress is reported.
"""

import signal
import sys
from types import FrameType

__all__ = ["listen", "raise_if_interrupted"]

_asked: set[int] = set()  # signals received; global, as the handlers of a process are


def listen() -> None:
    """Let both signals raise KeyboardInterrupt: at once and, if that is dropped, in the next `raise_if_interrupted`."""
    _asked.clear()
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = _show_others
    for signum in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(signum) is not signal.SIG_IGN:  # ignored in background jobs
            signal.signal(signum, _interrupt)


def raise_if_interrupted() -> None:
    """Raise KeyboardInterrupt if a signal was received since `listen`."""
    if _asked:
        raise KeyboardInterrupt


def _interrupt(signum: int, frame: FrameType | None) -> None:
    _asked.add(signum)
    raise KeyboardInterrupt


def _show_others(unraisable: "sys.UnraisableHookArgs") -> None:
    """Report dropped exceptions as Python does, except KeyboardInterrupt, which is raised again later."""
    if unraisable.exc_type is not KeyboardInterrupt:
        sys.__unraisablehook__(unraisable)
