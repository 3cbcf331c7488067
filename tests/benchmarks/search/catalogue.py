"""The tasks by name, read from a folder of recorded tables.

* plain: nb201-cifar100, nb201-cifar10, macro, hpolib-slice, hpolib-protein
* limited: nb201-cifar100-loose, -limited and -tight, macro-limited: the same under limits on parameters, which can be
  computed beforehand, and latency on a Raspberry Pi 4, which is measured. 31 %, 17 %, 7 % and 1.3 % of the points keep
  them. A point that breaks them is trained all the same, and costs as much.
* fidelity: nb201-cifar100-early, with short trainings of 12 epochs beside the 200 of others, and of the twelve
  learning-curve tasks `taskset-...` the first LSTM, the first GRU and the first IRNN. Their space is a continuum, where
  a setting gives what the nearest recorded one gave that the run has not trained yet.
* students: our own table of students under distillation, by space: students-nago, -blocks, -randwire, -nasbench201, a
  continuum, too; with `-fewer-samples`, `-smaller-students` or `-both` behind, another task of the table. The same with
  `-rungs` behind have its shorter trainings.

A name that ends in `-averaged` is the task without noise.
"""

from collections.abc import Callable, Mapping
from functools import partial
from itertools import product
from pathlib import Path

from hpo_tables import TASKSET_NETWORKS, hpolib, taskset
from nas_tables import macro, nas_bench_201, nas_bench_201_early
from students import MAIN, RUNGS, SPACES, VARIATIONS, students
from tasks import Task

__all__ = ["AVERAGED", "GROUPS", "TASKS", "TablesMissing", "load_task"]

AVERAGED = "-averaged"


class TablesMissing(ValueError):  # noqa: N818
    """The folder of tables does not hold a file that a task needs."""


def load_task(name: str, folder: Path) -> Task:
    """A task by name.

    Raises:
        ValueError: If the name is unknown.
        TablesMissing: If its table is not in the folder.
    """
    base = name.removesuffix(AVERAGED)
    if base not in TASKS:
        raise ValueError(f"Unknown task {name!r}. Known: {', '.join(TASKS)}, and each with {AVERAGED!r} behind.")
    try:
        task = TASKS[base](folder)
    except FileNotFoundError as error:
        raise TablesMissing(f"The task {name!r} needs the table {error.filename}, which does not exist.") from error
    return task.averaged() if name.endswith(AVERAGED) else task


def _limited_cells(name: str, params: float, latency: float) -> Callable[[Path], Task]:
    """At most so many millions of parameters and milliseconds."""
    limits = {"cifar100_params_m": params, "lat_raspi4": latency}
    return partial(nas_bench_201, name=f"cifar100-{name}", data="cifar100", limits=limits)


def _taskset_name(network: str) -> str:
    return "taskset-" + network.rpartition("_bs")[0].replace("_", "-").lower()


_PLAIN: Mapping[str, Callable[[Path], Task]] = {
    "nb201-cifar100": partial(nas_bench_201, name="cifar100", data="cifar100"),
    "nb201-cifar10": partial(nas_bench_201, name="cifar10", data="cifar10"),
    "macro": partial(macro, name="macro"),
    "hpolib-slice": partial(hpolib, name="slice", data="slice_localization"),
    "hpolib-protein": partial(hpolib, name="protein", data="protein_structure"),
}
_LIMITED: Mapping[str, Callable[[Path], Task]] = {
    "nb201-cifar100-loose": _limited_cells("loose", params=0.6, latency=20.0),
    "nb201-cifar100-limited": _limited_cells("limited", params=0.4, latency=12.0),
    "nb201-cifar100-tight": _limited_cells("tight", params=0.3, latency=8.0),
    "macro-limited": partial(macro, name="macro-limited", limits={"params": 600_000}),
}
_FIDELITY: Mapping[str, Callable[[Path], Task]] = {
    "nb201-cifar100-early": nas_bench_201_early,
    **{
        _taskset_name(network): partial(taskset, name=_taskset_name(network), network=network)
        for network in TASKSET_NETWORKS
    },
}
_STUDENTS: Mapping[str, Callable[[Path], Task]] = {
    f"students-{space}{'' if variation == MAIN else f'-{variation}'}{ending}": partial(
        students, space=space, variation=variation, has_rungs=bool(ending)
    )
    for space, variation, ending in product(SPACES, VARIATIONS, ("", RUNGS))
}

TASKS: Mapping[str, Callable[[Path], Task]] = {**_PLAIN, **_LIMITED, **_FIDELITY, **_STUDENTS}
"""How each task is read from the folder of tables."""

GROUPS: Mapping[str, tuple[str, ...]] = {
    "plain": tuple(_PLAIN),
    "limited": tuple(_LIMITED),
    "fidelity": (
        "nb201-cifar100-early",
        "taskset-patch128-lstm128-avg",
        "taskset-patch32-gru128",
        "taskset-patch32-irnn64-relu-avg",
    ),
    "students": tuple(f"students-{space}" for space in SPACES),
}
"""Names for several tasks."""
