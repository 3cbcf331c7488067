"""A data set with its protocol, ready to search and train on: configurations, facts, and folders of unfinished runs."""

import platform
import shutil
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

sys.path.append(str(Path(__file__).resolve().parents[1]))  # where benchmarks keep what they share

from machines import commit, processor
from protocol import FIXED, Arm, Protocol

from autokd.config.parsing import parse_config
from autokd.config.schema import SearchConfig
from autokd.data.dataset import Dataset
from autokd.data.registry import load_data
from autokd.searches.facts import Facts
from autokd.searches.preflight import find_facts
from autokd.searches.problem import Problem
from autokd.teachers.cost import TeacherCost
from autokd.teachers.process_cache import cached_teacher
from autokd.training.metrics import label_metrics
from autokd.training.timetable import timetable
from search_spaces.architecture.cost import Cost

__all__ = ["Workbench", "costs", "machine"]

DISK_BYTES = 256_000_000
"""Of the teacher's stored outputs, for each seed. Larger feature maps are computed in each training that needs them."""


@dataclass(frozen=True)
class Workbench:
    """One data set and its protocol on this machine.

    Attributes:
        name: Name of the protocol.
        protocol: The protocol, with the paths of this machine.
        scratch: Folder of everything that an unfinished run needs to go on.
        files: Where the files are that the protocol only names.
    """

    name: str
    protocol: Protocol
    scratch: Path
    files: Mapping[str, str] = field(default_factory=dict)

    def folder(self, seed: int) -> Path:
        """Folder of the unfinished runs of one seed, which share the teacher's outputs."""
        return self.scratch / self.name / f"seed-{seed}"

    def home(self, seed: int, name: str) -> Path:
        """Folder of one unfinished run: a workspace of its own with the seed's store of the teacher's outputs."""
        home, shared = self.folder(seed) / name, self.folder(seed) / "teachers"
        home.mkdir(parents=True, exist_ok=True)
        shared.mkdir(exist_ok=True)
        with suppress(FileExistsError):
            (home / "teachers").symlink_to(shared)
        return home

    def clear(self, seed: int, name: str) -> None:
        """Remove what a run needed to go on; the teacher's outputs stay for the seed's other runs."""
        shutil.rmtree(self.folder(seed) / name, ignore_errors=True)

    def config(self, seed: int, arm: Arm | None = None, epochs: float | None = None) -> SearchConfig:
        """Configuration of a search, or of single trainings with the default arm.

        Args:
            seed: Seed of stream, first weights and search.
            arm: In what the search departs from the default.
            epochs: Epochs of a full training; those of the protocol by default.
        """
        protocol, arm = self.protocol, arm or Arm(distillation=FIXED)
        rungs = [arm.longer * rung for rung in protocol.rungs]
        shares = {name: share for name, share in protocol.shares.items() if name not in protocol.limits}
        return parse_config(
            {
                "name": "search",
                "seed": seed,
                "trials": max(1, int(arm.images * protocol.search_epochs / rungs[-1])),
                "data": self._placed(protocol.data),
                "teacher": {**self._placed(protocol.teacher), "disk_bytes": DISK_BYTES},
                "budget": {**protocol.limits, "of_teacher": shares},
                "space": {"names": list(arm.spaces), "ranges": dict(arm.ranges), "tilt": arm.tilt, "stem": arm.stem},
                "distillation": {"method": "kd", "ranges": dict(arm.distillation)},
                "optimizer": {
                    "name": arm.sampler,
                    "options": dict(arm.options),
                    "pruner": arm.pruner,
                    "keeps_start_points": arm.keeps_start_points,
                    "proposes_early": arm.proposes_early,
                },
                "training": {
                    **protocol.training,
                    "rungs": rungs if arm.pruner != "none" else rungs[-1:],
                    "from_teacher": arm.from_teacher,
                },
                "workers": {"engine": "inline", "count": 1, "device": "cpu"},
                "final": {"epochs": protocol.final if epochs is None else epochs, "families": arm.finalists},
                "references": {"names": "none"},  # arm H is what all others are compared with
                **arm.further,
            }
        )

    def space(self, arm: Arm) -> Problem:
        """What the product makes of an arm's space, to draw students from it."""
        return Problem(self.config(0, arm), self.facts, self.scratch)

    def problem(self, seed: int, folder: str, epochs: float) -> Problem:
        """What the product makes of a configuration: its `retraining_context` is that of all full trainings.

        Args:
            seed: Seed of stream and first weights.
            folder: Name of the run's folder.
            epochs: Epochs of a full training.
        """
        return Problem(self.config(seed, epochs=epochs), self.facts, self.home(seed, folder))

    @cached_property
    def facts(self) -> Facts:
        """What the product finds out about data and teacher."""
        return find_facts(self.config(0))

    @cached_property
    def dataset(self) -> Dataset:
        """The samples."""
        return load_data(self.config(0).data)

    @cached_property
    def teacher(self) -> dict[str, Any]:
        """What is known of the teacher: accuracies, sizes and digests. Its test accuracy is computed here only."""
        facts, device = self.facts, torch.device("cpu")
        teacher = cached_teacher(self.config(0).teacher.numbered(0), "cpu", self.dataset)
        test = label_metrics(teacher.on_split(self.dataset, "test", device), self.dataset.test.labels)
        return costs(facts.teacher_cost) | {
            "validation": facts.teacher_metrics["accuracy"],
            "test": test["accuracy"],
            "ece": test["ece"],
            "digest": facts.teacher_digest[:12],
            "data": facts.data_digest[:12],
        }

    def _placed(self, section: Mapping[str, Any]) -> dict[str, Any]:
        """A section with the paths of the files that it only names."""
        return {
            key: value.format_map(self.files) if isinstance(value, str) else value for key, value in section.items()
        }

    def images_of_a_trial(self, problem: Problem) -> int:
        """Images trained on by a trial of a search that climbs to the last rung."""
        training, steps = problem.context.training, problem.context.stream(self.dataset).steps_per_epoch
        ends = [max(1, round(rung * steps)) for rung in training.rungs]
        table = timetable(training.schedule, ends, training.warmup, training.cooldown)
        return training.batch_size * sum(table.steps_to(rung) for rung in range(len(ends)))


def costs(cost: Cost | TeacherCost) -> dict[str, Any]:
    """What a network costs, by name; None where it is not known, as of some teachers."""
    names = "params", "macs", "activation_bytes", "model_bytes", "memory_bytes"
    return {name: getattr(cost, name) for name in names}


@lru_cache
def machine() -> dict[str, str]:
    """Processor, versions and commit, for a record."""
    return {
        "processor": processor(),
        "python": platform.python_version(),
        "torch": version("torch"),
        "commit": commit(),
    }
