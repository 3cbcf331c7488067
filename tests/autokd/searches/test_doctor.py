from importlib.metadata import version
from pathlib import Path

import pytest

from autokd.searches import doctor
from autokd.searches.doctor import Finding, examine
from autokd.searches.workspace import default_workspace
from search_spaces.networks.kernels import library
from search_spaces.networks.kernels.library import SWITCH, Kernels


def kernels_line(folder: Path) -> Finding:
    return next(finding for finding in examine(default_workspace(folder)) if finding.subject == "kernels")


def test_it_says_whose_kernels_train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "load", lambda: Kernels(None, f"turned off by {SWITCH}"))
    assert kernels_line(tmp_path) == Finding("kernels", None, f"turned off by {SWITCH}")
    monkeypatch.undo()
    found = kernels_line(tmp_path)
    assert found.detail == library.load().detail
    assert found.works is (True if library.load().library else None)


def test_it_names_each_extra_with_its_version_or_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "EXTRAS", {"here": "torch", "there": "no-such-package"})
    found = {finding.subject: finding for finding in examine(default_workspace(tmp_path))}
    assert found["extra here"] == Finding("extra here", True, f"torch {version('torch')}")
    assert found["extra there"].detail == "not installed: pip install 'autokd[there]'"
