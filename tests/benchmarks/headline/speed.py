"""How fast this machine trains, for estimates of what is left."""

import time
from collections.abc import Mapping
from statistics import median

import torch
import torch.nn.functional as F
from hand_drawn import STUDENTS
from records import Record, Run
from trainings import draw
from workbench import Workbench, machine

from search_spaces.networks.network import build

__all__ = ["images_a_second"]

STEPS = 8


def images_a_second(bench: Workbench, records: Mapping[Run, Record]) -> float:
    """Images a second of this protocol's finished runs on this processor, the median; measured if there are none.

    What is measured is the training of a small ResNet at the limits, without its teacher's share.

    Args:
        bench: Data set and protocol.
        records: Finished runs.
    """
    own = [
        record.images / record.seconds
        for record in records.values()
        if record.run.data == bench.name
        and record.seconds
        and record.machine.get("processor") == machine()["processor"]
    ]
    return median(own) if own else _measured(bench)


def _measured(bench: Workbench) -> float:
    network = build(draw(bench, STUDENTS["resnet-1-1-1-1"], {}, "speed")).to(memory_format=torch.channels_last)
    size = int(bench.protocol.training["batch_size"])
    images = torch.rand(size, *bench.facts.input_shape).to(memory_format=torch.channels_last)
    labels = torch.zeros(size, dtype=torch.int64)
    seconds = []
    for _ in range(STEPS):
        started = time.perf_counter()
        F.cross_entropy(network(images), labels).backward()
        seconds.append(time.perf_counter() - started)
    return size / median(seconds[1:])
