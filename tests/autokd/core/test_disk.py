from pathlib import Path
from types import SimpleNamespace

import pytest

from autokd.core.disk import check_space, size_text
from autokd.errors import DiskFullError


def test_the_disk_is_that_of_the_nearest_folder_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    asked: list[Path] = []
    monkeypatch.setattr("shutil.disk_usage", lambda folder: asked.append(folder) or SimpleNamespace(free=5_000_000))
    check_space(tmp_path / "a" / "b", 5_000_000, "maps", "make room")
    assert asked == [tmp_path]
    with pytest.raises(DiskFullError, match=r"^maps need 5 MB in .*/a/b, but the disk has 5 MB left: make room\.$"):
        check_space(tmp_path / "a" / "b", 5_000_001, "maps", "make room")


@pytest.mark.parametrize(("n_bytes", "text"), [(0, "0 MB"), (1_500_000, "1.5 MB"), (4_250_000_000, "4.25 GB")])
def test_sizes_are_in_decimal_units(n_bytes: int, text: str):
    assert size_text(n_bytes) == text
