"""Prometheus metrics: of searches, read from the database when they are asked for, and of the service's requests."""

import time
from collections import Counter as Tally
from collections.abc import Iterable

from fastapi import APIRouter, Request
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from autokd.core.disk import free_bytes
from autokd.searches.progress import all_progress
from autokd.searches.workspace import Workspace
from autokd.service.guard import allow

__all__ = ["Measured", "registry", "router"]

PLAIN_TEXT = "text/plain; version=0.0.4; charset=utf-8"
_METHODS = {"GET", "HEAD", "POST", "DELETE", "OPTIONS"}

router = APIRouter(tags=["health"])


@router.get(
    "/metrics",
    dependencies=[allow("read")],
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
def show_metrics(request: Request) -> Response:
    """Metrics of searches, disk and requests in the text format of Prometheus."""
    return Response(generate_latest(request.app.state.registry), media_type=PLAIN_TEXT)


def registry(home: Workspace) -> CollectorRegistry:
    """The metrics of a workspace; a service has its own, so that there may be several in a process."""
    metrics = CollectorRegistry()
    metrics.register(_Searches(home))
    return metrics


class Measured:
    """Counts requests, and measures how long they take until their response begins.

    Args:
        app: What answers.
        metrics: Where to record.
    """

    def __init__(self, app: ASGIApp, metrics: CollectorRegistry) -> None:
        self._app = app
        labels = ("method", "route", "status")
        self._requests = Counter("autokd_requests", "Requests", labels, registry=metrics)
        self._seconds = Histogram("autokd_request_seconds", "Time to a response", ("route",), registry=metrics)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        started = time.perf_counter()

        async def send_and_see(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", "none")  # never the path itself, of which there are endless
                method = scope["method"] if scope["method"] in _METHODS else "other"
                self._requests.labels(method, route, str(message["status"])).inc()
                self._seconds.labels(route).observe(time.perf_counter() - started)
            await send(message)

        await self._app(scope, receive, send_and_see)


class _Searches(Collector):
    def __init__(self, home: Workspace) -> None:
        self._home = home

    def collect(self) -> Iterable[Metric]:
        """What Prometheus asks for."""
        found = all_progress(self._home)
        searches = GaugeMetricFamily("autokd_searches", "Searches by status", labels=["status"])
        for status, n in Tally(progress.status for progress in found).items():
            searches.add_metric([status], n)
        trials = GaugeMetricFamily("autokd_trials", "Trials by search and state", labels=["search", "state"])
        best = GaugeMetricFamily("autokd_best_accuracy", "Best validation accuracy observed", labels=["search"])
        running = GaugeMetricFamily("autokd_running_evaluations", "Evaluations under way", labels=["search"])
        for progress in found:
            for state in ("complete", "pruned", "failed", "running"):
                trials.add_metric([progress.name, state], getattr(progress, state))
            running.add_metric([progress.name], len(progress.evaluations))
            if progress.best_accuracy is not None:
                best.add_metric([progress.name], progress.best_accuracy)
        free = GaugeMetricFamily("autokd_disk_free_bytes", "Free space on the disk of the searches")
        free.add_metric([], free_bytes(self._home.folder))
        return searches, trials, best, running, free

    def describe(self) -> Iterable[Metric]:
        """Nothing, so that registering reads no database."""
        return ()
