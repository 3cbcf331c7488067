"""The last teacher that this process loaded: a worker asks for it again and again."""

import torch

from autokd.config.schema import TeacherConfig
from autokd.data.dataset import Dataset
from autokd.teachers.registry import Teacher, load_teacher

__all__ = ["cached_teacher"]

_loaded: dict[tuple[TeacherConfig, str, str], Teacher] = {}


def cached_teacher(config: TeacherConfig, device: str, dataset: Dataset) -> Teacher:
    """The teacher that a configuration names, for a data set: loaded once while no other is asked for.

    Args:
        config: Configuration of the teacher.
        device: Device on which it runs, as torch names it.
        dataset: Data set whose samples it gets.
    """
    key = config, device, dataset.digest
    if key not in _loaded:
        _loaded.clear()
        with torch.random.fork_rng():  # building a network draws weights, and a training may be going on
            _loaded[key] = load_teacher(config, torch.device(device), dataset)
    return _loaded[key]
