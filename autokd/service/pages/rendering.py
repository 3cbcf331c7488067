"""How fragments are rendered: their templates, and whose buttons they have."""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Annotated, Any, get_args

from fastapi import Depends, Request
from jinja2 import Environment
from rich.table import Table

from autokd.analysis.templating import environment
from autokd.service.settings import Current
from autokd.service.tokens import Caller, Role

__all__ = ["Roles", "render"]


def render(template: str, **values: Any) -> str:
    """A template of the page with these values."""
    return _environment().get_template(template).render(values)


@cache
def _environment() -> Environment:
    made = environment("autokd.service.pages")
    made.filters["rows"] = _rows
    return made


def _rows(table: Table) -> Iterator[tuple[str, ...]]:
    """The cells of a table of the command line, row by row."""
    return zip(*(map(str, column.cells) for column in table.columns), strict=True)


def _roles(request: Request, settings: Current) -> Sequence[Role]:
    caller: Caller = request.state.caller
    return [role for role in get_args(Role) if caller.may(role) and (role == "read" or not settings.read_only)]


Roles = Annotated[Sequence[str], Depends(_roles)]
"""The roles that the caller has, as an argument of a route; of a service that only reads, `read` alone."""
