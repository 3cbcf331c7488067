import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

PRUNED = "pruned-36"


def test_trainings_of_other_lengths_or_another_subset_are_others(
    load_script: Callable[[Path], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = load_script(Path(__file__).with_name("prune_then_distil.py"))
    teacher = SimpleNamespace(pruned={PRUNED: 2}, teacher_schedules={"fashion-mnist": (0,), PRUNED: (1,)})
    context = SimpleNamespace(pruned=SimpleNamespace(missing=()), teacher=teacher)
    accuracies = iter(range(100))
    reported: list[dict[Any, Any]] = []
    replaced: dict[str, Any] = {
        "_context": lambda arguments: context,
        "_student": lambda run, context: SimpleNamespace(to_json=str),
        "missing_outputs": lambda context: (),
        "cost": lambda student: SimpleNamespace(params=7),
        "EvaluationTask": lambda *given: None,
        "evaluate": lambda task: SimpleNamespace(metrics={"test_accuracy": next(accuracies) / 100}),
        "_print": lambda done, names: reported.append(done),
    }
    for name, function in replaced.items():
        monkeypatch.setattr(module, name, function)

    def call(*words: str) -> list[float]:
        fixed = ["prune_then_distil.py", "--results", str(tmp_path / "lines.jsonl"), "--seeds", "1"]
        monkeypatch.setattr(sys, "argv", [*fixed, *words])
        module.main()
        return [100 * line["metrics"]["test_accuracy"] for line in reported[-1].values()]

    assert call() == pytest.approx([0, 1, 2, 3])
    assert call("--epochs", "2") == pytest.approx([4, 5, 6, 7])
    assert call("--pruning-epochs", "2") == pytest.approx([8, 9, 10, 11])
    assert call("--subset", "100") == pytest.approx([12, 13, 14, 15])
    assert call() == pytest.approx([0, 1, 2, 3])
