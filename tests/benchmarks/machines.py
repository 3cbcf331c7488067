"""What a benchmark says of the machine on which it ran, and of the code."""

import platform
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

__all__ = ["commit", "processor"]


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Name of the processor; with its generation where a virtual machine's name lacks the model that would tell it."""
    facts = dict[str, str]()
    with suppress(OSError):
        lines = (line.partition(":") for line in cpuinfo.read_text().splitlines())
        facts = {name.strip(): value.strip() for name, _, value in lines}
    name = facts.get("model name") or platform.processor() or platform.machine()
    return f"{name} ({_zen(facts)})" if name == "AMD EPYC" and _zen(facts) else name


def _zen(facts: Mapping[str, str]) -> str | None:
    """Generation of an AMD processor that has AVX-512; None of others."""
    has_it = "avx512f" in facts.get("flags", "").split()
    return {"25": "Zen 4", "26": "Zen 5"}.get(facts.get("cpu family", "")) if has_it else None


def commit() -> str:
    """The commit that is checked out, with a + if files differ from it; empty outside a repository."""
    folder = Path(__file__).parent
    with suppress(OSError, subprocess.CalledProcessError):
        head, changed = (
            subprocess.run(["git", *command], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()
            for command in (["rev-parse", "--short", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        )
        return head + ("+" if changed else "")
    return ""
