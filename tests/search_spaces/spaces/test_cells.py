from itertools import combinations, pairwise, permutations
from typing import Any

import networkx as nx
import numpy as np
import pytest

from search_spaces.spaces.cells import Cell, canonical, cell_features, paths, pruned


def random_cell(rng: np.random.Generator) -> Cell:
    """Cell of up to five inner vertices, some of which may be unused, with occasional double reads."""
    inner = int(rng.integers(1, 6))
    sources = [rng.integers(0, end, int(rng.integers(0, 4))).tolist() for end in range(1, inner + 2)]
    operations = rng.integers(0, 3, inner).tolist()
    return Cell(tuple(operations), tuple(tuple(sorted(each, reverse=True)) for each in sources))


def shuffled(cell: Cell, rng: np.random.Generator) -> Cell:
    """The cell with its inner vertices in another order in which sources come before readers."""
    order: list[int] = []
    while len(order) < len(cell.operations):
        ready = [
            vertex
            for vertex, before in enumerate(cell.sources[:-1], 1)
            if vertex not in order and {0, *order}.issuperset(before)
        ]
        order.append(ready[int(rng.integers(len(ready)))])
    place = {0: 0, **{vertex: number for number, vertex in enumerate(order, 1)}}
    sources = [cell.sources[vertex - 1] for vertex in (*order, len(cell.sources))]
    moved = tuple(tuple(sorted((place[source] for source in each), reverse=True)) for each in sources)
    return Cell(tuple(cell.operations[vertex - 1] for vertex in order), moved)


def isomorphic(one: Cell, other: Cell) -> bool:
    """Whether some permutation of the inner vertices turns one cell into the other, by trying all."""
    size = len(one.operations)
    if size != len(other.operations):
        return False
    for order in permutations(range(1, size + 1)):
        place = dict(enumerate((0, *order, size + 1)))
        same = all(
            sorted(place[source] for source in one.sources[vertex - 1]) == sorted(other.sources[place[vertex] - 1])
            for vertex in range(1, size + 2)
        )
        if same and all(one.operations[v - 1] == other.operations[place[v] - 1] for v in range(1, size + 1)):
            return True
    return False


def test_the_canonical_form_does_not_depend_on_the_numbers_of_the_vertices() -> None:
    for seed in range(200):
        rng = np.random.default_rng(seed)
        cell = random_cell(rng)
        assert canonical(shuffled(cell, rng)) == canonical(cell) == canonical(canonical(cell))
        assert isomorphic(canonical(cell), cell)


def test_canonical_forms_are_equal_if_and_only_if_cells_are_isomorphic() -> None:
    cells = [cell for seed in range(400) if len((cell := random_cell(np.random.default_rng(seed))).operations) == 2]
    equal = [(canonical(one) == canonical(other), isomorphic(one, other)) for one, other in combinations(cells, 2)]
    assert {(True, True), (False, False)} == set(equal)


def test_a_vertex_that_is_read_twice_differs_from_one_that_is_read_once() -> None:
    once, twice = Cell((1,), ((0,), (1,))), Cell((1,), ((0,), (1, 1)))
    assert canonical(once) != canonical(twice)
    assert (once.edges, twice.edges) == (2, 3)


def test_pruning_keeps_exactly_the_vertices_on_a_path() -> None:
    for seed in range(200):
        cell = random_cell(np.random.default_rng(seed))
        edges = {(source, end) for end, before in enumerate(cell.sources, 1) for source in before}
        alive = {
            vertex
            for path in paths(len(cell.sources) + 1)
            if edges.issuperset(path)
            for edge in path
            for vertex in edge
        }
        kept = pruned(cell)
        assert list(kept.operations) == [cell.operations[v - 1] for v in sorted(alive - {0, len(cell.sources)})]
        assert kept.edges == sum(start in alive and end in alive for end in alive for start in _reads(cell, end))
        assert pruned(kept) == kept


def _reads(cell: Cell, end: int) -> tuple[int, ...]:
    return cell.sources[end - 1] if end else ()


def test_pruning_a_cell_without_a_path_leaves_no_vertices() -> None:
    assert pruned(Cell((0, 1), ((0,), (), (2,)))) == Cell((), ((),))


@pytest.mark.parametrize("vertices", [2, 3, 4, 7])
def test_paths_are_all_ascending_paths_from_first_to_last(vertices: int) -> None:
    found = paths(vertices)
    assert len(set(found)) == len(found) == 2 ** (vertices - 2)
    assert [len(path) for path in found] == sorted(len(path) for path in found)
    for path in found:
        assert (path[0][0], path[-1][1]) == (0, vertices - 1)
        assert all(start < end for start, end in path)
        assert all(before[1] == after[0] for before, after in pairwise(path))


def test_features_describe_the_graph_and_are_equal_for_isomorphic_cells() -> None:
    rng, weighted = np.random.default_rng(0), (True, False, True)
    for _ in range(200):
        cell = pruned(random_cell(rng))
        graph: nx.MultiDiGraph[Any] = nx.MultiDiGraph()
        graph.add_nodes_from(range(len(cell.sources) + 1))
        graph.add_edges_from((source, end) for end, sources in enumerate(cell.sources, 1) for source in sources)
        depths = [
            sum(weighted[cell.operations[end - 1]] for _, end, _ in path[:-1])  # type: ignore[misc]
            for path in nx.all_simple_edge_paths(graph, 0, len(cell.sources))
        ]
        counts = [cell.operations.count(operation) for operation in range(3)]
        ends = [max(depths, default=-1), min(depths, default=-1)]
        assert cell_features(cell, weighted) == (*counts, graph.number_of_edges(), *ends, len(depths))
        assert cell_features(shuffled(cell, rng), weighted) == cell_features(cell, weighted)
