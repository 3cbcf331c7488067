"""Training of a teacher: the module of `teacher.factory`, on the data of a search, with the labels alone."""

import platform
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor, nn

from autokd.config.teacher import TeacherConfig
from autokd.core.device import pick_device
from autokd.core.files import write_json
from autokd.core.rng import forked_rng
from autokd.core.seeds import derive
from autokd.data.augmentation import Augmentation, check_extent
from autokd.data.dataset import Dataset
from autokd.data.registry import check_resized, check_source, load_data
from autokd.errors import AutoKDError, InputError, InterruptedSearchError, first_line
from autokd.teachers.factories.registry import make_network, own_settings
from autokd.teachers.logits import Reading, reading_of
from autokd.teachers.memory_format import fitting_preparation
from autokd.teachers.preparation import Preparation, preparation_of
from autokd.teachers.process_cache import forget_files
from autokd.teachers.teacher import check_not_lazy
from autokd.teachers.training_plan import TeacherTraining, check_files, check_kind
from autokd.teachers.validation import check_untrained
from autokd.training.best_checkpoint import Score
from autokd.training.checkpoint import epochs_done, load_checkpoint, save_checkpoint, save_weights
from autokd.training.loop import TrainingSettings, TrainingState, fresh_state
from autokd.training.metrics import label_metrics, predict, validation_metrics
from autokd.training.selection import averaged, is_candidate, keep_if_best, kept_weights
from autokd.training.supervised import fit, label_stream

__all__ = ["TeacherProgress", "as_teacher", "train_teacher"]

VERSIONS = ("autokd", "torch", "numpy")
PROBED = 2  # samples that show what an untrained network returns


@dataclass(frozen=True)
class TeacherProgress:
    """Progress of a teacher's training at the end of an epoch.

    Attributes:
        epoch: Epochs so far.
        epochs: Epochs of the whole training.
        loss: Mean training loss of the epoch.
        accuracy: Accuracy on the validation split.
        seconds: Time so far, that before an interruption included.
    """

    epoch: int
    epochs: int
    loss: float
    accuracy: float
    seconds: float


def train_teacher(
    training: TeacherTraining,
    force: bool = False,
    on_epoch: Callable[[TeacherProgress], None] = lambda progress: None,
) -> dict[str, Any]:
    """Train the teacher, or continue its unfinished training, and return the figures that are written.

    Weights and figures are written at the end. An interrupted training leaves a checkpoint in a folder beside them, and
    the same call continues from its last whole epoch, on the CPU bit for bit.

    Args:
        training: What is trained, and where it is written.
        force: Whether existing files are replaced, and an unfinished training with other settings is abandoned.
        on_epoch: Called after each epoch.

    Raises:
        InputError: If the teacher is no module of a factory or has nothing to train, files exist, an unfinished
            training has other settings, or the data cannot be loaded.
        InterruptedSearchError: If it is interrupted after an epoch; the same call continues.
        DivergedError: If the loss or an output of the network is no longer finite.
    """
    check_kind(training)
    forget_files()
    check_source(training.config.data)
    device = pick_device(training.config.workers.device)
    check_files(training, device, force)
    dataset = load_data(training.config.data)
    check_resized(training.config.data, dataset)
    check_extent(Augmentation.of(training.config.training.augmentation), dataset.input_shape)
    network, teacher = _network(training, device)
    try:
        preparation = fitting_preparation(network, preparation_of(teacher, dataset), dataset.input_shape)
        with as_teacher(network, preparation, reading_of(teacher)):
            return _Run(training, network, dataset, device, on_epoch).finish()
    except KeyboardInterrupt:
        if not (done := int(epochs_done(training.checkpoint))):
            raise
        raise InterruptedSearchError(
            f"the teacher's training was interrupted after {done} of {training.epochs} epochs; the same command goes "
            "on."
        ) from None


def _network(training: TeacherTraining, device: torch.device) -> tuple[nn.Module, TeacherConfig]:
    """The module on its device, untrained or with the weights of its factory, and how it is used as a teacher."""
    config = training.config.teacher
    factory = str(config.factory)
    with forked_rng(device):
        torch.manual_seed(derive(training.seed, "weights"))
        made = make_network(config)
    network = made.network
    if not isinstance(network, nn.Module):
        raise InputError(f"teacher.factory {factory!r} must return a module to train, not {type(network).__name__}.")
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise InputError(f"teacher.factory {factory!r} returns a module without parameters: there is nothing to train.")
    check_not_lazy(network, f"the network of teacher.factory {factory!r}")
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network, config.model_copy(update=own_settings(config, made))


@contextmanager
def as_teacher(network: nn.Module, preparation: Preparation, reading: Reading) -> Iterator[None]:
    """A block in which the network takes normalised samples and returns logits, as the teacher of the search will.

    Args:
        network: The network to train.
        preparation: What the teacher gets of a sample.
        reading: How its logits are read from what it returns.

    Raises:
        InputError: If the network fails, as a user's can in any way, and in training alone, or returns more there.
    """
    is_running = False

    def before(module: nn.Module, samples: tuple[Tensor, ...]) -> tuple[Tensor]:
        nonlocal is_running
        is_running = True
        return (preparation(samples[0]),)

    def after(module: nn.Module, samples: tuple[Tensor, ...], returned: object) -> Tensor:
        nonlocal is_running
        is_running = False
        if module.training and reading.output is None and not isinstance(returned, Tensor):
            raise InputError(
                f"the teacher returns a {type(returned).__name__} in training, and one tensor otherwise: only that is "
                "trained, so turn its further outputs off, as by teacher.arguments = { aux_logits = false }."
            )
        return reading(returned)

    hooks = network.register_forward_pre_hook(before), network.register_forward_hook(after)
    try:
        yield
    except AutoKDError:
        raise
    except Exception as error:
        if not is_running:
            raise
        raise InputError(f"the teacher fails in training: {type(error).__name__}: {first_line(error)}.") from error
    finally:
        for hook in hooks:
            hook.remove()


@dataclass
class _Run:
    """One call of `train_teacher`, with everything loaded."""

    training: TeacherTraining
    network: nn.Module
    dataset: Dataset
    device: torch.device
    on_epoch: Callable[[TeacherProgress], None]

    def __post_init__(self) -> None:
        training = self.training
        self.config = training.resolved(self.device)
        self.stream = label_stream(self.dataset, self.config, training.epochs, training.seed, self.device)
        self.total = training.epochs * self.stream.steps_per_epoch
        self.started = time.monotonic()

    def finish(self) -> dict[str, Any]:
        """Train to the end, write the results and return the figures."""
        training = self.training
        self._check()
        state = fresh_state(TrainingSettings.of(self.config), self.network)
        if (begun := training.begun) and training.checkpoint.exists():
            self.started -= self._spent(begun)
            load_checkpoint(state, training.checkpoint)
        fit(state, self.stream, self.config, training.epochs, self._save)
        with kept_weights(state):
            figures = self._figures(training.epochs if state.best is None else state.best.epoch)
            save_weights(self.network, training.weights)
        write_json(training.figures, figures)
        shutil.rmtree(training.unfinished)
        return figures

    def _check(self) -> None:
        """Raise if the network does not suit the data, or nothing can be written."""
        samples = self.stream.batch(torch.arange(min(PROBED, len(self.dataset.train)), device=self.device), 0).images
        check_untrained(self.network, samples, self.dataset.classes, reading_of(self.training.config.teacher))
        try:
            self.training.unfinished.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{self.training.folder} cannot be written: {error.strerror}.") from None

    def _spent(self, begun: Mapping[str, Any]) -> float:
        """Seconds that were spent before the training was interrupted."""
        if begun["data_digest"] != self.dataset.digest:
            raise InputError(
                f"data {self.dataset.name} changed since {self.training.unfinished} began: delete that folder to train "
                "from the start."
            )
        return float(begun["seconds"])

    def _save(self, state: TrainingState) -> None:
        """Save everything at the end of a segment, the checkpoint last, and report an epoch."""
        training, is_epoch_end = self.training, state.step % self.stream.steps_per_epoch == 0
        with averaged(state):
            found = label_metrics(*self._predictions("validation"))
            if training.config.final.keep == "best" and is_candidate(state, self.stream, self.total):
                keep_if_best(state, Score(found["accuracy"], found["loss"], state.epochs))
            if is_epoch_end and training.has_checkpoints:
                save_weights(self.network, training.checkpoints[int(state.epochs) - 1])
        seconds = time.monotonic() - self.started
        record = {"settings": training.settings(self.device), "data_digest": self.dataset.digest, "seconds": seconds}
        write_json(training.record, record)
        save_checkpoint(state, training.checkpoint)
        if is_epoch_end:
            epoch, loss = int(state.epochs), state.losses[-1]
            self.on_epoch(TeacherProgress(epoch, training.epochs, loss, found["accuracy"], seconds))

    def _figures(self, kept_epoch: float) -> dict[str, Any]:
        validation = validation_metrics(*self._predictions("validation"))
        test = label_metrics(*self._predictions("test"), validation["scaling_temperature"])
        return {
            "parameters": sum(parameter.numel() for parameter in self.network.parameters()),
            "validation": validation,
            "test": test,
            "kept_epoch": kept_epoch,
            "samples": len(self.dataset.train),
            "data_digest": self.dataset.digest,
            "settings": self.training.settings(self.device),
            "seconds": round(time.monotonic() - self.started),
            "versions": {"python": platform.python_version()} | {name: version(name) for name in VERSIONS},
            "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, {self.device.type}",
        }

    def _predictions(self, part: str) -> tuple[Tensor, Tensor]:
        split = self.dataset.splits[part].to(self.device)
        return predict(self.network, split, self.dataset.normalisation), split.labels
