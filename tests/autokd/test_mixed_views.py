"""Mixup and CutMix through a whole training: what the teacher stored is of the very images that the student sees."""

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from autokd.config.schema import AugmentationConfig, DataConfig, TeacherConfig, TrainingConfig
from autokd.data.registry import load_data
from autokd.distillation import KD, kd_loss
from autokd.evaluation.context import TrainingContext
from autokd.evaluation.distillation_stream import DistillationStream
from autokd.teachers.registry import load_teacher
from autokd.training.loop import TrainingSettings, TrainingState, optimiser
from search_spaces.architecture.format import Architecture, Node
from search_spaces.networks.network import build

CPU = torch.device("cpu")
DATA = DataConfig(source="digits", subset=128)
TEACHER = TeacherConfig(factory="autokd.recipes.teachers:digits", weights="autokd.recipes:digits.safetensors")
ARCHITECTURE = Architecture(
    (1, 8, 8), 10, (Node("input", (), 1), Node("conv3x3_bn", (0,), 4), Node("classifier", (1,), 10))
)


@pytest.mark.parametrize("mix", [{"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 0.4, "cutmix": 1.0}], ids=str)
def test_kd_learns_both_labels_and_the_stored_outputs_of_the_mixed_images(tmp_path: Path, mix: dict[str, Any]):
    training = TrainingConfig(batch_size=32, views=2, augmentation=AugmentationConfig(shift=1, **mix))
    digests = load_data(DATA).digest, load_teacher(TEACHER, CPU).digest
    context = TrainingContext(DATA, digests[0], TEACHER, digests[1], training, 5, tmp_path, "cpu")
    network = build(ARCHITECTURE)
    with closing(DistillationStream(context, context.load_data(), KD(3.0, 0.4), network, 0, 0)) as stream:
        batch = next(stream.batches(5, 6))
        logits = network(batch.images)
        state = TrainingState(network, optimiser(TrainingSettings(), network), step=5)
        loss = stream.loss(state, 10)(logits, batch)
    assert batch.mixture is not None
    own, other = (F.one_hot(labels, 10) for labels in (batch.labels, batch.mixture.labels))
    weight = batch.mixture.weight[:, None]
    stored = load_teacher(TEACHER, CPU)(batch.images).half().float()
    hard, soft = F.cross_entropy(logits, weight * own + (1 - weight) * other), kd_loss(logits, stored, 3.0)
    torch.testing.assert_close(loss, 0.6 * hard + 0.4 * soft, rtol=1e-3, atol=1e-4)
