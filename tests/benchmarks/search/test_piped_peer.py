import shutil
import sys
from pathlib import Path

import numpy as np
import piped_peer
import pytest
from nearest import NearestTask
from peers import AWAY, PeerUnavailable, make_peer, peer_version
from piped_peer import PipedPeer, requirements
from runner import search
from tasks import Measurement, Task

FAKE = """
# /// script
# dependencies = []
# ///
import os
from serving import Space, serve


class Fake:
    def __init__(self, space, seed):
        print("this is not an answer")
        os.system("echo nor is this")
        self.space, self.seed, self.told = space, seed, {}

    def ask(self):
        if len(self.told) == 3:
            raise SystemExit(7)
        best = max(self.told, key=self.told.get, default=0)
        places = {name: (self.seed + best) % (size or 4) for name, size, _ in self.space.parameters}
        others = {name: 1 for name, _, ordered in self.space.parameters if not ordered}
        numbers = {name: places[name] / 4 for name, size, _ in self.space.parameters if size is None}
        return self.space.point(places | others | numbers)

    def tell(self, number, value):
        self.told[number] = -1 if value is None else value


serve(Fake)
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A peer whose environment is this one."""
    shutil.copy(piped_peer.SCRIPTS / "serving.py", tmp_path)
    (tmp_path / "fake_peer.py").write_text(FAKE)
    make_environment("fake", tmp_path)
    monkeypatch.setattr(piped_peer, "SCRIPTS", tmp_path)
    monkeypatch.setenv(piped_peer.VARIABLE, str(tmp_path))
    return "fake"


def make_environment(name: str, folder: Path) -> None:
    """Make an environment that is this one."""
    python = folder / name / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)


def test_a_peer_behind_a_pipe_is_told_what_it_proposed_and_nothing_else_is_read(fake: str, small: Task) -> None:
    peer = PipedPeer(fake, small, seed=1, workers=1)
    first, second = peer.ask(), peer.ask()
    assert (first.number, second.number) == (0, 1)
    assert first.params == second.params
    assert 0 <= small.row(first.params) < small.size
    assert peer.seconds_away >= 0
    peer.tell(1, Measurement(0.5, 1.0))
    assert peer.ask().params != first.params
    peer.tell(0, Measurement(0.9, 1.0, {"latency": 0.1}))  # may not be trained, however good
    assert peer.ask().params != first.params
    peer.tell(2, Measurement(0.1, 1.0))
    with pytest.raises(RuntimeError, match="'fake' ended with 7"):
        peer.ask()


def test_a_continuum_is_the_unit_interval_to_a_peer_behind_a_pipe(fake: str, continuum: NearestTask) -> None:
    peer = PipedPeer(fake, continuum, seed=1, workers=1)
    assert peer.ask().params == {"rate": pytest.approx(1e-3), "share": pytest.approx(0.125), "merge": "concat"}


def test_a_peer_s_process_ends_with_it(fake: str, small: Task) -> None:
    peer = PipedPeer(fake, small, seed=1, workers=1)
    peer.ask()
    process = peer._process
    assert process is not None
    assert process.poll() is None
    del peer
    assert process.poll() == 0


@pytest.mark.parametrize("name", AWAY)
def test_a_peer_without_environment_says_how_to_make_it(
    name: str, small: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(piped_peer.VARIABLE, str(tmp_path))
    with pytest.raises(PeerUnavailable, match=f"`python piped_peer.py FOLDER {name}` makes"):
        make_peer(name, small, 0, 1)


@pytest.mark.parametrize("name", AWAY)
def test_a_peer_s_script_names_the_versions_that_it_runs(name: str) -> None:
    assert any("==" in each for each in requirements(name))
    assert len(peer_version(name)) == 8


@pytest.mark.slow  # imports BoTorch in another process, and fits it
def test_botorch_goes_on_until_points_that_keep_the_limits_are_found(
    limited: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("botorch")
    make_environment("botorch", tmp_path)
    monkeypatch.setenv(piped_peer.VARIABLE, str(tmp_path))
    peer = make_peer("botorch", limited, 0, 1)
    rows = []
    for number in range(16):
        proposal = peer.ask()
        rows.append(limited.row(proposal.params))
        peer.tell(proposal.number, Measurement(float(number), 1.0, {"latency": 0.1 if number < 12 else -0.1}))
    assert len(set(rows[:12])) > 6  # no point again and again


@pytest.mark.parametrize("name", AWAY)
@pytest.mark.slow  # a library of which each takes seconds
@pytest.mark.parametrize("space", ["small", "continuum"])
def test_a_peer_away_repeats_itself(name: str, space: str, request: pytest.FixtureRequest) -> None:
    task: Task = request.getfixturevalue(space)
    try:
        peers = [make_peer(name, task, seed, 1) for seed in (3, 3, 4)]
    except PeerUnavailable as reason:
        pytest.skip(str(reason))
    first, again, other = (search(task, peer, 14, 1, np.random.default_rng(0)) for peer in peers)
    assert first.rows == again.rows
    assert first.rows != other.rows
    assert max(first.ask_seconds) > 0
