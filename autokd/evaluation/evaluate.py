"""`evaluate(task)`: one architecture, distilled up to one rung. Pure and idempotent.

The files of an evaluation lie in a folder named by its trajectory, the digest of everything that decides the training:
the last checkpoint, and for each rung weights, a result, and what was printed; while a training lasts also the
checkpoint of a rung's cooldown. A second evaluation of a task finds the first one's result. A lost worker costs at most
the epoch that it was training.
"""

import json
import os
import socket
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from statistics import fmean

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from autokd.config.schema import TrainingConfig
from autokd.core.files import noticing_full_disk, write_atomically, write_json
from autokd.data.channels import SomeChannels
from autokd.data.dataset import Dataset
from autokd.distillation import Method, make_method
from autokd.errors import AutoKDError, first_line
from autokd.evaluation.distillation_stream import DistillationStream
from autokd.evaluation.log import logged
from autokd.evaluation.networks import built_student, recruit, warm_start
from autokd.evaluation.precompute import precompute_outputs
from autokd.evaluation.task import EvaluationResult, EvaluationTask
from autokd.teachers.outputs.key import OutputsKey
from autokd.training.best_checkpoint import Score
from autokd.training.checkpoint import save_checkpoint, save_weights, undamaged_checkpoint
from autokd.training.loop import Batches, TrainingSettings, TrainingState, fresh_state, train
from autokd.training.metrics import label_metrics, predict, teacher_metrics, validation_metrics
from autokd.training.selection import averaged, is_candidate, keep_if_best, kept_weights
from autokd.training.timetable import Leg, Timetable, step_at, timetable
from search_spaces.networks.network import Network

__all__ = ["OutOfMemoryError", "evaluate", "made_method"]

_TELLING = 0.5  # share of the steps to a rung that tells the time of an epoch; of a few, warming up takes most


class OutOfMemoryError(AutoKDError):
    """The network does not fit into the memory of the device that trains it."""


def evaluate(task: EvaluationTask) -> EvaluationResult:
    """Distil the task's architecture up to its rung, or return the result of an earlier evaluation with its weights.

    Raises:
        DivergedError: If the loss or an output of the network is no longer finite.
        OutOfMemoryError: If the device runs out of memory.
        WarmStartGoneError: If the weights to inherit are gone.
        DiskFullError: If the disk is full.
        InputError: If data or teacher are missing, or changed since the search began.
    """
    if task.result.exists() and task.weights.exists():
        _tidy(task)
        return EvaluationResult(**json.loads(task.result.read_text()))
    started = time.monotonic()
    try:
        with noticing_full_disk(task.folder), logged(task.log):
            metrics, epoch_seconds = _distil(task)
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if _is_out_of_memory(error):
            raise OutOfMemoryError(f"out of memory on {task.context.device}: {first_line(error)}") from None
        raise
    worker = f"{socket.gethostname()}:{os.getpid()}"
    result = EvaluationResult(task.key, metrics, round(time.monotonic() - started, 3), worker, epoch_seconds)
    write_json(task.result, vars(result))
    _tidy(task)
    return result


def made_method(task: EvaluationTask) -> Method:
    """The task's distillation method with its hyper-parameters, which knows the weights of its search's assistants."""
    method, panel = make_method(task.method, dict(task.settings)), task.context.panel
    method.weigh({} if panel is None else panel.weights)
    return method


def _distil(task: EvaluationTask) -> tuple[dict[str, float], float | None]:
    """Metrics of the trained student, and the time of an epoch in seconds."""
    context = task.context
    dataset = context.load_data()
    method = made_method(task)
    network = built_student(task, "weights")
    recruit(task, method, dataset)
    with closing(DistillationStream(context, dataset, method, network, task.teacher_schedule, task.seed)) as stream:
        state, epoch_seconds = _train(task, network, method, stream, dataset)
        table = _timetable(context.training, stream)
        work, recent = stream.images_of(table.steps_to(task.rung)), table.recent(task.rung, stream.steps_per_epoch)
    with kept_weights(state):
        save_weights(network, task.weights)
        training = {
            "training_loss": _mean_of_last(state.losses, recent),
            "training_cross_entropy": _mean_of_last(state.entropies, recent),
        }
        metrics = _measure(task, network, dataset) | training | work | _sparsity(network)
        metrics |= _companions(task, method, dataset)
    best = {} if state.best is None else {"best_epoch": state.best.epoch}
    return metrics | best, epoch_seconds


def _train(
    task: EvaluationTask, network: Network, method: Method, stream: DistillationStream, dataset: Dataset
) -> tuple[TrainingState, float | None]:
    """Train from the last checkpoint to the task's rung; with the time of an epoch, None if little was left."""
    settings, table = TrainingSettings.of(task.context.training), _timetable(task.context.training, stream)
    state, legs = _begin(task, network, method, table.routes[task.rung], settings, dataset)
    began, first = time.monotonic(), state.step
    for leg in legs:
        file = _checkpoint_file(task, leg)

        def save(state: TrainingState, file: Path = file) -> None:
            if task.keeps_best and is_candidate(state, stream, table.total):
                _keep_best(task, state, dataset)
            save_checkpoint(state, file)

        train(
            state,
            stream,
            stream.loss(state, table.total),
            settings,
            until=leg.end,
            schedule=leg.schedule,
            seed=task.seed,
            on_segment=save,
            stops=table.stops(leg),
        )
    trained = state.step - first
    if trained < _TELLING * table.steps_to(task.rung):
        return state, None
    return state, round((time.monotonic() - began) * stream.steps_per_epoch / trained, 4)


def _mean_of_last(means: Sequence[float], steps: Sequence[int]) -> float:
    """Mean over the last segments, of which there are the means and the numbers of steps."""
    return fmean(means[-len(steps) :], steps)


def _begin(
    task: EvaluationTask,
    network: Network,
    method: Method,
    route: Sequence[Leg],
    settings: TrainingSettings,
    dataset: Dataset,
) -> tuple[TrainingState, Sequence[Leg]]:
    """The state of the last checkpoint on the route, or a fresh state, with the remaining legs.

    Args:
        task: What is trained.
        network: The student, fresh.
        method: The method, with its companions.
        route: The legs up to the rung.
        settings: How it is trained.
        dataset: The samples.
    """
    files = [_checkpoint_file(task, leg) for leg in route]
    saved = {file: undamaged_checkpoint(file) for file in dict.fromkeys(files)}
    for position, leg in reversed(list(enumerate(route))):
        checkpoint = saved[files[position]]
        if checkpoint is not None and leg.start < checkpoint.step <= leg.end:
            state = fresh_state(settings, network, method, method.companion_rates)
            checkpoint.restore(state)
            return state, route[position:]
    warm_start(network, task, dataset)
    return fresh_state(settings, network, method, method.companion_rates), route


def _checkpoint_file(task: EvaluationTask, leg: Leg) -> Path:
    return task.checkpoint if leg.branch is None else task.branch_checkpoint


def _keep_best(task: EvaluationTask, state: TrainingState, dataset: Dataset) -> None:
    """Keep the network's weights if it is the best so far."""
    with averaged(state):
        found = label_metrics(*_predictions(task, state.network, dataset, "validation"))
        keep_if_best(state, Score(found["accuracy"], found["loss"], state.epochs))


def _tidy(task: EvaluationTask) -> None:
    """Remove files that a finished evaluation no longer needs."""
    task.branch_checkpoint.unlink(missing_ok=True)
    task.best.unlink(missing_ok=True)


def _measure(task: EvaluationTask, network: nn.Module, dataset: Dataset) -> dict[str, float]:
    """Metrics of the measured splits; which of their samples are right is saved."""
    logits, labels = _predictions(task, network, dataset, "validation")
    correct = {"validation": logits.argmax(1) == labels}
    metrics = validation_metrics(logits, labels) | _fidelity(task, logits, dataset, "validation")
    if task.context.is_tested:
        logits, labels = _predictions(task, network, dataset, "test")
        correct["test"] = logits.argmax(1) == labels
        test = label_metrics(logits, labels, metrics["scaling_temperature"]) | _fidelity(task, logits, dataset, "test")
        metrics |= {f"test_{name}": value for name, value in test.items()}
    write_atomically(task.correct, lambda temporary: save_file(correct, temporary))
    return metrics


def _companions(task: EvaluationTask, method: Method, dataset: Dataset) -> dict[str, float]:
    """Validation accuracy of each network that learnt beside the student."""
    split = dataset.validation.to(torch.device(task.context.device))
    logits = [predict(each, split, dataset.normalisation) for each in method.companions]
    return {
        f"companion{number}_accuracy": label_metrics(each, split.labels)["accuracy"]
        for number, each in enumerate(logits)
    }


def _sparsity(network: nn.Module) -> dict[str, float]:
    return {"nonzero_params": sum(int(parameter.count_nonzero()) for parameter in network.parameters())}


def _predictions(task: EvaluationTask, network: nn.Module, dataset: Dataset, part: str) -> tuple[Tensor, Tensor]:
    """The student's logits for a split, and its labels."""
    split, channels = dataset.splits[part].to(torch.device(task.context.device)), task.context.data.student_channels
    return predict(SomeChannels(network, channels), split, dataset.normalisation), split.labels


def _fidelity(task: EvaluationTask, logits: Tensor, dataset: Dataset, part: str) -> dict[str, float]:
    """Agreement with the teacher on a split; empty if the teacher has no outputs for it."""
    key = OutputsKey(task.context.last_teacher(task.teacher_schedule), part=part)
    precompute_outputs(task.context, key, dataset=dataset)
    stored = task.context.stored(key.teacher)
    if not stored.holds(key.name):
        return {}
    return teacher_metrics(logits, stored.read(key.name).logits.to(logits.device))


def _timetable(training: TrainingConfig, batches: Batches) -> Timetable:
    ends = [step_at(rung, batches.steps_per_epoch) for rung in training.rungs]
    return timetable(training.schedule, ends, training.warmup, training.cooldown)


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
