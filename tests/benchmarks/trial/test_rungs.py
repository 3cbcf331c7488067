import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

FIDELITY_METRICS = (
    "accuracy",
    "loss",
    "agreement",
    "teacher_kl",
    "loss_last",
    "loss_sum",
    "entropy_last",
    "entropy_sum",
)


@pytest.fixture
def rungs(load_script: Callable[[Path], ModuleType]) -> ModuleType:
    return load_script(Path(__file__).with_name("rungs.py"))


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    """12 students whose accuracy after a third is their final one, and whose loss is noise."""
    rng = np.random.default_rng(0)
    rows = []
    for number, accuracy in enumerate(rng.permutation(12) / 20):
        low = {signal: float(rng.random()) for signal in FIDELITY_METRICS} | {"accuracy": accuracy, "step": 10}
        last = dict.fromkeys(FIDELITY_METRICS, 0.0) | {"accuracy": accuracy + 0.1, "step": 30}
        ways = {way: [low, last] for way in ("cosine", "trunk", "average", "branch", "scaled")}
        rows.append({"number": number, "params": 1000 + number, "nodes": 20, "ways": ways})
    file = tmp_path / "pool.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_a_signal_that_orders_as_the_end_does_has_correlation_1(
    rungs: ModuleType, pool: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["rungs.py", str(pool)])
    monkeypatch.setattr(rungs, "BOOTSTRAPS", 50)
    rungs.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "n = 12 students of 1,000 to 1,011 parameters and 20 to 20 nodes"
    assert "### Step 10 of 30" in lines
    accuracies = [line for line in lines if line.split(" | ")[1:2] == ["accuracy"]]
    assert len(accuracies) == 4
    # The best third of 0, 0.05, ..., 0.55 has 20 points more than the average on average.
    assert all(line.endswith("| 1.00 (1.00 to 1.00) | 1.00 (1.00 to 1.00) | +20.00 |") for line in accuracies)
    (noise,) = [line for line in lines if line.startswith("| branch | loss |")]
    assert "1.00" not in noise.split("(")[0]


def test_a_student_whose_line_was_cut_off_is_left_out(
    rungs: ModuleType, pool: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pool.write_bytes(pool.read_bytes()[:-20])
    monkeypatch.setattr("sys.argv", ["rungs.py", str(pool)])
    monkeypatch.setattr(rungs, "BOOTSTRAPS", 5)
    rungs.main()
    assert capsys.readouterr().out.startswith("n = 11 students ")
    pool.unlink()
    with pytest.raises(SystemExit, match=r"^there is no student in .*pool\.jsonl$"):
        rungs.main()


def test_ties_and_signs(rungs: ModuleType) -> None:
    values = np.array([3.0, 1.0, 1.0, 2.0, 0.0, 5.0])
    assert rungs._spearman(values, -values) == pytest.approx(-1)
    assert rungs._kept(values, np.array([0.1, 0.0, 0.0, 0.0, 0.0, 0.5])) == pytest.approx(20)
