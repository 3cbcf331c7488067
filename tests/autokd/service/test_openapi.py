"""Requests that schemathesis makes up from the OpenAPI description are answered as it says."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import booleans
from schemathesis.specs.openapi.checks import positive_data_acceptance

from autokd import service
from autokd.searches.workspace import Workspace
from autokd.service import refusals
from autokd.service.app import make_api, make_app
from autokd.service.settings import Settings
from autokd.service.tokens import Tokens

UNENDING = "/api/searches/{search}/watch"
TOML = ("POST", "/api/searches")  # whose text has rules that no schema says
SLOW = ("POST", "/api/searches/{search}/export")  # exports, which another test does once


def description() -> dict[str, Any]:
    return make_api(Settings(Workspace(Path("nowhere")))).openapi()


def ways() -> list[dict[str, Any]]:
    """What is said of each method of each path."""
    return [way for methods in description()["paths"].values() for way in methods.values()]


OPERATIONS = [
    (method.upper(), path)
    for path, methods in description()["paths"].items()
    for method in methods
    if path != UNENDING and (method.upper(), path) != SLOW
]


@pytest.fixture(scope="module")
def described(searched: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The description of a service of a copy of the finished search, and the headers of those who may do all."""
    home = shutil.copytree(searched, tmp_path_factory.mktemp("described") / "home")
    options = Settings(Workspace(home))
    schema = schemathesis.openapi.from_dict(description())
    schema.app = make_app(options)
    return schema, {"Authorization": f"Bearer {Tokens(options.tokens_file).make('admin')}", "Host": "127.0.0.1"}


def test_every_status_of_a_refusal_is_described() -> None:
    sources = (file.read_text() for file in Path(service.__file__).parent.rglob("*.py"))
    used = {int(status) for text in sources for status in re.findall(r"(?:refuse|HTTPException|meaning)\((\d+)", text)}
    used |= set(refusals._STATUS.values())
    described = {frozenset(map(int, way["responses"])) for way in ways()}
    assert {400, 408, 413, 422, 500, 503} <= used
    assert all(used <= statuses for statuses in described)


@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=map(" ".join, OPERATIONS))
def test_every_answer_is_as_described(described: Any, method: str, path: str) -> None:
    """Also of the search that is there, but where it would be deleted."""
    schema, headers = described
    excluded = [positive_data_acceptance] if (method, path) == TOML else []

    @settings(max_examples=5, suppress_health_check=list(HealthCheck))
    @given(case=schema[path][method].as_strategy(), is_there=booleans())
    def check(case: Any, is_there: bool) -> None:
        if is_there and method != "DELETE" and "search" in case.path_parameters:
            case.path_parameters["search"] = "digits"
        case.call_and_validate(headers=headers, excluded_checks=excluded)

    check()
