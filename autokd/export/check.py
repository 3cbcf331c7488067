"""Script that loads an exported folder and writes what its student computes to a file.

It runs in a fresh interpreter:

    echo NONCE | python -P check.py FOLDER ANSWER [LABELLED.safetensors]

It needs torch and safetensors, runs the folder's `model.py`, and fails if that imports anything of AutoKD.

ANSWER becomes a JSON object with the `nonce`, which is read before any code of the folder runs, and either an `error`
or the following numbers: `max_difference` between the student's logits for the probe and the recorded ones; `largest`,
the largest absolute value of the recorded ones; and with labelled samples also how many it classifies correctly,
`correct` of `samples`, and how many of these it may classify otherwise elsewhere, by rounding, `undecided`. LABELLED
holds `labels` and either `images`, `n x channels x height x width`, or `inputs`, `n x channels x length` or
`n x features`.
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
ROUNDING = 1e-3  # of a logit, or of the largest one: more than float32 rounding, less than a wrong weight
OURS = ("autokd", "search_spaces", "workers")


def main(folder: Path, answer: Path, labelled: Path | None) -> None:
    """Examine the student in a folder and write the answer.

    Args:
        folder: The exported folder.
        answer: File to write.
        labelled: File of labelled samples, if there are any.
    """
    nonce = sys.stdin.readline().strip()
    try:
        found: dict[str, Any] = examine(folder, labelled)
    except BaseException as error:  # foreign code may raise anything, SystemExit too
        lines = str(error).splitlines() or [""]
        found = {"error": f"{type(error).__name__}: {lines[0]}"[:500]}
    answer.write_text(json.dumps({"nonce": nonce} | found))


def examine(folder: Path, labelled: Path | None) -> dict[str, float]:
    """Numbers of the answer, as the module's docstring lists them."""
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
        parts = [_logits(student, preprocess(inputs)) for inputs in torch.split(_inputs(samples), BATCH)]
        best, classes = torch.cat(parts).topk(2)
        found["correct"] = int((classes[:, 0] == samples["labels"]).sum())
        found["samples"] = len(samples["labels"])
        found["undecided"] = int((best[:, 0] - best[:, 1] <= 2 * ROUNDING * max(1.0, found["largest"])).sum())
    imported = [name for name in OURS if name in sys.modules]
    if imported:
        raise ImportError(f"the exported model imports {', '.join(imported)}")
    return found


def _load(folder: Path) -> tuple[torch.nn.Module, Callable[[torch.Tensor], torch.Tensor]]:
    """Student with its weights, and `preprocess`, compiled from the source: cached bytecode is never used."""
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
