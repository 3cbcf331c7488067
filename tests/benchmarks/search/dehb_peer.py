"""DEHB, https://arxiv.org/abs/2105.09821, as a peer: differential evolution in the brackets of Hyperband."""

import tempfile
import weakref
from typing import Any

from grids import decoded
from peers import Peer, PeerUnavailable, Proposal, imported
from tasks import Measurement, Task

__all__ = ["DehbPeer"]

REDUCTION_FACTOR = 3


class DehbPeer(Peer):
    """Its defaults, over the unit cube.

    Its brackets are the same for any number of workers, to which it hands out the next job as they become free.
    """

    def __init__(self, task: Task, seed: int, workers: int) -> None:
        if not task.ladder.top:
            raise PeerUnavailable(f"The peer 'dehb' needs shorter trainings, which {task.name!r} has not.")
        dehb = imported("dehb", "dehb", "dehb")
        self._space = task.space
        self._rungs = {float(REDUCTION_FACTOR**rung): rung for rung in range(task.ladder.top + 1)}
        self._jobs: list[dict[str, Any]] = []
        self._told: dict[int, int] = {}
        folder = tempfile.TemporaryDirectory()
        weakref.finalize(self, folder.cleanup)
        self._dehb = dehb.DEHB(
            dimensions=len(task.space),
            min_fidelity=1,
            max_fidelity=max(self._rungs),
            eta=REDUCTION_FACTOR,
            n_workers=1,  # more would start a Dask cluster
            seed=seed,
            save_freq="end",
            output_path=folder.name,
        )
        imported("loguru", "dehb", "loguru").logger.remove()  # it logs to files

    def ask(self) -> Proposal:
        """Its next job."""
        job = self._dehb.ask()
        self._jobs.append(job)
        pairs = zip(self._space.items(), job["config"].tolist(), strict=True)
        params = {name: decoded(distribution, position) for (name, distribution), position in pairs}
        rung = self._rungs[float(round(job["fidelity"]))]
        return Proposal(len(self._jobs) - 1, params, rung, after=self._told.get(job["config_id"]))

    def tell(self, number: int, measurement: Measurement) -> None:
        """The value as its fitness, of which it wants less; a point that breaks a limit has an infinite one."""
        job = self._jobs[number]
        self._told[job["config_id"]] = number
        fitness = float("inf") if measurement.violation > 0 else -measurement.value
        self._dehb.tell(job, {"fitness": fitness, "cost": measurement.seconds})
