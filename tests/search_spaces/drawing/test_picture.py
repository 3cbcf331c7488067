import re
import shutil
import subprocess
import sys
from collections import Counter
from functools import cache
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from numpy.typing import NDArray

from search_spaces.architecture.cost import cost
from search_spaces.architecture.format import Architecture, Node
from search_spaces.design.budget import Budget
from search_spaces.design.space import Space
from search_spaces.drawing.picture import dot, draw, render
from search_spaces.errors import SpaceError
from search_spaces.spaces.nago import Nago
from search_spaces.spaces.randwire import RandWire

NAGO = Nago(
    top_nodes=8,
    top_neighbours=2,
    top_probability=0.9,
    middle_nodes=2,
    middle_probability=0.5,
    bottom_nodes=5,
    bottom_neighbours=4,
    bottom_probability=0.5,
)
RANDWIRE = RandWire(generator="ws", ws_neighbours=4, ws_probability=0.75)
DENSE = RandWire(generator="er", er_probability=0.3)


@cache
def sample(space: Space) -> Architecture:
    """Architecture of about 100 nodes."""
    return space.sample({}, Budget(params=500_000), (1, 28, 28), 10, np.random.default_rng(0))


def hostile() -> Architecture:
    """Architecture whose space and nodes have names with a special meaning in HTML, dot or matplotlib."""
    nodes = (
        Node("input", (), 1, name="graph"),
        Node("conv3x3_bn", (0,), 2, name="strict"),
        Node("conv3x3_bn", (0,), 2, name="Straße"),
        Node("identity", (1, 2), 2, merge="sum", name="patch_1"),
        Node("classifier", (3,), 3, name="edge"),
    )
    return Architecture((1, 6, 6), 3, nodes, r'a "b" <c> & \d $x$ {e}')


def signals() -> Architecture:
    """Architecture on signals, with merges for which the order of the inputs matters."""
    nodes = (
        Node("input", (), 3),
        Node("conv3x3_bn", (0,), 4),
        Node("identity", (0, 1), 7, merge="concat"),
        Node("conv3x3_bn", (2,), 7, 2),
        Node("pool", (3,), 7, 20),
        Node("relu_conv1x1_bn", (3, 4), 5, merge="product"),
        Node("classifier", (5,), 2),
    )
    return Architecture((3, 40), 2, nodes)


ARCHITECTURES = {
    "nago": sample(NAGO),
    "randwire": sample(RANDWIRE),
    "dense": sample(DENSE),
    "hostile": hostile(),
    "smallest": Architecture((1, 2, 2), 2, (Node("input", (), 1), Node("classifier", (0,), 2))),
    "signals": signals(),
    "vectors": Architecture((5,), 2, (Node("input", (), 5), Node("conv1x1_bn", (0,), 7), Node("classifier", (1,), 2))),
}
each = pytest.mark.parametrize("name", ARCHITECTURES)
needs_graphviz = pytest.mark.skipif(shutil.which("dot") is None, reason="graphviz is not installed")
engines = pytest.mark.parametrize("engine", [pytest.param("graphviz", marks=needs_graphviz), "networkx"])

STRING = r'"((?:[^"\\]|\\.)*)"'


def said(quoted: str) -> str:
    """Content of a quoted string of the dot language."""
    return re.sub(r"\\(.)", lambda match: "\n" if match[1] == "n" else match[1], quoted)


def attributes(architecture: Architecture, key: str) -> dict[str, str]:
    """Value of an attribute for each node in the dot text."""
    found = re.findall(rf"^  {STRING} \[.*\b{key}={STRING}", dot(architecture), re.MULTILINE)
    return {said(name): said(value) for name, value in found}


@cache
def svg(name: str, engine: str) -> str:
    return render(ARCHITECTURES[name], "svg", engine).decode()


def texts(picture: str) -> Counter[str]:
    """All texts of an SVG picture."""
    root = ElementTree.fromstring(picture)
    return Counter(" ".join((text.text or "").split()) for text in root.iter("{http://www.w3.org/2000/svg}text"))


def numbers(path: str) -> NDArray[np.float64]:
    """Points of a path in an SVG picture."""
    return np.array(re.findall(r"-?[\d.]+", path), dtype=float).reshape(-1, 2)


@cache
def boxes(name: str) -> dict[str, tuple[float, float, float, float]]:
    """Left, top, right and bottom of each node as networkx draws it."""
    found = re.findall(r'<g id="box-(\w+)"><title>[^<]*</title>\s*<path d="([^"]*)"', svg(name, "networkx"))
    points = {node: numbers(path) for node, path in found}
    return {node: (*path.min(0).tolist(), *path.max(0).tolist()) for node, path in points.items()}


def curves(name: str) -> list[NDArray[np.float64]]:
    """Points along each line as networkx draws it."""
    (group,) = re.findall(r'<g id="PathCollection_1">(.*?)</g>', svg(name, "networkx"), re.DOTALL)
    share = np.linspace(0, 1, 30)[:, None]
    sampled = []
    for path in re.findall(r'd="([^"]*)"', group):
        start, leave, *control, enter, end = numbers(path)
        a, b = control[0] + 0 * share, control[1] + 0 * share
        bend = leave * (1 - share) ** 3 + 3 * a * share * (1 - share) ** 2 + 3 * b * share**2 * (1 - share)
        sampled.append(np.vstack([start, bend + enter * share**3, end]))
    return sampled


@each
def test_the_dot_text_contains_every_node_and_edge_once_and_a_rank_for_each_level(name: str) -> None:
    architecture = ARCHITECTURES[name]
    text, names, levels = dot(architecture), architecture.names, architecture.levels()
    nodes = [said(node) for node in re.findall(rf"^  {STRING} \[.*\]$", text, re.MULTILINE)]
    edges = [(said(a), said(b)) for a, b in re.findall(rf"^  {STRING} -> {STRING} \[.*\]$", text, re.MULTILINE)]
    ranks = [
        [said(node) for node in re.findall(STRING, rank)]
        for rank in re.findall(r"^  \{ rank=same; (.*) \}$", text, re.MULTILINE)
    ]
    assert nodes == list(names)
    assert Counter(edges) == Counter(
        (names[source], names[reader]) for reader, node in enumerate(architecture.nodes) for source in node.inputs
    )
    assert ranks == [[n for n, its in zip(names, levels, strict=True) if its == k] for k in range(max(levels) + 1)]


@needs_graphviz
@each
def test_graphviz_reads_the_dot_text_and_puts_each_level_below_the_one_before(name: str) -> None:
    architecture = ARCHITECTURES[name]
    done = subprocess.run(["dot", "-Tplain"], input=dot(architecture), capture_output=True, text=True, check=True)
    assert done.stderr == ""
    rows = re.findall(r'^node (?:"(.*?)"|(\S+)) \S+ (\S+) ', done.stdout, re.MULTILINE)
    heights = {quoted or plain: float(height) for quoted, plain, height in rows}
    of_level: dict[int, set[float]] = {}
    for node, level in zip(architecture.names, architecture.levels(), strict=True):
        of_level.setdefault(level, set()).add(heights[node])
    assert all(max(of_level[k + 1]) < min(of_level[k]) for k in range(len(of_level) - 1))
    assert done.stdout.count("\nedge ") == sum(len(node.inputs) for node in architecture.nodes)


@engines
@each
def test_a_picture_is_xml_with_the_label_of_every_node_the_title_and_the_legend(name: str, engine: str) -> None:
    architecture, found = ARCHITECTURES[name], texts(svg(name, engine))
    labels = Counter(line for label in attributes(architecture, "label").values() for line in label.split("\n"))
    assert labels <= found
    assert labels.total() >= len(architecture.nodes)
    (title,) = (text for text in found if text.endswith(" peak memory"))
    assert title.startswith(f"{architecture.space or 'architecture'}: {len(architecture.nodes)} nodes, ")
    for stage in {node.stage for node in architecture.nodes[1:]}:
        assert sum(text.startswith(f"stage {stage + 1}: ") for text in found) == 1


@engines
def test_tooltips_give_the_name_and_cost_of_a_node(engine: str) -> None:
    for tooltip in attributes(ARCHITECTURES["nago"], "tooltip").values():
        assert tooltip in svg("nago", engine)


@each
def test_the_costs_of_the_nodes_add_up_to_those_of_the_network(name: str) -> None:
    architecture = ARCHITECTURES[name]
    facts = [re.findall(r"([\d,]+) (?:params|MACs)", text) for text in attributes(architecture, "tooltip").values()]
    params, macs = (sum(int(number.replace(",", "")) for number in column) for column in zip(*facts, strict=True))
    assert (params, macs) == (cost(architecture).params, cost(architecture).macs)


def test_nodes_and_costs_of_the_stages_in_the_legend_add_up() -> None:
    found = " ".join(texts(svg("nago", "networkx")))
    legend = re.findall(r"stage \d: (\d+) nodes, (\d+)% of parameters, (\d+)% of MACs", found)
    nodes, params, macs = np.array(legend, dtype=int).sum(0)
    assert nodes == len(ARCHITECTURES["nago"].nodes) - 1
    assert abs(params - 100) <= 1
    assert abs(macs - 100) <= 1


@pytest.mark.parametrize(
    ("node", "label"),
    [
        (Node("relu_conv3x3_bn", (1, 2), 4, 2, "weighted_sum"), "Σ ReLU conv 3x3 BN /2\n4 x 4 x 4"),
        (Node("sepconv3x3_bn", (1, 2), 4, 1, "sum"), "+ sep. conv 3x3 BN\n4 x 8 x 8"),
        (Node("maxpool3x3", (1,), 2), "maxpool 3x3\n2 x 8 x 8"),
        (Node("conv1x1_bn", (1, 2), 3, 1, "concat"), "concat conv 1x1 BN\n3 x 8 x 8"),
        (Node("conv1x1_bn", (1, 2), 3, 1, "product"), "Π conv 1x1 BN\n3 x 8 x 8"),
        (Node("identity", (1, 2), 2, 1, "mean"), "mean"),
        (Node("identity", (1, 2), 2, 1, "weighted_sum"), "Σ"),
        (Node("identity", (1, 2), 4, 1, "concat"), "concat\n4 x 8 x 8"),
        (Node("identity", (1,), 2), "identity"),
    ],
)
def test_a_label_gives_merge_operation_stride_and_shape_and_is_short_if_nothing_is_computed(
    node: Node, label: str
) -> None:
    second = Node("pool", (1,), 2, 8) if node.merge == "product" else Node("conv3x3_bn", (0,), 2)
    before = [Node("input", (), 1), Node("conv3x3_bn", (0,), 2), *[second] * (len(node.inputs) - 1)]
    architecture = Architecture((1, 8, 8), 2, (*before, node, Node("classifier", (len(before),), 2)))
    assert attributes(architecture, "label")[f"node{len(before)}"] == label


@each
def test_no_boxes_overlap_and_every_text_is_in_its_box(name: str) -> None:
    for one, other in combinations(boxes(name).values(), 2):
        assert one[2] < other[0] or other[2] < one[0] or one[3] < other[1] or other[3] < one[1]
    sheet = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg(name, "networkx"))
    assert sheet
    for left, top, right, bottom in boxes(name).values():
        assert left > 0
        assert top > 0
        assert right < float(sheet[1])
        assert bottom < float(sheet[2])
    # The place of a text of several lines is its left end, that of a single line its middle.
    place = re.compile(r'<g id="text-(\w+)">.*?(?:translate\(|x=")([\d.]+)(?: |" y=")([\d.]+)', re.DOTALL)
    starts = place.findall(svg(name, "networkx"))
    assert {node for node, _, _ in starts} == set(ARCHITECTURES[name].names)
    for node, x, y in starts:
        left, top, right, bottom = boxes(name)[node]
        assert left + 2 < float(x) < (left + right) / 2 + 0.01
        assert top < float(y) < bottom


@each
def test_no_line_crosses_a_box(name: str) -> None:
    places = np.array(list(boxes(name).values()))
    for curve in curves(name):
        x, y = curve[:, :1], curve[:, 1:]
        inside = (places[:, 0] < x) & (x < places[:, 2]) & (places[:, 1] < y) & (y < places[:, 3] - 1e-3)
        from_middle = np.abs((places[:, 0] + places[:, 2]) / 2 - x) < 1e-3  # a line begins in the middle of its box
        assert not (inside & ~from_middle).any()


@each
def test_as_many_arrows_enter_the_top_of_a_box_as_the_node_has_inputs(name: str) -> None:
    (group,) = re.findall(r'<g id="PolyCollection_1">(.*?)</g>', svg(name, "networkx"), re.DOTALL)
    tips = np.array([numbers(path)[0] for path in re.findall(r'd="([^"]*)"', group)])
    architecture = ARCHITECTURES[name]
    for node, its in zip(architecture.nodes, architecture.names, strict=True):
        left, top, right, _ = boxes(name)[its]
        entering = (left < tips[:, 0]) & (tips[:, 0] < right) & (abs(tips[:, 1] - top) < 1e-3)
        assert entering.sum() == len(node.inputs)


def test_every_fill_has_the_contrast_to_the_text_that_wcag_requires() -> None:
    def brightness(colour: str) -> float:
        linear = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in linear)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    nodes = [Node("input", (), 1), *[Node("conv3x3_bn", (k,), 1, stage=k) for k in range(12)]]
    fills = attributes(Architecture((1, 8, 8), 2, (*nodes, Node("classifier", (12,), 2))), "fillcolor")
    assert len(set(fills.values())) >= 9
    for fill in fills.values():
        assert (brightness(fill) + 0.05) / (brightness("#222222") + 0.05) > 4.5


@engines
@pytest.mark.parametrize(
    ("suffix", "start"), [(".svg", b"<?xml"), (".png", b"\x89PNG"), (".pdf", b"%PDF"), (".dot", b"digraph")]
)
def test_the_suffix_decides_the_format(tmp_path: Path, engine: str, suffix: str, start: bytes) -> None:
    draw(ARCHITECTURES["hostile"], tmp_path / f"out{suffix}", engine)
    assert (tmp_path / f"out{suffix}").read_bytes().startswith(start)


@pytest.mark.parametrize("form", ["svg", "png", "pdf"])
def test_equal_drawings_are_equal_bytes(form: str) -> None:
    assert render(ARCHITECTURES["hostile"], form, "networkx") == render(ARCHITECTURES["hostile"], form, "networkx")


def test_without_graphviz_networkx_draws_and_requesting_graphviz_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    architecture = ARCHITECTURES["smallest"]
    assert render(architecture, "svg") == render(architecture, "svg", "networkx")
    with pytest.raises(SpaceError, match=r"but found none\. Install Graphviz, or choose engine networkx"):
        render(architecture, "svg", "graphviz")


def test_without_graphviz_and_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(SpaceError, match=r"needs matplotlib: pip install 'autokd\[plot\]', or install Graphviz"):
        render(ARCHITECTURES["smallest"], "svg")


def test_graphviz_is_used_if_installed_and_its_error_message_is_passed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "dot"
    program.write_text("#!/bin/sh\necho 'no such luck' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SpaceError, match="Graphviz failed: no such luck"):
        render(ARCHITECTURES["smallest"], "svg")


def test_unknown_formats_and_engines_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(SpaceError, match="format must be one of dot, pdf, png, svg, but got 'gif'"):
        draw(ARCHITECTURES["smallest"], tmp_path / "out.gif")
    with pytest.raises(SpaceError, match=r"Unknown engine 'graphvis'\. Did you mean 'graphviz'"):
        render(ARCHITECTURES["smallest"], "svg", "graphvis")
    assert list(tmp_path.iterdir()) == []


def test_a_drawing_changes_no_global_setting_and_needs_no_display() -> None:
    code = (
        "import sys, search_spaces.drawing.picture as d;"
        "from search_spaces.architecture.format import Architecture, Node;"
        "print([name for name in ('matplotlib', 'networkx', 'torch') if name in sys.modules]);"
        "import matplotlib; before = matplotlib.rcParams.copy();"
        "d.render(Architecture((1, 2, 2), 2, (Node('input', (), 1), Node('classifier', (0,), 2))), 'png', 'networkx');"
        "print(before == matplotlib.rcParams.copy(), 'matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).split() == ["[]", "True", "False"]
