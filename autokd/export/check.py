"""Loads an exported folder and prints what its student computes.

Run it as a script of its own, in a fresh interpreter:

    python -I check.py FOLDER [LABELLED.safetensors]

It needs torch and safetensors, and fails if the folder needs anything of AutoKD. Prints one JSON object:
`max_difference` between the student's logits of the probe and the recorded ones, of which the `largest` is the one
farthest from 0, and with labelled samples (`images`, `n x channels x height x width`, or `inputs`,
`n x channels x length` or `n x features`, and `labels`) the number of them it gets right, `correct` of `samples`.
"""

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file

BATCH = 500
OURS = ("autokd", "search_spaces", "workers")


def main(folder: Path, labelled: Path | None) -> dict[str, float]:
    """What the student in `folder` computes."""
    student, preprocess = _load(folder)
    probe = load_file(folder / "probe.safetensors")
    logits = _logits(student, preprocess(_inputs(probe)))
    answer: dict[str, float] = {
        "max_difference": float((logits - probe["logits"]).abs().max()),
        "largest": float(probe["logits"].abs().max()),
    }
    if labelled is not None:
        samples = load_file(labelled)
        parts = [_logits(student, preprocess(inputs)).argmax(1) for inputs in torch.split(_inputs(samples), BATCH)]
        answer["correct"] = int((torch.cat(parts) == samples["labels"]).sum())
        answer["samples"] = len(samples["labels"])
    imported = [name for name in OURS if name in sys.modules]
    if imported:
        raise SystemExit(f"the exported model imports {', '.join(imported)}")
    return answer


def _load(folder: Path) -> tuple[torch.nn.Module, Callable[[torch.Tensor], torch.Tensor]]:
    spec = importlib.util.spec_from_file_location("exported_model", folder / "model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
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
    print(json.dumps(main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)))
