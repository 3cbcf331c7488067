from search_spaces.design.blueprint import Sketch
from search_spaces.design.graphs import Dag
from search_spaces.design.wiring import Place, wire


def wired(dag: Dag, n_inputs: int) -> tuple[Sketch, int]:
    sketch = Sketch((1, 8, 8), 2, (1,), "test")
    inputs = tuple(sketch.add("conv3x3_bn", (0,), 0, name=f"in{i}") for i in range(n_inputs))

    def part(number: int, inputs: tuple[int, ...]) -> int:
        return sketch.add("relu_conv3x3_bn", inputs, 0, name=f"part{number}")

    return sketch, wire(sketch, dag, inputs, Place(0, 0, "g"), part)


def names_and_inputs(sketch: Sketch) -> dict[str, list[str]]:
    return {node.name: [sketch.nodes[i].name for i in node.inputs] for node in sketch.nodes}


def test_a_chain_needs_no_extra_nodes() -> None:
    sketch, end = wired(Dag(2, ((0, 1),)), n_inputs=2)
    assert names_and_inputs(sketch) == {
        "image": [],
        "in0": ["image"],
        "in1": ["image"],
        "part0": ["in0", "in1"],
        "part1": ["part0"],
    }
    assert sketch.nodes[end].name == "part1"


def test_several_sources_share_one_merge_and_several_sinks_are_averaged() -> None:
    sketch, end = wired(Dag(3, ((0, 2),)), n_inputs=2)
    wiring = names_and_inputs(sketch)
    assert wiring["g_input"] == ["in0", "in1"]
    assert wiring["part0"] == wiring["part1"] == ["g_input"]
    assert wiring["g_output"] == ["part1", "part2"]
    assert (sketch.nodes[end].name, sketch.nodes[end].merge) == ("g_output", "mean")


def test_several_sources_read_a_single_input_directly() -> None:
    wiring = names_and_inputs(wired(Dag(3, ((0, 2), (1, 2))), n_inputs=1)[0])
    assert wiring["part0"] == wiring["part1"] == ["in0"]
    assert "g_input" not in wiring
