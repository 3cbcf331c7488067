"""The peers that are an Optuna sampler and a pruner, which judges trials at the rungs of a task's ladder."""

from collections.abc import Sequence

from optuna.pruners import BasePruner, HyperbandPruner
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import TrialState
from peers import Peer, PeerUnavailable
from samplers import SamplerPeer, tpe_sampler
from tasks import Measurement, Task

from autokd.optimizers.halving import HalvingPruner
from autokd.optimizers.registry import sampler as own_sampler

__all__ = ["bohb", "halving", "hyperband", "ours_graphs_halving", "ours_halving", "random_halving", "tpe_halving"]

REDUCTION_FACTOR = 3


class LadderPeer(SamplerPeer):
    """A sampler and a pruner.

    Args:
        task: What is searched.
        sampler: A sampler at its start.
        pruner: A pruner that judges at the rungs.
        steps: What the rungs are called when they are reported, rising.
        name: The study's, on which some pruners depend.
    """

    stops_early = True

    def __init__(
        self, task: Task, sampler: BaseSampler, pruner: BasePruner, steps: Sequence[int], name: str | None = None
    ) -> None:
        if not task.ladder.top:
            raise PeerUnavailable(f"Peers that stop early need shorter trainings, which {task.name!r} has not.")
        super().__init__(task, sampler, pruner=pruner, name=name)
        self._steps = steps

    def keeps(self, number: int, rung: int, value: float) -> bool:
        """The pruner's judgement; prunes the trial."""
        trial = self._running[number]
        trial.report(value, self._steps[rung])
        if not trial.should_prune():
            return True
        self._study.tell(self._running.pop(number), state=TrialState.PRUNED)
        return False

    def tell(self, number: int, measurement: Measurement) -> None:
        """Ends the trial at the top."""
        self._running[number].report(measurement.value, self._steps[-1])
        super().tell(number, measurement)


def random_halving(task: Task, seed: int, workers: int) -> Peer:
    """Random points and our pruner: asynchronous successive halving, https://arxiv.org/abs/1810.05934."""
    return halving(task, RandomSampler(seed))


def ours_halving(task: Task, seed: int, workers: int) -> Peer:
    """Our sampler and our pruner, as in a search of AutoKD with rungs."""
    return halving(task, own_sampler("trust-region", seed, task.space))


def ours_graphs_halving(task: Task, seed: int, workers: int) -> Peer:
    """The same, told what the graphs are like that the parameters make, where something is known of them."""
    return halving(
        task, own_sampler("trust-region", seed, task.space, features=task.features, described=task.described)
    )


def tpe_halving(task: Task, seed: int, workers: int) -> Peer:
    """Optuna's sampler and our pruner."""
    return halving(task, tpe_sampler(seed, workers))


def hyperband(task: Task, seed: int, workers: int) -> Peer:
    """Random points and Optuna's Hyperband, https://arxiv.org/abs/1603.06560, which promotes asynchronously."""
    return _hyperband(task, RandomSampler(seed), seed)


def bohb(task: Task, seed: int, workers: int) -> Peer:
    """Optuna's Hyperband with its density model in each bracket: BOHB's idea, https://arxiv.org/abs/1807.01774.

    Unlike BOHB's, the model of a bracket has the values of all rungs, the longer trainings before the shorter ones.
    """
    return _hyperband(task, tpe_sampler(seed, workers), seed)


def halving(task: Task, sampler: BaseSampler) -> LadderPeer:
    """A sampler with our pruner, which judges at all rungs but the top."""
    pruner = HalvingPruner(REDUCTION_FACTOR, rungs=task.ladder.steps[:-1])
    return LadderPeer(task, sampler, pruner, task.ladder.steps)


def _hyperband(task: Task, sampler: BaseSampler, seed: int) -> Peer:
    """The rungs are reported as powers of the factor, where Hyperband looks for them; a bracket begins at each."""
    steps = [REDUCTION_FACTOR**rung for rung in range(task.ladder.top + 1)]
    pruner = HyperbandPruner(min_resource=1, max_resource=steps[-1], reduction_factor=REDUCTION_FACTOR)
    return LadderPeer(task, sampler, pruner, steps, name=f"seed {seed}")  # from which trials' brackets are drawn
