"""Weights & Biases: a run for the search and one for each trial and reference, in a group of their own."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from autokd.core.extras import needs
from autokd.core.files import write_json
from autokd.database.rows import SearchRow, StudentRow, TrialRow
from autokd.tracking.tracker import Measurement, name_of

__all__ = ["WandB", "connect"]

OFFLINE = ("offline", "dryrun", "disabled")  # modes of W&B in which nothing is sent
PATIENCE_SECONDS = 10  # for a key to be typed, where there is none


def connect(project: str) -> ModuleType:
    """The package, once its server, unless it is offline, has taken the user's key.

    Raises:
        InputError: If it is not installed.
        Exception: If there is no key, or the server does not take it or answer.
    """
    with needs("wandb", "tracking.wandb"):
        import wandb
    if wandb.setup().settings.mode not in OFFLINE:
        wandb.login(verify=True, timeout=PATIENCE_SECONDS)
    return wandb


class WandB:
    """A search as runs of W&B, found again by their ids; they are offline where W&B is.

    Args:
        project: "PROJECT" or "ENTITY/PROJECT".
        search: The search.

    Raises:
        InputError: If W&B is not installed.
        Exception: If it cannot be used.
    """

    def __init__(self, project: str, search: SearchRow) -> None:
        self._wandb = connect(project)
        self._entity, _, self._project = project.rpartition("/")
        self._group = f"{search.name}-{search.created_at:%Y%m%d-%H%M%S}"
        settings = self._wandb.setup().settings
        self._seen_file = Path(settings.wandb_dir) / f"autokd-{self._id(f'events {project}')}.json"
        self._keeps = settings.mode != "disabled"
        self._saw = self.seen
        self._runs: dict[str, Any] = {}  # by id, those that are open
        self._search = self._run(search.name, "search", dict(search.config), steps="trial")

    @property
    def seen(self) -> int:
        """Id of the newest event that an earlier session tracked and closed; 0 if there was none."""
        return int(json.loads(self._seen_file.read_text())["event"]) if self._seen_file.exists() else 0

    def opened(self, trial: TrialRow) -> None:
        """Begin the run of a trial, with its parameters."""
        self._trial(trial)

    def measured(self, measured: Measurement) -> None:
        """Log the metrics of an evaluation over its rung."""
        at = {} if measured.student.purpose == "final" else {"rung": measured.row.rung}
        self._trial(measured.trial).log({**measured.metrics, **at})

    def ended(self, trial: TrialRow, students: Sequence[StudentRow]) -> None:
        """End the run of a trial, with its value and the costs of its first student."""
        facts = {"value": trial.value, "state": trial.state, "reason": trial.reason or ""}
        for student in students[:1]:
            facts |= vars(student.cost)
        run = self._trial(trial)
        run.summary.update({name: fact for name, fact in facts.items() if fact is not None})
        run.finish(exit_code=int(trial.state == "failed"))
        del self._runs[run.id]
        if trial.value is not None and trial.reference is None:
            self._search.log({"value": trial.value, "trial": trial.number})

    def changed(self, search: SearchRow) -> None:
        """Say how the search stands, and which parameters it has by now."""
        self._search.summary["status"] = search.status
        self._search.config.update(dict(search.config), allow_val_change=True)

    def saw(self, event: int) -> None:
        """Remember it until `close`: W&B holds back values of runs that are open, and a kill loses them."""
        self._saw = event

    def close(self) -> None:
        """Write what is not written yet, and beside the runs, unless W&B keeps none, up to which event that is."""
        for run in self._runs.values():
            run.finish()
        if self._keeps:
            write_json(self._seen_file, {"event": self._saw})

    def _trial(self, trial: TrialRow) -> Any:
        return self._run(name_of(trial), "reference" if trial.reference else "trial", trial.parameters, steps="rung")

    def _run(self, name: str, kind: str, config: Mapping[str, Any], steps: str) -> Any:
        """A run that is open; one that an earlier session began goes on.

        Args:
            name: Its name.
            kind: Its type among the runs of the group.
            config: What it is a run of.
            steps: The metric over which the others are drawn.
        """
        run_id = self._id(f"{kind} {name}")
        if run_id not in self._runs:
            run = self._runs[run_id] = self._wandb.init(
                entity=self._entity or None,
                project=self._project,
                group=self._group,
                id=run_id,
                name=name,
                job_type=kind,
                config=dict(config),
                resume="allow",
                reinit="create_new",
                settings=self._wandb.Settings(
                    silent=True, console="off", disable_code=True, disable_git=True, x_disable_stats=True
                ),
            )
            run.define_metric("*", step_metric=steps)
        return self._runs[run_id]

    def _id(self, what: str) -> str:
        return hashlib.sha256(f"{self._group} {what}".encode()).hexdigest()[:16]
