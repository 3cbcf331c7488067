"""Pruned copies of a teacher: what decides them, and their files."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autokd.config.schema import TrainingConfig
from autokd.config.teacher import TeacherConfig
from autokd.core.files import write_json
from autokd.errors import InputError
from autokd.teachers.factories.registry import COLLECTIONS

__all__ = ["PrunedTeachers"]


@dataclass(frozen=True)
class PrunedTeachers:
    """The pruned copies of a teacher, one after each round of pruning and training.

    A round begins with the weights of the round before, so it is the same whether or not it was interrupted. Its files
    are complete or absent, the result last.

    Attributes:
        teacher: Configuration of the teacher that is pruned, and of no others.
        teacher_digest: Its digest.
        data_digest: Digest of the samples.
        training: How it is trained after each round, with its precision resolved; rungs and views are ignored.
        epochs: Length of each training.
        seed: Seed of the trainings' streams.
        root: Folder of the files of all pruned teachers.
        wanted: Numbers of rounds after which the copies teach.
    """

    teacher: TeacherConfig
    teacher_digest: str
    data_digest: str
    training: TrainingConfig
    epochs: int
    seed: int
    root: Path
    wanted: tuple[int, ...]

    @property
    def n_rounds(self) -> int:
        """Number of rounds."""
        return max(self.wanted)

    @property
    def missing(self) -> range:
        """The rounds that are still to do, from 1 on: the first that is not complete, and all behind it."""
        first = next((rounds for rounds in range(1, self.n_rounds + 1) if not self._is_done(rounds)), self.n_rounds + 1)
        return range(first, self.n_rounds + 1)

    @property
    def results(self) -> list[dict[str, Any]]:
        """Figures of the rounds that are done."""
        return [self.result(rounds) for rounds in range(1, self.missing.start)]

    def digest(self, rounds: int) -> str:
        """Digest of the teacher after so many rounds, known before it is made."""
        return hashlib.sha256(f"{self._chain} {rounds}".encode()).hexdigest()

    @property
    def folder(self) -> Path:
        """Folder of the files."""
        return self.root / f"pruned-{self._chain[:16]}"

    def config(self, rounds: int) -> TeacherConfig:
        """Configuration of the teacher after so many rounds; that of the teacher itself after none."""
        return self.teacher.with_weights(str(self.weights(rounds))) if rounds else self.teacher

    def weights(self, rounds: int) -> Path:
        """File of the weights after so many rounds, of which the pruned ones are 0."""
        return self.folder / f"round-{rounds:02d}.safetensors"

    def checkpoint(self, rounds: int) -> Path:
        """File from which the training of a round continues; it exists only during the training."""
        return self.folder / f"round-{rounds:02d}-checkpoint.safetensors"

    def result(self, rounds: int) -> dict[str, Any]:
        """Figures of the teacher after so many rounds, as `write_result` got them.

        Raises:
            InputError: If it is not made yet, or its file is damaged.
        """
        try:
            return dict(json.loads(self._result(rounds).read_text()))
        except (OSError, ValueError) as error:
            raise InputError(f"the pruned teacher {self.weights(rounds)} is gone: resume the search.") from error

    def write_result(self, rounds: int, **figures: Any) -> None:
        """Write the figures of a finished round.

        Args:
            rounds: The round.
            **figures: Plain values by name.
        """
        write_json(self._result(rounds), figures)

    def _is_done(self, rounds: int) -> bool:
        return self._result(rounds).exists() and self.weights(rounds).exists()

    def _result(self, rounds: int) -> Path:
        return self.folder / f"round-{rounds:02d}.json"

    @property
    def _chain(self) -> str:
        training = {key: value for key, value in self.training.decisive.items() if key not in ("rungs", "views")}
        parts = [self.teacher_digest, self.data_digest, training, self.epochs, self.seed]
        if str(self.teacher.factory).partition(":")[0] in COLLECTIONS:
            parts.append("own settings")  # which earlier versions left out of the trainings
        if self.training.optimizer == "muon" or self.training.width_scaling:
            parts.append("masked weights")  # which earlier versions trained by SGD at a factor of 1
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
