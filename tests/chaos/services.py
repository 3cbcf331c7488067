"""Destroys a service and the searches of its queue, and checks that none is lost or begun twice.

    python tests/chaos/services.py --kills 20 --seed 1 [--searches 3]

Orders tiny searches over HTTP, and another one whenever all have ended, and kills the service, the processes of
searches or both at random instants, each time starting the service again, until there were so many SIGKILLs. A search
that was killed more often than a queue forgives is resumed over HTTP. In the end each is compared with one that was
ordered last and disturbed by nobody.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from uuid import uuid4

from evidence import Evidence, read_evidence
from invariants import AT_THE_END, marked_processes, violations

from autokd.client import Client, types
from autokd.searches.workspace import Workspace

__all__ = ["main"]

ROOT = Path(__file__).resolve().parents[2]
LAST = "undisturbed"
SETTINGS = {
    **{"trials": 4, "training.rungs": [1, 2], "training.views": 1, "training.precision": "float32"},
    **{"workers.engine": "inline", "workers.count": 1, "references.names": "none", "space.name": "nago"},
}
STRIKES = ("service", "search", "both")
LONGEST_PEACE = 15.0  # seconds between two strikes
PATIENCE = 900.0  # seconds without an end


@dataclass
class Service:
    """A service in a process of its own, which can be killed and started again.

    Attributes:
        folder: Its searches.
        mark: Stands in the environment of all its processes.
        url: Its address, since it was started last.
        token: The token that it printed at its first start.
    """

    folder: Path
    mark: str = field(default_factory=lambda: f"AUTOKD_CHAOS={uuid4().hex}")
    url: str = ""
    token: str = ""
    _process: subprocess.Popen[str] | None = None

    def start(self) -> Client:
        """Start it, unless it lives, and return a client of it."""
        if self._process is None or self._process.poll() is not None:
            name, _, value = self.mark.partition("=")
            command = [sys.executable, "-m", "autokd", "serve", "--port", "0", "--at-once", "2", "-o", "json"]
            self._process = subprocess.Popen(
                [*command, "--home", str(self.folder)],
                env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", name: value},
                stdout=subprocess.PIPE,
                text=True,
            )
            assert self._process.stdout is not None
            printed = ""
            while not printed.endswith("}\n"):
                printed += self._process.stdout.readline()
            told = json.loads(printed)
            self.url, self.token = told["url"], told.get("token") or self.token
        return Client(self.url, self.token)

    def kill(self) -> None:
        """SIGKILL to it alone; the processes of searches outlive it."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def kill_searches(self) -> int:
        """SIGKILL to the processes of searches, and return how many there were."""
        running = [each for each in marked_processes(self.mark) if "autokd.service.run" in each.cmdline()]
        for process in running:
            process.kill()
        return len(running)


def main(words: Sequence[str] | None = None) -> int:
    """Run and print what was seen; 1 if something was lost or came twice.

    Args:
        words: The command line's words.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--searches", type=int, default=3)
    options = parser.parse_args(words)
    random, struck = Random(options.seed), Counter[str]()
    with tempfile.TemporaryDirectory() as scratch:
        service = Service(Path(scratch) / "home")
        names: list[str] = []
        while struck.total() < options.kills:
            if _have_ended(service, names):
                new = options.searches if not names else 1
                names += _ordered(service, [f"search-{len(names) + number}" for number in range(new)])
            time.sleep(random.uniform(0, LONGEST_PEACE))
            struck += _strike(service, random.choice(STRIKES))
        _wait(service, [*names, *_ordered(service, [LAST])])
        broken = list(_broken(service, names))
        service.kill()
    print(f"{len(names)} searches, SIGKILLs: {dict(struck)}, broken: {len(broken)}", *broken, sep="\n")
    return int(bool(broken))


def _order(name: str) -> types.SearchOrder:
    return types.SearchOrder(recipe="digits", name=name, settings=SETTINGS)


def _ordered(service: Service, names: Sequence[str]) -> Sequence[str]:
    """The names, after their searches were ordered."""
    with service.start() as client:
        for name in names:
            client.create_search(_order(name))
    return names


def _strike(service: Service, what: str) -> Counter[str]:
    """Kill the service, the processes of searches or both, start the service again, and tell what was killed."""
    struck = Counter[str]()
    if what != "service":
        struck["search"] += service.kill_searches()
    if what != "search":
        service.kill()
        struck["service"] += 1
    service.start().close()
    return struck


def _have_ended(service: Service, names: Sequence[str]) -> bool:
    """Whether all searches have finished; one whose job has given up is ordered or resumed again."""
    with service.start() as client:
        jobs = {job.search: job for job in reversed(client.list_queue(most=1000))}
        known = {progress.name: progress.status for progress in client.list_searches()}
        for name in names:
            if jobs[name].state in ("failed", "stopped"):
                client.resume(name, types.Urgency()) if name in known else client.create_search(_order(name))
    return all(known.get(name) == "finished" for name in names)


def _wait(service: Service, names: Sequence[str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not _have_ended(service, names):
        if time.monotonic() > deadline:
            raise TimeoutError(f"the searches have not ended after {PATIENCE:g} s")
        time.sleep(1.0)


def _broken(service: Service, names: Sequence[str]) -> Iterator[str]:
    """What was lost, came twice or differs from what nobody disturbed."""
    undisturbed = _evidence(service, LAST)
    with service.start() as client:
        known = [progress.name for progress in client.list_searches()]
    if sorted(known) != sorted([*names, LAST]):
        yield f"the searches are {known}"
    for name in names:
        evidence = _evidence(service, name)
        yield from (f"{name}: {line}" for line in violations(evidence, AT_THE_END))
        if evidence.history != undisturbed.history:
            yield f"{name} differs from the undisturbed one"


def _evidence(service: Service, name: str) -> Evidence:
    evidence = read_evidence(Workspace(service.folder), name)
    assert evidence is not None
    return evidence


if __name__ == "__main__":
    sys.exit(main())
