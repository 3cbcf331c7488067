from pathlib import Path

import pytest
from machines import processor


@pytest.mark.parametrize(
    ("model", "family", "flags", "name"),
    [
        ("AMD EPYC", 25, "fma avx512f", "AMD EPYC (Zen 4)"),
        ("AMD EPYC", 26, "avx512f", "AMD EPYC (Zen 5)"),
        ("AMD EPYC", 25, "fma avx2", "AMD EPYC"),  # Zen 3
        ("AMD EPYC 9654", 25, "avx512f", "AMD EPYC 9654"),
        ("Intel(R) Xeon(R) Processor", 6, "avx512f", "Intel(R) Xeon(R) Processor"),
    ],
)
def test_the_generation_is_told_where_the_name_does_not(
    tmp_path: Path, model: str, family: int, flags: str, name: str
) -> None:
    (tmp_path / "cpuinfo").write_text(f"cpu family\t: {family}\nmodel name\t: {model}\nflags\t\t: {flags}\n\n")
    assert processor(tmp_path / "cpuinfo") == name


def test_a_processor_is_named_without_what_linux_says(tmp_path: Path) -> None:
    assert processor(tmp_path / "missing")
