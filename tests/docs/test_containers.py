"""What the containers share, and that there is what the image copies and installs."""

import re
import tomllib

import yaml
from pages import ROOT


def test_the_containers_keep_what_the_machines_share() -> None:
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())
    services = [service for service in compose["services"].values() if "build" in service]
    assert len(services) == 3
    for service in services:
        assert service["environment"]["AUTOKD_DATABASE"] == "postgresql://autokd@database/autokd"
        assert service["volumes"] == [f"runs:{service['environment']['AUTOKD_HOME']}"]
    assert compose["services"]["database"]["environment"]["POSTGRES_USER"] == "autokd"
    assert set(compose["volumes"]) == {"database", "runs"}
    assert set(compose["services"]["search"]["depends_on"]) == {"database", "scheduler", "worker"}


def test_the_image_copies_and_installs_what_there_is() -> None:
    recipe = (ROOT / "Dockerfile").read_text()
    copied = [name for line in re.findall(r"^COPY (.*)", recipe, re.MULTILINE) for name in line.split()[:-1]]
    seen = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert sorted(copied) == sorted(seen)
    assert all((ROOT / name).exists() for name in copied)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (extras,) = re.findall(r"'\.\[(.*)\]'", recipe)
    assert set(extras.split(",")) <= set(project["project"]["optional-dependencies"])
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert set(packages) | {project["project"]["readme"], *project["project"]["license-files"]} <= set(copied)
