"""The form that begins a search, and what its order would offer before anything is trained."""

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import groupby
from typing import Annotated

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import APIRouter, Query, Request
from pydantic import ValidationError
from rich.table import Table
from starlette.responses import HTMLResponse

from autokd.config.budget import BudgetKeys
from autokd.config.messages import one_line
from autokd.config.parsing import recorded_config
from autokd.errors import InputError
from autokd.recipes.catalogue import recipes
from autokd.searches.facts import Facts
from autokd.searches.preflight import broken_limits, check_config, check_workers, checks, find_facts, survey
from autokd.searches.printer import found
from autokd.searches.problem import Problem
from autokd.searches.tables import budget_table
from autokd.service.guard import allow
from autokd.service.pages.rendering import render
from autokd.service.queueing import SearchOrder, config_of
from autokd.service.settings import Current, Settings
from search_spaces.design.budget import LARGEST_LIMIT, LIMITS
from search_spaces.design.envelope import Offer

__all__ = ["router"]

FREE = ("name", "trials", "seconds", "min_trials", "budget", "seed", "final", "references", "stop", "optimizer")
"""Keys on which it does not depend what is found out about data and teacher."""

router = APIRouter(
    prefix="/fragments", dependencies=[allow("run")], include_in_schema=False, default_response_class=HTMLResponse
)


@router.get("/new")
def show_form(settings: Current, recipe: Annotated[str, Query(max_length=100)] = "digits") -> str:
    """The form, filled in as a recipe says."""
    config = config_of(SearchOrder(recipe=recipe), settings.registered)
    return render(
        "form.html",
        recipes=recipes(),
        recipe=recipe,
        config=config,
        budget=BudgetKeys.model_validate(config.budget.to_dict()),
        limits=LIMITS,
        largest=LARGEST_LIMIT,
    )


@router.get("/offers")
async def show_offers(settings: Current, order: Annotated[str, Query(max_length=10_000)], request: Request) -> str:
    """What the spaces of an order, as JSON, offer under its budget."""
    surveying: CapacityLimiter = request.app.state.surveying
    return await run_sync(_offers, settings, order, limiter=surveying)


def _offers(settings: Settings, order: str) -> str:
    try:
        config = config_of(SearchOrder.model_validate_json(order), settings.registered)
    except ValidationError as error:
        raise InputError(f"order: {one_line(error, SearchOrder)}.") from None
    with checks():
        check_config(config)
        check_workers(config, settings.home.folder)
        facts = _facts(json.dumps({key: value for key, value in config.to_dict().items() if key not in FREE}))
        facts = replace(facts, budget=config.budget.resolved(facts.teacher_cost.limits).limits)
        offers = survey(Problem(config, facts, settings.home.folder))
    return render("offers.html", facts=found(facts)[:2], tables=_tables(offers, facts), broken=broken_limits(offers))


def _tables(offers: Sequence[Offer], facts: Facts) -> list[tuple[str, Table]]:
    """The budget table of each space."""
    by_space = groupby(offers, key=lambda offer: offer.space)
    return [(space, budget_table(list(each), facts.teacher_cost)) for space, each in by_space]


@lru_cache(maxsize=8)
def _facts(values: str) -> Facts:
    """What is found out about the data and the teacher of a configuration, as JSON, whatever its budget."""
    free: dict[str, object] = {"name": "search", "budget": {"params": LARGEST_LIMIT}}
    return find_facts(recorded_config(json.loads(values) | free, "order"))
