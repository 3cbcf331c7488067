import subprocess
import sys
from pathlib import Path

import pytest

BROKEN = """
import torch

for operator in ("nms", "qnms"):
    torch.library.register_fake(f"torchvision::{operator}")(lambda *_: None)
"""
MEND = "from autokd.teachers.factories.mended import mend_torchvision; mend_torchvision(); "


@pytest.mark.slow  # imports torch in an interpreter of its own
@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("import torchvision", "RuntimeError: operator torchvision::nms does not exist"),
        (f"{MEND}import torchvision; mend_torchvision()", ""),
    ],
    ids=["as it is", "mended"],
)
def test_torchvision_without_its_operators_can_be_imported(tmp_path: Path, program: str, message: str) -> None:
    (tmp_path / "torchvision.py").write_text(BROKEN)
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert message in done.stderr
    assert (done.returncode == 0) == (message == "")
