"""The progress of a running search, reported to whoever shows it."""

from collections.abc import Sequence
from typing import Protocol

from autokd.searches.facts import Facts
from autokd.searches.progress import Progress, Training
from search_spaces.design.envelope import Offer

__all__ = ["SILENT", "Reporter", "Silent"]


class Reporter(Protocol):
    """Receives the progress of a search.

    All methods are called from the controller's thread: at every change, and every few seconds without one.

    Attributes:
        n_evaluations: Of how many running evaluations it shows how far they are: those are read from files.
    """

    n_evaluations: int

    def loading(self) -> None:
        """Data are being loaded; decoding many images takes a while."""

    def checking(self) -> None:
        """The teacher is being evaluated on the validation split; a large one takes a while."""

    def checked(self, facts: Facts, offers: Sequence[Offer]) -> None:
        """Data and teacher are usable; `offers` says what the space offers under each limit of the budget."""

    def began(self, name: str) -> None:
        """The search is recorded under this name."""

    def prepared(self, ready: int, needed: int) -> None:
        """The teacher's outputs are stored for `ready` of `needed` augmented views and other splits."""

    def notify(self, line: str) -> None:
        """A line for the user, such as that the teacher runs in every training because the disk is too small."""

    def searched(self, progress: Progress) -> None:
        """The search recorded something."""

    def trained(self, trainings: Sequence[Training]) -> None:
        """The retrainings at full length made progress."""


class Silent:
    """Reports nothing."""

    n_evaluations = 0

    def loading(self) -> None:
        """Ignore it."""

    def checking(self) -> None:
        """Ignore it."""

    def checked(self, facts: Facts, offers: Sequence[Offer]) -> None:
        """Ignore it."""

    def began(self, name: str) -> None:
        """Ignore it."""

    def prepared(self, ready: int, needed: int) -> None:
        """Ignore it."""

    def notify(self, line: str) -> None:
        """Ignore it."""

    def searched(self, progress: Progress) -> None:
        """Ignore it."""

    def trained(self, trainings: Sequence[Training]) -> None:
        """Ignore it."""


SILENT: Reporter = Silent()
