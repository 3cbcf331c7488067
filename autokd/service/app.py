"""The service put together: its routes, and what every request passes before them."""

import asyncio

from anyio import CapacityLimiter
from fastapi import FastAPI
from starlette.types import ASGIApp

from autokd.service import artefacts, changing, health, logs, metrics, queueing, reading, watching
from autokd.service.audit import Audit
from autokd.service.bodies import BodyLimits
from autokd.service.guard import Guard, SafeHeaders
from autokd.service.pages import form, fragments, shell
from autokd.service.refusals import RESPONSES, handle_errors
from autokd.service.settings import Settings
from autokd.service.tokens import Tokens

__all__ = ["make_api", "make_app"]

DESCRIPTION = """
Searches of small networks, watched and steered from elsewhere. Every request but those of `/health` needs a token:
`Authorization: Bearer TOKEN`.
"""


def make_app(settings: Settings) -> ASGIApp:
    """The whole service, as a server runs it.

    The outermost comes last: a refusal has safe headers, is counted and, if it would have changed something, audited.
    """
    api = make_api(settings)
    app: ASGIApp = BodyLimits(api)
    app = Guard(app, settings, Tokens(settings.tokens_file))
    app = Audit(app, settings.audit_file)
    app = metrics.Measured(app, api.state.registry)
    return SafeHeaders(app)


def make_api(settings: Settings) -> FastAPI:
    """The routes alone. There is no page of documentation, whose scripts would come from elsewhere."""
    from autokd import __version__

    api = FastAPI(
        title="AutoKD",
        version=__version__,
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        responses=RESPONSES,
        generate_unique_id_function=lambda route: route.name,  # by which clients call it
    )
    api.state.settings = settings
    api.state.registry = metrics.registry(settings.home)
    computing = asyncio.Lock()  # of whatever asks the model
    api.state.progress = reading.remembered_progress()
    api.state.status = reading.remembered_status(computing)
    api.state.best = reading.remembered_best(computing)
    api.state.families = reading.ranked_families(computing)
    api.state.findings = fragments.remembered_findings(computing)
    api.state.watchers = asyncio.Semaphore(watching.MOST_WATCHERS)
    api.state.exporting = CapacityLimiter(1)  # it loads data and starts an interpreter
    api.state.surveying = CapacityLimiter(1)  # it loads data and asks the teacher
    handle_errors(api)
    for part in (health, metrics, reading, watching, logs, artefacts, changing, queueing, shell, fragments, form):
        api.include_router(part.router)
    return api
