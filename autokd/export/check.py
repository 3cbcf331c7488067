"""Loads an exported folder and writes down what its student computes.

It is run as a script, in a fresh interpreter:

    echo NONCE | python -I check.py FOLDER ANSWER [LABELLED.safetensors]

It needs torch and safetensors, runs the folder's `model.py`, and fails if that imports anything of AutoKD. The file
ANSWER gets one JSON object with the `nonce`, which is read before any code of the folder runs, and either an `error`,
or `max_difference` between the student's logits of the probe and the recorded ones, of which the `largest` is the one
farthest from 0; with labelled samples (`images`, `n x channels x height x width`, or `inputs`,
`n x channels x length` or `n x features`, and `labels`) also the number of them it gets right, `correct` of `samples`.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors.torch import load_file

BATCH = 500
OURS = ("autokd", "search_spaces", "workers")


def main(folder: Path, answer: Path, labelled: Path | None) -> None:
    """Examine the student in `folder`, and write what was found.

    Args:
        folder: The exported folder.
        answer: File to write the JSON object to.
        labelled: File of labelled samples, `.safetensors`; None to measure no accuracy.
    """
    nonce = sys.stdin.readline().strip()
    try:
        found: dict[str, Any] = examine(folder, labelled)
    except BaseException as error:  # whatever foreign code raises, leaving the interpreter included
        lines = str(error).splitlines() or [""]
        found = {"error": f"{type(error).__name__}: {lines[0]}"[:500]}
    answer.write_text(json.dumps({"nonce": nonce} | found))


def examine(folder: Path, labelled: Path | None) -> dict[str, float]:
    """What the student in `folder` computes."""
    student, preprocess = _load(folder)
    probe = load_file(folder / "probe.safetensors")
    logits, recorded = _logits(student, preprocess(_inputs(probe))), probe["logits"]
    if logits.shape != recorded.shape or not recorded.isfinite().all():
        raise ValueError(f"logits are {tuple(logits.shape)}, but finite ones of {tuple(recorded.shape)} are recorded")
    found: dict[str, float] = {
        "max_difference": float((logits - recorded).abs().max()),
        "largest": float(recorded.abs().max()),
    }
    if labelled is not None:
        samples = load_file(labelled)
        parts = [_logits(student, preprocess(inputs)).argmax(1) for inputs in torch.split(_inputs(samples), BATCH)]
        found["correct"] = int((torch.cat(parts) == samples["labels"]).sum())
        found["samples"] = len(samples["labels"])
    imported = [name for name in OURS if name in sys.modules]
    if imported:
        raise ImportError(f"the exported model imports {', '.join(imported)}")
    return found


def _load(folder: Path) -> tuple[torch.nn.Module, Callable[[torch.Tensor], torch.Tensor]]:
    """The student with its weights; compiled from its source, so that no cached bytecode stands in for it."""
    file = folder / "model.py"
    module = ModuleType("exported_model")
    module.__file__ = str(file)
    exec(compile(file.read_bytes(), str(file), "exec"), module.__dict__)
    student = module.Student()
    student.load_state_dict(load_file(folder / "weights.safetensors"))
    return student.eval(), module.preprocess


def _inputs(tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    return tensors["images"] if "images" in tensors else tensors["inputs"]


@torch.inference_mode()
def _logits(student: torch.nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    logits: torch.Tensor = student(inputs)
    return logits


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]) if len(sys.argv) > 3 else None)
