"""Ctrl-C and SIGTERM, which must stop a search wherever they hit it.

Python drops a KeyboardInterrupt that is raised in the callback of a weak reference or in a finaliser, such as those
that SQLAlchemy runs all the time. So the wish is kept, and whoever reports the next news sees it.
"""

import signal
import sys
from types import FrameType

__all__ = ["listen", "raise_if_interrupted"]

_asked: set[int] = set()  # signals of this process, as handlers themselves are the process'


def listen() -> None:
    """Let both signals raise KeyboardInterrupt, now and, if that gets lost, at the next `raise_if_interrupted`."""
    _asked.clear()
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = _show_others
    for signum in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(signum) is not signal.SIG_IGN:  # as for jobs in the background
            signal.signal(signum, _interrupt)


def raise_if_interrupted() -> None:
    """Nothing, unless a signal came.

    Raises:
        KeyboardInterrupt: If one did.
    """
    if _asked:
        raise KeyboardInterrupt


def _interrupt(signum: int, frame: FrameType | None) -> None:
    _asked.add(signum)
    raise KeyboardInterrupt


def _show_others(unraisable: "sys.UnraisableHookArgs") -> None:
    """What Python tells of dropped exceptions, but for these, which do not get lost."""
    if unraisable.exc_type is not KeyboardInterrupt:
        sys.__unraisablehook__(unraisable)
