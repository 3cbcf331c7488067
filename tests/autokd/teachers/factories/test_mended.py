import subprocess
import sys
from pathlib import Path

import pytest

BROKEN = """
import torch

for operator in ("nms", "qnms"):
    torch.library.register_fake(f"torchvision::{operator}")(lambda *_: None)
"""
PROGRAM = """
from autokd.teachers.factories.mended import mend_torchvision

try:
    import torchvision
except RuntimeError as error:
    print(error)
mend_torchvision()
import torchvision

mend_torchvision()
"""


@pytest.mark.slow  # imports torch in an interpreter of its own
def test_torchvision_without_its_operators_can_be_imported(tmp_path: Path) -> None:
    (tmp_path / "torchvision.py").write_text(BROKEN)
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "operator torchvision::nms does not exist\n"
