"""Teachers made from a configuration, or from a network and a configuration."""

import json
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from autokd.config.teacher import TeacherConfig
from autokd.core.references import resolve, source_digest
from autokd.data.dataset import Dataset
from autokd.errors import InputError, first_line
from autokd.teachers.factories.registry import check_factory, make_network, own_settings
from autokd.teachers.logits import reading_of
from autokd.teachers.memory_format import fitting_preparation
from autokd.teachers.onnx import OnnxNetwork, file_digest, parameter_count
from autokd.teachers.precomputed import precomputed_teacher, read_outputs
from autokd.teachers.preparation import preparation_of
from autokd.teachers.teacher import Teacher, check_not_lazy
from autokd.teachers.weights import check_suffix, find_path, load_weights
from search_spaces.architecture.format import Architecture
from search_spaces.errors import SpaceError
from search_spaces.networks.network import build

__all__ = ["Teacher", "check_made_from", "load_teacher", "teacher_of"]

SETTINGS = {
    "arguments",
    "output",
    "preprocess",
    "channels",
    "resize",
    "mean",
    "deviation",
    "classes",
}  # that change the outputs of a teacher


def check_made_from(config: TeacherConfig) -> None:
    """Check that what a teacher is made from is there, without making it.

    Raises:
        InputError: If a function or file is not.
    """
    if config.factory:
        check_factory(config.factory, config)
    if config.preprocess:
        resolve(config.preprocess, "teacher.preprocess")
    for file in filter(None, config.files):
        check_suffix(find_path(file, "teacher.weights", config.download))
    for key in ("architecture", "onnx", "outputs"):
        if file := getattr(config, key):
            find_path(file, f"teacher.{key}")


def load_teacher(
    config: TeacherConfig,
    device: torch.device,
    dataset: Dataset | None = None,
    notify: Callable[[str], None] = lambda line: None,
) -> Teacher:
    """Teacher that `config` describes, on `device`; a module's weights of four dimensions are channels_last if it can.

    Args:
        config: Section `[teacher]` of a configuration.
        device: Device of the teacher.
        dataset: Data set of the search; it can be omitted if the teacher is a network with the student's inputs.
        notify: Called with a line for the user if the weights are only a part of their file, or the network's own
            configuration settles its inputs or outputs.

    Raises:
        InputError: If the teacher's files or functions cannot be found or read, or do not fit together.
        ValueError: If the data set is needed, but omitted.
    """
    if config.outputs:
        return _from_outputs(config, dataset)
    if config.onnx:
        return _from_onnx(config, dataset)
    if config.architecture:
        return _from_architecture(config, config.architecture, device, dataset, notify)
    if config.factory:
        return _from_factory(config, config.factory, device, dataset, notify)
    raise InputError("teacher.factory is missing: a teacher is made from factory, architecture, onnx or outputs.")


def teacher_of(network: Callable[[Any], Any], name: str, config: TeacherConfig, dataset: Dataset | None) -> Teacher:
    """Teacher made from a network, with the inputs and outputs that `config` describes.

    Args:
        network: A module or any callable.
        name: Text that distinguishes the teacher from others with the same weights.
        config: Section `[teacher]` of a configuration.
        dataset: Data set of the search.

    Raises:
        InputError: If the settings do not fit the data, or the network has lazy layers that have not seen a sample.
    """
    check_not_lazy(network, "the teacher")
    preparation = preparation_of(config, dataset)
    if dataset is not None and isinstance(network, nn.Module):
        preparation = fitting_preparation(network, preparation, dataset.input_shape)
    return Teacher(network, name + _settings(config), preparation, reading_of(config))


def _from_factory(
    config: TeacherConfig, factory: str, device: torch.device, dataset: Dataset | None, notify: Callable[[str], None]
) -> Teacher:
    made = make_network(config)
    network = made.network
    if config.weights:
        if not isinstance(network, nn.Module):
            raise InputError(f"teacher.weights needs a factory that returns a module, not {type(network).__name__}.")
        path = find_path(config.weights, "teacher.weights", config.download)
        load_weights(network, path, factory, notify)
    check_not_lazy(network, f"the network of teacher.factory {factory!r}")
    if isinstance(network, nn.Module):
        network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if own := own_settings(config, made):
        lines = ", ".join(f"{key} = {json.dumps(value)}" for key, value in own.items())
        notify(f"teacher: {lines}, by the configuration of {factory}")
    return teacher_of(network, factory, config.model_copy(update=own), dataset)


def _from_architecture(
    config: TeacherConfig, file: str, device: torch.device, dataset: Dataset | None, notify: Callable[[str], None]
) -> Teacher:
    path = find_path(file, "teacher.architecture")
    try:
        architecture = Architecture.from_json(path.read_bytes())
        network = build(architecture)
    except (OSError, SpaceError) as error:
        raise InputError(f"teacher.architecture: {path} is no readable architecture: {first_line(error)}.") from None
    load_weights(network, find_path(str(config.weights), "teacher.weights", config.download), path.name, notify)
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return teacher_of(network, f"architecture {architecture.digest}", config, dataset)


def _from_onnx(config: TeacherConfig, dataset: Dataset | None) -> Teacher:
    path = find_path(str(config.onnx), "teacher.onnx")
    preparation = preparation_of(config, dataset)  # imports the module whose source is a part of the settings
    network = OnnxNetwork(path)  # before the digest, since it says what is no ONNX file
    name = f"onnx {file_digest(path)}{_settings(config)}"
    return Teacher(network, name, preparation, reading_of(config), parameter_count(path))


def _from_outputs(config: TeacherConfig, dataset: Dataset | None) -> Teacher:
    if dataset is None:
        raise ValueError("precomputed outputs need the data set whose samples they belong to")
    arrays = read_outputs(find_path(str(config.outputs), "teacher.outputs"))
    return precomputed_teacher(arrays, reading_of(config), _settings(config), dataset)


def _settings(config: TeacherConfig) -> str:
    """Text that a configuration adds to a teacher's name; empty for a teacher with the student's inputs and logits."""
    settings: dict[str, Any] = config.model_dump(mode="json", include=SETTINGS, exclude_none=True)
    if config.probabilities:
        settings["probabilities"] = True
    if config.preprocess:
        settings["preprocess_source"] = source_digest(config.preprocess, "teacher.preprocess")
    return f" {json.dumps(settings, sort_keys=True)}" if settings else ""
