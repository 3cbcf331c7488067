"""What a running search tells; each face listens in its own way."""

from collections.abc import Sequence
from typing import Protocol

from autokd.searches.facts import Facts
from autokd.searches.progress import Progress, Training
from search_spaces.design.envelope import Offer

__all__ = ["SILENT", "Reporter", "Silent"]


class Reporter(Protocol):
    """Hears what a search does: called from the controller's thread at all news, and every few seconds without."""

    def loading(self) -> None:
        """The data are loaded; images are decoded, which takes a while if they are many."""

    def checking(self) -> None:
        """The teacher is looked at; a large one takes a while to answer for the validation split."""

    def checked(self, facts: Facts, offers: Sequence[Offer]) -> None:
        """Data and teacher are good; what the space offers under the budget, which may be nothing."""

    def began(self, name: str) -> None:
        """The search is recorded under this name."""

    def prepared(self, ready: int, needed: int) -> None:
        """The teacher's outputs for so many of the augmented views and other splits are stored."""

    def notify(self, line: str) -> None:
        """Something that the user should know, such as that teachers run in training because the disk is too small."""

    def searched(self, progress: Progress) -> None:
        """The search recorded something."""

    def trained(self, trainings: Sequence[Training]) -> None:
        """How far the full-length trainings are."""


class Silent:
    """Says nothing."""

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
