from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest


def test_a_student_whose_line_was_cut_off_is_trained_again(
    load_script: Callable[[Path], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, trained = load_script(Path(__file__).with_name("pool.py")), []

    def row(number: int, *others: object) -> dict[str, Any]:
        trained.append(number)
        return {"student": number, "params": 7, "seconds": 1.0, "ways": {"cosine": [{"accuracy": 0.5}]}}

    training = SimpleNamespace(augmentation=SimpleNamespace(model_dump=dict), batch_size=1)
    replaced: dict[str, Any] = dict.fromkeys(("load_data", "TrainingStream", "_outputs"), lambda *given: None)
    replaced |= {"find_config": lambda *given: SimpleNamespace(data=None, training=training), "_row": row}
    for name, function in (replaced | {"Augmentation": dict}).items():
        monkeypatch.setattr(module, name, function)
    file = tmp_path / "pool.jsonl"
    monkeypatch.setattr("sys.argv", ["pool.py", str(file), "--students", "2"])
    module.main()
    file.write_bytes(file.read_bytes()[:-20])
    for _ in range(2):
        module.main()
    assert trained == [0, 1, 1]
