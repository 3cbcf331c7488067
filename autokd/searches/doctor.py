"""What works on this machine and what does not."""

import os
import platform
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from autokd.core.disk import free_bytes
from autokd.core.extras import EXTRAS
from autokd.database.errors import DamagedRow
from autokd.errors import AutoKDError
from autokd.searches.workspace import Workspace

__all__ = ["Finding", "examine", "find_damage"]

PACKAGES = ("autokd", "torch", "optuna", "numpy", "sqlalchemy", "safetensors")
LITTLE_SPACE_BYTES = 2**30


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        subject: What.
        works: Whether it works; None where that is no question.
        detail: What was found, and what to do where it does not work.
    """

    subject: str
    works: bool | None
    detail: str


def examine(home: Workspace) -> Sequence[Finding]:
    """Everything a search needs, looked at."""
    return [
        Finding("python", None, f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        *(Finding(name, *_installed(name)) for name in PACKAGES),
        *_devices(),
        *(_extra(extra, package) for extra, package in EXTRAS.items()),
        _database(home),
        _disk(home.folder),
        *_data(),
    ]


def find_damage(home: Workspace, names: Collection[str] = ()) -> Sequence[DamagedRow]:
    """The damaged rows of these searches, or of all; none where there is no database yet.

    Args:
        home: Where the searches are.
        names: Names of searches; all if there is none.

    Raises:
        InputError: If the database cannot be used.
    """
    from autokd.searches.damage import damaged_rows  # loads torch

    home.check()
    if not home.exists:
        return []
    with home.open() as store:
        damaged = damaged_rows(store, home.folder)
        if not names:
            return damaged
        ids = {store.search(name).id for name in names}
        return [error for error in damaged if error.search_id in ids]


def _installed(name: str) -> tuple[bool, str]:
    try:
        return True, version(name)
    except PackageNotFoundError:
        return False, f"missing: pip install {name}"


def _devices() -> Iterator[Finding]:
    import torch

    from autokd.core.device import pick_precision
    from search_spaces.networks.kernels.library import load

    cpu = torch.device("cpu")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Finding("cpu", True, f"{cores} cores, trains in {pick_precision('auto', cpu)}")
    yield Finding("kernels", True if load().library else None, load().detail)
    if torch.cuda.is_available():
        names = ", ".join(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))
        yield Finding("cuda", True, f"{names}, trains in {pick_precision('auto', torch.device('cuda'))}")
    else:
        yield Finding("cuda", None, "no GPU that torch can use; searches run on the CPU")


def _extra(extra: str, package: str) -> Finding:
    installed, detail = _installed(package)
    if installed:
        return Finding(f"extra {extra}", True, f"{package} {detail}")
    return Finding(f"extra {extra}", None, f"not installed: pip install 'autokd[{extra}]'")


def _database(home: Workspace) -> Finding:
    try:
        home.check()
        if not home.exists:
            return Finding("database", None, f"none yet in {home.folder}")
        with home.open() as store:
            return Finding("database", True, f"{home.database}, searches: {len(store.searches())}")
    except AutoKDError as error:
        return Finding("database", False, str(error))


def _disk(folder: Path) -> Finding:
    existing = next(path for path in (folder, *folder.parents) if os.path.exists(path))
    free = free_bytes(existing)
    writable = os.access(existing, os.W_OK)
    detail = f"{folder}: {free / 2**30:.1f} GiB free" + ("" if writable else ", but it cannot be written")
    return Finding("disk", writable and free > LITTLE_SPACE_BYTES, detail)


def _data() -> Iterator[Finding]:
    from autokd.data.sources.fashion_mnist import local_folder

    folder = local_folder()
    detail = (
        str(folder) if folder else "not here; downloaded when first used, or install Debian's dataset-fashion-mnist"
    )
    yield Finding("fashion-mnist", True if folder else None, detail)
