"""One tiny search that nobody disturbed, as evidence to compare with and to plant violations in."""

import shutil
import signal
import sys
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest
from evidence import Evidence
from victims import Recipe, Victim

from autokd.cli import main

TINY = Recipe(
    (
        *("trials=2", "data.subset=300", "space.name=nago", "final.epochs=2", "final.families=1", "workers.count=1"),
        *("references.names=none", "training.rungs=[1, 2]", "training.views=1", "training.precision=float32"),
    )
)


@pytest.fixture(scope="session")
def tiny() -> Recipe:
    """A search of a few seconds."""
    return TINY


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    """What it leaves behind, trained in this process; not to be changed."""
    victim = Victim(tmp_path_factory.mktemp("undisturbed"), TINY, ("workers.engine=inline",))
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with mock.patch.object(sys, "argv", ["autokd", *victim.words]), pytest.raises(SystemExit) as left:
        main()
    for number, handler in handlers.items():
        signal.signal(number, handler)
    assert not left.value.code
    evidence = victim.evidence()
    assert evidence is not None
    return evidence


@pytest.fixture
def copied(undisturbed: Evidence, tmp_path: Path) -> Evidence:
    """The same with a home of its own."""
    return replace(undisturbed, folder=Path(shutil.copytree(undisturbed.folder, tmp_path / "home")))
