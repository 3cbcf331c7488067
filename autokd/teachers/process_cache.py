"""The teacher that this process loaded last, since a worker needs the same one again and again."""

import torch

from autokd.config.schema import TeacherConfig
from autokd.core.rng import forked_rng
from autokd.data.dataset import Dataset
from autokd.data.registry import load_data
from autokd.teachers.registry import Teacher, load_teacher

__all__ = ["cached_teacher", "forget_files", "forget_teacher"]

_loaded: dict[tuple[str, str, str], Teacher] = {}


def forget_files() -> None:
    """Forget data and teacher that this process loaded: a new search asks for what their files hold now."""
    load_data.cache_clear()
    forget_teacher()


def forget_teacher() -> None:
    """Forget the teacher that this process loaded: its files may have changed."""
    _loaded.clear()


def cached_teacher(config: TeacherConfig, device: str, dataset: Dataset) -> Teacher:
    """Teacher that a configuration describes, for a data set; it is kept until a different one is loaded.

    Args:
        config: Section `[teacher]` of a configuration.
        device: Device of the teacher, as torch names it.
        dataset: Data set of the search.
    """
    key = config.model_dump_json(), device, dataset.digest
    if key not in _loaded:
        _loaded.clear()
        with forked_rng(device):  # initial weights are random, and a training may be under way
            _loaded[key] = load_teacher(config, torch.device(device), dataset)
    return _loaded[key]
