import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from inline_searches import rows, run

from autokd.database.lease import acquire, release
from autokd.errors import InputError
from autokd.searches.earlier import EarlierSearch, EarlierTrial
from autokd.searches.problem import Problem
from autokd.searches.proposals import propose
from autokd.searches.recall import MOST_SEARCHES, recall, usable
from autokd.searches.reporter import Silent
from autokd.searches.workspace import Workspace

MakeProblem = Callable[..., Problem]


class Heard(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def notify(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture
def home(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "home")


@pytest.fixture
def searched(home: Workspace, make_problem: MakeProblem, pretend: Callable[..., None]) -> Callable[..., None]:
    """Records a finished search that has trained nothing."""
    pretend()

    def search(name: str, status: Any = "finished", **sections: Any) -> None:
        problem = make_problem(name=name, **{"trials": 6, **sections})
        config = problem.config
        with home.open(create=True) as store:
            store.create_search(name, config.seed, config.to_dict(), config.digest, asdict(problem.facts))
            run(problem, store)
            lease = acquire(store, name)
            store.set_status(lease, status)
            release(store, lease)

    return search


def learning(make_problem: MakeProblem, wanted: Any, **sections: Any) -> Problem:
    return make_problem(name="new", optimizer={"learn_from": wanted}, **sections)


def test_all_are_those_that_have_finished_with_the_same_objectives(home, make_problem, searched):
    two = {"optimizer": {"name": "random", "objectives": ["accuracy", "params"]}}
    searched("first"), searched("stopped", "interrupted"), searched("two", **two), searched("last")
    found = recall(learning(make_problem, "all").config, home)
    assert [search.name for search in found] == ["first", "last"]
    assert all(len(search.trials) == 6 for search in found)


def test_no_more_than_the_newest_are_all(home, make_problem, searched, monkeypatch):
    monkeypatch.setattr("autokd.searches.recall.MOST_SEARCHES", 2)
    for name in "abc":
        searched(name, trials=1)
    assert [search.name for search in recall(learning(make_problem, "all").config, home)] == ["b", "c"]
    assert MOST_SEARCHES > 2


def test_a_named_search_tells_its_values_at_each_rung(home, make_problem, searched):
    searched("stopped", "interrupted", training={"rungs": [1, 3]})
    (found,) = recall(learning(make_problem, ["stopped"]).config, home)
    with home.open() as store:
        trial, evaluations = store.trials(1)[0], store.evaluations(1)
    values = [row.metrics["accuracy"] for row in evaluations if row.trial_id == trial.id]
    assert found.trials[0] == EarlierTrial(dict(trial.parameters), tuple((k, (v,)) for k, v in enumerate(values)))


def test_a_file_of_families_tells_the_same_as_their_search(home, make_problem, tmp_path):
    families = [{"parameters": {"bottom_nodes": 3}, "observed": 0.5, "rung": 1, "trial": 4, "description": "any"}]
    file = tmp_path / "others.json"
    file.write_text(json.dumps(families))
    (found,) = recall(learning(make_problem, [str(file)]).config, home)
    assert found == EarlierSearch(str(file), (EarlierTrial({"bottom_nodes": 3}, ((1, (0.5,)),)),))


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[1]",
        '{"trials": 3}',
        '[{"parameters": {}, "observed": NaN, "rung": 0}]',
        '[{"parameters": {}, "observed": 1, "rung": Infinity}]',
        f'[{{"parameters": {{}}, "observed": 1, "rung": 1{"0" * 400}}}]',
        "[" * 100_000,
        "[{}]",
        '[{"parameters": {"a": [1]}, "observed": 1, "rung": 0}]',
    ],
)
def test_a_file_of_anything_else_is_one_line(home, make_problem, tmp_path, text):
    file = tmp_path / "others.json"
    file.write_text(text)
    with pytest.raises(InputError, match=r"^optimizer.learn_from: .*others.json must hold what `autokd families"):
        recall(learning(make_problem, [str(file)]).config, home)


def test_a_search_or_file_that_is_not_there_is_one_line(home, make_problem, searched, tmp_path):
    with pytest.raises(InputError, match=r"learn_from: there is no search 'frist' in .*home"):
        recall(learning(make_problem, ["frist"]).config, home)
    searched("first")
    with pytest.raises(InputError, match="there is no search 'frist'"):
        recall(learning(make_problem, ["first", "frist"]).config, home)
    with pytest.raises(InputError, match=r"none\.json: No such file"):
        recall(learning(make_problem, [str(tmp_path / "none.json")]).config, home)


def test_a_named_search_of_other_objectives_is_one_line(home, make_problem, searched):
    searched("two", optimizer={"name": "random", "objectives": ["accuracy", "params"]})
    with pytest.raises(InputError, match="'two' has the objectives accuracy, params, but this one has accuracy"):
        recall(learning(make_problem, ["two"]).config, home)


def test_what_is_used_and_what_is_not_is_told(make_problem):
    def trials(n: int, **parameters: Any) -> tuple[EarlierTrial, ...]:
        return (EarlierTrial(parameters, ((0, (0.5,)),)),) * n

    heard, problem = Heard(), learning(make_problem, ["a", "b"])
    earlier = (
        EarlierSearch("a", trials(5, bottom_nodes=3) + trials(2, bottom_nodes=5)),
        EarlierSearch("b", trials(4, bottom_nodes=3)),
    )
    assert [search.name for search in usable(earlier, problem, heard)] == ["a"]
    assert heard.lines == [
        "learns from 5 trials of a (5 of 7)",
        "does not learn from b (4): fewer than 5 of their trials have a value and fit this search",
    ]


def test_a_search_without_memory_hears_nothing_of_it(home, make_problem, searched):
    searched("first")
    heard, problem = Heard(), make_problem(name="new")
    assert usable(recall(problem.config, home), problem, heard) == ()
    assert heard.lines == []


def test_what_is_learnt_stays_the_same_when_the_earlier_search_is_gone(home, make_problem, searched, make_store):
    searched("first", optimizer={"name": "random"}, trials=8)
    problem = learning(make_problem, "all", trials=12)
    earlier = usable(recall(problem.config, home), problem, Silent())
    problem = replace(problem, facts=replace(problem.facts, earlier=earlier))
    recorded = type(problem.facts).from_dict(json.loads(json.dumps(asdict(problem.facts))))
    again = replace(problem, facts=recorded)
    assert recorded == problem.facts
    assert (
        propose(again, [], 0)
        == propose(problem, [], 0)
        != propose(replace(problem, facts=replace(problem.facts, earlier=())), [], 0)
    )
    stores = make_store(problem), make_store(again)
    for each, store in zip((problem, again), stores, strict=True):
        run(each, store)
    assert rows(stores[0]) == rows(stores[1])
