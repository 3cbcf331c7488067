"""TensorBoard: a folder for the search, and in it one for each trial and reference."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autokd.config.flat import flat
from autokd.core.extras import needs
from autokd.core.files import write_json
from autokd.database.rows import SearchRow, StudentRow, TrialRow
from autokd.tracking.tracker import Measurement, name_of

__all__ = ["TensorBoard", "connect"]

SEEN = "autokd.json"


def connect(folder: str) -> type[Any]:
    """The class that writes event files, once there is the folder.

    Raises:
        InputError: If TensorBoard is not installed.
        OSError: If the folder cannot be made.
    """
    with needs("tracking", "tracking.tensorboard", "tensorboard"):
        import tensorboard  # noqa: F401 (torch's writer needs it, and says so in other words)
        from torch.utils.tensorboard import SummaryWriter
    Path(folder).mkdir(parents=True, exist_ok=True)
    return SummaryWriter


class TensorBoard:
    """A search as a folder of event files, named by the search and the time at which it was created.

    Args:
        folder: Folder of TensorBoard.
        search: The search.

    Raises:
        InputError: If TensorBoard is not installed.
        OSError: If the folder cannot be made.
    """

    def __init__(self, folder: str, search: SearchRow) -> None:
        self._writer = connect(folder)
        self._folder = Path(folder) / f"{search.name}-{search.created_at:%Y%m%d-%H%M%S}"
        self._search = self._writer(self._folder)

    @property
    def seen(self) -> int:
        """Id of the newest event that an earlier session tracked; 0 if there was none."""
        file = self._folder / SEEN
        return int(json.loads(file.read_text())["event"]) if file.exists() else 0

    def opened(self, trial: TrialRow) -> None:
        """Nothing: its parameters are written with its value."""

    def measured(self, measured: Measurement) -> None:
        """Write the metrics of an evaluation; the step is its rung."""
        with self._trial(measured.trial) as writer:
            for name, value in measured.metrics.items():
                writer.add_scalar(name, value, measured.row.rung)

    def ended(self, trial: TrialRow, students: Sequence[StudentRow]) -> None:
        """Write the parameters of a trial, with its value and the costs of its first student."""
        from torch.utils.tensorboard.summary import hparams

        figures = {} if trial.value is None else {"value": trial.value}
        for student in students[:1]:
            figures |= {name: float(value) for name, value in vars(student.cost).items()}
        parameters = dict(flat({**trial.parameters, "state": trial.state}))
        with self._trial(trial) as writer:
            for summary in hparams(parameters, figures):  # type: ignore[no-untyped-call]
                writer.file_writer.add_summary(summary)
            for name, value in figures.items():
                writer.add_scalar(name, value, 0)
        if trial.value is not None and trial.reference is None:
            self._search.add_scalar("value", trial.value, trial.number)

    def changed(self, search: SearchRow) -> None:
        """Write the status of the search."""
        self._search.add_text("status", search.status)

    def saw(self, event: int) -> None:
        """Remember it in the folder, after everything that was written."""
        self._search.flush()
        write_json(self._folder / SEEN, {"event": event})

    def close(self) -> None:
        """Write what is not written yet."""
        self._search.close()

    def _trial(self, trial: TrialRow) -> Any:
        """A writer for a trial, which closes its file after each use: searches have many trials."""
        return self._writer(self._folder / name_of(trial))
