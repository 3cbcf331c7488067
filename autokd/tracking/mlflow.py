"""MLflow: a run for the search, and in it one for each trial and reference."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from autokd.config.flat import flat
from autokd.core.extras import needs
from autokd.database.rows import SearchRow, StudentRow, TrialRow
from autokd.tracking.tracker import Measurement, name_of

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["MLflow", "connect"]

PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
SEEN = "autokd.event"  # tags of ours
SEARCH = "autokd.search"
TRIAL = "autokd.trial"
CONFIG = "autokd.config."  # followed by the name of a parameter of the search that has changed: its value by now
PARENT = "mlflow.parentRunId"  # by which MLflow's pages nest runs
LONGEST = 500  # characters of a parameter's value that every server takes
AT_ONCE = 100  # parameters that a server takes in one request
STATES = {"running": "RUNNING", "complete": "FINISHED", "pruned": "FINISHED", "failed": "FAILED"}
STATUSES = {"finished": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}


def connect(uri: str) -> MlflowClient:
    """A client of the MLflow at a tracking URI, which answered.

    Its own patience is with a server that comes back in minutes; here it asks twice and waits ten seconds, unless the
    environment says otherwise: a search waits for it when it ends.

    Raises:
        InputError: If MLflow is not installed.
        Exception: If it does not answer.
    """
    for name, value in PATIENCE.items():
        os.environ.setdefault(name, value)
    with needs("tracking", "tracking.mlflow", "mlflow-skinny"):
        from mlflow import MlflowClient
    client = MlflowClient(tracking_uri=uri)
    client.search_experiments(max_results=1)
    return client


class MLflow:
    """A search as a run of MLflow, found again by its tags.

    Args:
        uri: Tracking URI.
        search: The search.

    Raises:
        InputError: If MLflow is not installed.
        Exception: If it does not answer.
    """

    def __init__(self, uri: str, search: SearchRow) -> None:
        self._client = connect(uri)
        self._identity = f"{search.name} {search.created_at.isoformat()}"
        self._experiment = self._find_experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", "autokd"))
        found = self._find({SEARCH: self._identity})
        if found is None:
            found = self._begin(search.name, search.created_at, {})
            self._log_parameters(found, dict(flat(dict(search.config))))
            self._client.set_tag(found, SEARCH, self._identity)  # last: by it a later session finds a whole run
        self._search = found
        self._runs: dict[int, str] = {}

    @property
    def seen(self) -> int:
        """Id of the newest event that an earlier session tracked; 0 if there was none."""
        return int(self._client.get_run(self._search).data.tags.get(SEEN, 0))

    def opened(self, trial: TrialRow) -> None:
        """Begin the run of a trial, with its parameters."""
        if trial.number not in self._runs:
            self._log_parameters(self._run(trial), dict(flat(dict(trial.parameters))))

    def measured(self, measured: Measurement) -> None:
        """Log the metrics of an evaluation; the step is its rung."""
        self._log_metrics(self._run(measured.trial), measured.metrics, measured.row.rung)

    def ended(self, trial: TrialRow, students: Sequence[StudentRow]) -> None:
        """End the run of a trial, with its value and the costs of its first student."""
        run, at = self._run(trial), trial.finished_at
        for student in students[:1]:
            self._log_metrics(run, {name: float(value) for name, value in vars(student.cost).items()})
        if trial.value is not None:
            self._log_metrics(run, {"value": trial.value})
            if trial.reference is None:
                self._log_metrics(self._search, {"value": trial.value}, trial.number)
        self._client.set_tag(run, "autokd.state", trial.state)
        self._client.set_tag(run, "autokd.reason", trial.reason or "")  # it may have had one, and been opened again
        self._client.set_terminated(run, STATES[trial.state], None if at is None else _milliseconds(at))

    def changed(self, search: SearchRow) -> None:
        """Say how the search stands, and which of its parameters have other values by now."""
        self._tag_changes(dict(flat(dict(search.config))))
        if search.status in STATUSES:
            self._client.set_terminated(self._search, STATUSES[search.status])
        else:
            self._client.update_run(self._search, "RUNNING")

    def saw(self, event: int) -> None:
        """Remember it at the run of the search."""
        self._client.set_tag(self._search, SEEN, str(event))

    def close(self) -> None:
        """Do nothing: everything is written at once."""

    def _find_experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        return str(self._client.create_experiment(name) if found is None else found.experiment_id)

    def _run(self, trial: TrialRow) -> str:
        """The run of a trial; one that an earlier session began is found again."""
        if trial.number not in self._runs:
            tags = {SEARCH: f"{self._identity} {name_of(trial)}", TRIAL: str(trial.number), PARENT: self._search}
            self._runs[trial.number] = self._find(tags) or self._begin(name_of(trial), trial.created_at, tags)
        return self._runs[trial.number]

    def _find(self, tags: Mapping[str, str]) -> str | None:
        wanted = f"tags.`{SEARCH}` = '{tags[SEARCH]}'"
        found = self._client.search_runs([self._experiment], wanted, max_results=1)
        return found[0].info.run_id if found else None

    def _begin(self, name: str, since: datetime, tags: Mapping[str, str]) -> str:
        run = self._client.create_run(self._experiment, _milliseconds(since), dict(tags), name)
        return str(run.info.run_id)

    def _log_parameters(self, run: str, parameters: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        given = [Param(name, value) for name, value in _logged(parameters).items()]
        for start in range(0, len(given), AT_ONCE):
            self._client.log_batch(run, params=given[start : start + AT_ONCE])

    def _tag_changes(self, parameters: Mapping[str, Any]) -> None:
        """Tag the search with the values that are not those it has: MLflow's own parameters cannot change."""
        known = self._client.get_run(self._search).data
        now = dict.fromkeys(known.params, "None") | _logged(parameters)
        for name, value in now.items():
            if value != known.tags.get(CONFIG + name, known.params.get(name)):
                self._client.set_tag(self._search, CONFIG + name, value)

    def _log_metrics(self, run: str, metrics: Mapping[str, float], step: int = 0) -> None:
        from mlflow.entities import Metric

        now = _milliseconds(datetime.now().astimezone())
        self._client.log_batch(run, [Metric(name, value, now, step) for name, value in metrics.items()])


def _milliseconds(at: datetime) -> int:
    """A time as MLflow keeps it: since 1970."""
    return round(1000 * at.timestamp())


def _logged(parameters: Mapping[str, Any]) -> dict[str, str]:
    """Parameters as MLflow takes them."""
    return {_parameter_name(name): str(value)[:LONGEST] for name, value in parameters.items()}


def _parameter_name(name: str) -> str:
    """A parameter's name as MLflow takes it: methods beside each other have a slash there, those in turn a colon."""
    return re.sub(r"[^\w.\- :/]", "_", name.replace("+", "/").replace(">", ":"))
