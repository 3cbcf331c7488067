"""A search whose rows are on a PostgreSQL server that stops, for longer than the search waits."""

import json
import pickle
import threading
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest
from clusters import Cluster

from autokd.database import lease_keeper
from autokd.database.store import Store
from autokd.evaluation.evaluate import evaluate
from autokd.evaluation.task import EvaluationResult, EvaluationTask

PASSWORD = "s3cret-0f-mine"
VERBS = ("list", "status digits", "best digits", "show digits 0", "families digits", "doctor", "doctor -o json")


@dataclass
class Story:
    """What was said and sent while a search was interrupted by its server, and went on."""

    server: Cluster
    home: Path
    told: dict[str, Any] = field(default_factory=dict)
    tasks: list[EvaluationTask] = field(default_factory=list)

    def evaluate(self, task: EvaluationTask) -> EvaluationResult:
        """The server stops while the second task is evaluated."""
        self.tasks.append(task)
        if len(self.tasks) == 2:
            self.server.stop()
        return evaluate(task)

    def start(self) -> None:
        """Start the server, and wait until the lease that could not be released is."""
        self.server.start()
        for thread in threading.enumerate():
            if thread.name == "release":
                thread.join()


@pytest.fixture(scope="module")
def story(invoke, tiny, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Story:
    cluster.emptied()
    home = tmp_path_factory.mktemp("server")
    story = Story(cluster, home)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTOKD_DATABASE", cluster.url("postgres", PASSWORD))
        patch.setenv("AUTOKD_DATABASE_PATIENCE", "0.2")
        patch.setattr(lease_keeper, "PERIOD_SECONDS", 0.01)
        patch.setattr("autokd.searches.dispatcher.evaluate", story.evaluate)

        def tell(name: str, *words: str) -> None:
            story.told[name] = invoke(*words, "--home", home)

        tell("empty", "list")
        tell("search", "search", "digits", *tiny)
        tell("gone", "list")
        tell("doctor without a server", "doctor")
        story.start()
        tell("interrupted", "status", "digits", "-o", "json")
        tell("resume", "resume", "digits")
        for verb in VERBS:
            tell(verb, *verb.split())
    return story


def searched(store: Store) -> list[dict[str, Any]]:
    """What the search recorded, but ids, of which a server skips some, and clocks."""
    students = store.students(1, "search")
    evaluations = [row for row in store.evaluations(1) if row.student_id in {student.id for student in students}]
    left_out = {"id", "trial_id", "student_id", "created_at", "finished_at", "seconds", "epoch_seconds", "worker"}
    tables: list[Any] = [*store.trials(1), *students, *evaluations]
    return [{key: value for key, value in asdict(row).items() if key not in left_out} for row in tables]


@pytest.mark.slow  # starts a server twice, and searches
def test_an_empty_server_is_a_database_without_searches(story: Story):
    assert (story.told["empty"].code, story.told["empty"].out.startswith("no search in")) == (0, True)


@pytest.mark.slow  # the same
def test_an_outage_that_lasts_too_long_ends_the_search_resumably(story: Story):
    ended = story.told["search"]
    way_on = (
        f"autokd: search 'digits' was interrupted; `autokd resume digits --home {story.home}` goes on. The database "
    )
    assert (ended.code, ended.err.count("\n"), ended.err.startswith(way_on)) == (4, 1, True)
    assert ended.out.count("database gone: trying again for up to 0.2 s") == 1
    assert "database back" not in ended.out
    assert json.loads(story.told["interrupted"].out)["status"] == "interrupted"


@pytest.mark.slow  # the same
def test_a_verb_that_reads_says_at_once_that_the_server_is_gone(story: Story):
    gone = story.told["gone"]
    assert (gone.code, gone.out, gone.err.count("\n")) == (2, "", 1)
    assert "postgresql+psycopg://postgres:***@/postgres?host=" in gone.err
    assert story.told["doctor without a server"].code == 0


@pytest.mark.slow  # the same
def test_a_search_that_its_server_interrupted_resumes_to_the_same_rows(story: Story, finished: Path):
    assert story.told["resume"].code == 0
    with Store(story.server.url("postgres")) as there, Store(finished / "autokd.db") as undisturbed:
        assert searched(there) == searched(undisturbed)


@pytest.mark.slow  # the same
def test_a_password_is_neither_printed_nor_stored_nor_sent(story: Story):
    assert [story.told[verb].code for verb in VERBS] == [0] * len(VERBS)
    told = "".join(outcome.out + outcome.err for outcome in story.told.values())
    rows = story.server.call("pg_dump", "-h", str(story.server.folder), "-U", "postgres", "postgres")
    files = [file.read_bytes() for file in story.home.rglob("*") if file.is_file()]
    for place in (told.encode(), rows, pickle.dumps(story.tasks), *files):
        assert PASSWORD.encode() not in place
