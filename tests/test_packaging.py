"""The distribution: what it depends on, what its extras bring, what is shipped, and that it works once installed."""

import os
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from collections.abc import Iterator, Sequence
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from autokd.core.extras import EXTRAS

ROOT = Path(__file__).parent.parent
FOR_DEVELOPERS = {"docs", "test"}
SHORT = [
    "--set",
    "trials=1",
    "--set",
    "training.rungs=[1,2]",
    "--set",
    "final.epochs=1",
    "--set",
    "references.names=none",
]


def project() -> dict[str, Any]:
    return dict(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"])


def test_doctor_and_errors_know_exactly_the_extras_that_can_be_installed() -> None:
    offered = project()["optional-dependencies"]
    assert set(EXTRAS) == set(offered) - FOR_DEVELOPERS
    for extra, package in EXTRAS.items():
        assert any(requirement.startswith(package) for requirement in offered[extra]), extra


def execute(*command: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def build(source: Path, out: Path, kind: str) -> Path:
    """The file that hatchling, run as pip would run it but without a network, makes of a source tree."""
    done = execute(sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", out, folder=source)
    assert done.returncode == 0, done.stderr
    (file,) = out.iterdir()
    return file


def needed(requirements: Sequence[str]) -> Iterator[str]:
    """Names of the distributions that these requirements bring, directly or not."""
    seen, waiting = set(), [Requirement(text) for text in requirements]
    while waiting:
        wanted = waiting.pop()
        for extra in ("", *wanted.extras):
            if (key := (wanted.name.lower(), extra)) in seen:
                continue
            seen.add(key)
            yield wanted.name
            further = map(Requirement, distribution(wanted.name).requires or [])
            waiting += [each for each in further if not each.marker or each.marker.evaluate({"extra": extra})]


def link(site: Path, name: str) -> None:
    """Put an installed distribution into another site-packages."""
    found = distribution(name)
    for top in {file.parts[0] for file in found.files or []} - {"..", "__pycache__"}:
        if not (site / top).exists():
            (site / top).symlink_to(Path(str(found.locate_file(top))))


class Environment:
    """A virtual environment with nothing in it."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, symlinks=True)
        self.folder = folder
        self.python = folder / "bin" / "python"
        (self.site,) = folder.glob("lib/python*/site-packages")

    def install(self, wheel: Path, requirements: Sequence[str] = ()) -> None:
        """Add the wheel and what those requirements bring."""
        pip: list[str | Path] = [
            sys.executable,
            "-m",
            "pip",
            "--python",
            self.python,
            "install",
            "--quiet",
            "--no-deps",
            "--no-index",
        ]
        done = execute(*pip, wheel, folder=self.folder)
        assert done.returncode == 0, done.stderr
        for name in needed(requirements):
            link(self.site, name)


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    return Environment(tmp_path / "environment")


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked source distribution."""
    folder = tmp_path_factory.mktemp("sdist")
    with tarfile.open(build(ROOT, folder / "out", "sdist")) as archive:
        archive.extractall(folder, filter="data")
    (unpacked,) = folder.glob("autokd-*")
    return unpacked


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source distribution."""
    return build(sdist, tmp_path_factory.mktemp("wheel"), "wheel")


@pytest.mark.slow  # builds
def test_the_source_distribution_has_all_that_make_needs_and_what_people_read(sdist: Path) -> None:
    written = {"CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "LICENSE", "README.md"}
    assert {path.name for path in sdist.iterdir()} >= {
        "Dockerfile",
        "Makefile",
        "compose.yaml",
        "constraints.txt",
        "pyproject.toml",
        "tests",
    } | written
    assert not list(sdist.rglob("__pycache__"))


@pytest.mark.slow  # builds
@pytest.mark.parametrize("folder", ["analysis/templates", "service/pages/templates", "service/pages/static"])
def test_the_wheel_has_the_pages_of_reports_and_of_the_service(wheel: Path, folder: str) -> None:
    with zipfile.ZipFile(wheel) as archive:
        assert {f"autokd/{folder}/{page.name}" for page in (ROOT / "autokd" / folder).iterdir()} <= set(
            archive.namelist()
        )


@pytest.mark.slow  # builds, installs, and searches
@pytest.mark.long
def test_the_wheel_searches_from_an_empty_folder_with_only_what_the_quick_start_installs(
    wheel: Path, environment: Environment, tmp_path: Path
) -> None:
    environment.install(wheel, project()["dependencies"] + project()["optional-dependencies"]["digits"])
    empty = tmp_path / "empty"
    empty.mkdir()
    done = execute(environment.python.parent / "autokd", "search", "digits", *SHORT, folder=empty)
    assert done.returncode == 0, done.stderr
    for absent in ("matplotlib", "onnxruntime", "PIL"):
        assert execute(environment.python, "-c", f"import {absent}", folder=empty).returncode == 1


@pytest.mark.slow  # builds and installs
def test_another_package_called_workers_gives_way_or_is_named(wheel: Path, environment: Environment) -> None:
    foreign = environment.site / "workers" / "__init__.py"
    foreign.parent.mkdir()
    foreign.touch()
    environment.install(wheel)
    again = environment.python, "-c", "import autokd"
    assert execute(*again, folder=environment.folder).returncode == 0
    foreign.write_text("")  # as if the other package were installed after ours
    done = execute(*again, folder=environment.folder)
    assert f"autokd needs its own package 'workers', but {foreign} shadows it" in done.stderr
