"""Drawings of an architecture: levels from top to bottom, a colour for each stage, shapes, widths and cost.

Graphviz draws if its program `dot` is installed; otherwise `layout.py` computes the layout and matplotlib draws it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from io import BytesIO
from pathlib import Path
from shutil import which
from subprocess import run
from typing import TYPE_CHECKING

from search_spaces.architecture.cost import cost
from search_spaces.architecture.format import Architecture, Node
from search_spaces.architecture.operations import INPUT, MERGES
from search_spaces.drawing.layout import PITCH, Layout, Point, Step, lay_out
from search_spaces.errors import SpaceError, unknown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["ENGINES", "FORMATS", "dot", "draw", "render"]

FORMATS = ("dot", "pdf", "png", "svg")
"""File formats of a drawing; `dot` is the text that Graphviz reads."""

ENGINES = ("graphviz", "networkx")
"""Programs that can lay out a drawing, the preferred one first."""

# Background colours for dark text that are distinct for all kinds of colour vision: the light scheme of Paul Tol's
# technical note SRON/EPS/TN/09-002, whose grey is reserved for the input.
PALETTE = ("#77AADD", "#EEDD88", "#44BB99", "#EE8866", "#BBCC33", "#FFAABB", "#99DDFF", "#AAAA00")
GREY = "#DDDDDD"
INK = "#222222"

IDENTITY = "identity"
SYMBOLS = {"sum": "+", "weighted_sum": "Σ", "product": "Π"}
SPELLINGS = {"bn": "BN", "gelu": "GELU", "prelu": "PReLU", "relu": "ReLU", "sepconv": "sep. conv"}
PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
SWATCH = "\N{BLACK SQUARE}"

# Lengths are in inches, font sizes in points.
FONT = "DejaVu Sans"  # it comes with matplotlib
TEXT, SMALL, TITLE = 9.0, 8.0, 13.0
POINTS = 72.0  # points per inch
LINE = 0.17  # line height of the text in a box
HEAD_LINE = 0.24  # line height of the text above the drawing
PADDING = 0.08
MARGIN = 0.3
PORTS = 0.13  # largest distance between arrows into one box

DPI = 110
MOST_PIXELS = 30_000  # of one side; Cairo and most viewers do not support more than 2**15


def dot(architecture: Architecture) -> str:
    """The drawing as text for Graphviz, with each node and edge of the architecture and a rank for each level."""
    marks, levels = _marks(architecture), architecture.levels()
    lines = [
        f"digraph {_quoted(architecture.space)} {{",
        f"  graph [label=<{_dot_head(architecture)}>, labelloc=t, labeljust=l, pad=0.2, nodesep=0.2, ranksep=0.35,",
        f'    fontname="{FONT}", fontsize={TEXT}, fontcolor="{INK}"]',
        '  node [shape=box, style="filled,rounded", height=0.2, width=0.2, margin="0.08,0.04", penwidth=0.8,',
        f'    fontname="{FONT}", fontsize={TEXT}, fontcolor="{INK}"]',
        "  edge [arrowsize=0.6, penwidth=1.1]",
    ]
    lines += [f"  {_quoted(mark.name)} [{_dot_attributes(mark)}]" for mark in marks]
    for level in range(max(levels) + 1):
        names = [_quoted(mark.name) for mark, its in zip(marks, levels, strict=True) if its == level]
        lines.append(f"  {{ rank=same; {' '.join(names)} }}")
    for mark, node in zip(marks, architecture.nodes, strict=True):
        for source in (marks[number] for number in node.inputs):
            lines.append(f'  {_quoted(source.name)} -> {_quoted(mark.name)} [color="{source.line}"]')
    return "\n".join([*lines, "}", ""])


def draw(architecture: Architecture, path: Path, engine: str | None = None) -> None:
    """Write a drawing to a file.

    Args:
        architecture: What to draw.
        path: The file; its suffix is one of `FORMATS`.
        engine: One of `ENGINES`; by default the first one that is installed.

    Raises:
        SpaceError: For the reasons of `render`.
    """
    path.write_bytes(render(architecture, path.suffix.removeprefix("."), engine))


def render(architecture: Architecture, form: str, engine: str | None = None) -> bytes:
    """Content of a file with a drawing; equal arguments give equal bytes.

    Args:
        architecture: What to draw.
        form: One of `FORMATS`.
        engine: One of `ENGINES`; by default the first one that is installed.

    Raises:
        SpaceError: If the format or the engine is unknown, Graphviz is requested but not installed or fails, or neither
            Graphviz nor matplotlib is installed.
    """
    if form not in FORMATS:
        raise SpaceError(f"A drawing's format must be one of {', '.join(FORMATS)}, but got {form!r}.")
    if engine not in (None, *ENGINES):
        raise unknown("engine", str(engine), ENGINES)
    if form == "dot":
        return dot(architecture).encode()
    if engine == "graphviz" or (engine is None and which("dot")):
        return _run_graphviz(dot(architecture), form)
    return _run_matplotlib(architecture, form)


@dataclass(frozen=True)
class _Mark:
    """Appearance of a node; a small one only merges its inputs."""

    name: str
    label: str
    tooltip: str
    fill: str
    small: bool

    @property
    def size(self) -> float:
        """Font size of the label, in points."""
        return SMALL if self.small else TEXT

    @property
    def line(self) -> str:
        """Colour of the border and of the outgoing lines: the fill at three fifths of its brightness."""
        return "#" + "".join(f"{int(self.fill[place : place + 2], 16) * 3 // 5:02X}" for place in (1, 3, 5))


@dataclass(frozen=True)
class _Line:
    """A line of text above the drawing, after a square of the colour `fill` if that is not empty."""

    text: str
    fill: str = ""


def _marks(architecture: Architecture) -> list[_Mark]:
    marks, shapes = [], architecture.shapes()
    facts = zip(architecture.nodes, architecture.names, shapes, _costs(architecture), strict=True)
    for node, name, shape, (params, macs) in facts:
        small = node.operation == IDENTITY
        size = " x ".join(map(str, shape))
        label = _words(node) if small and shape == shapes[node.inputs[0]] else f"{_words(node)}\n{size}"
        tooltip = f"{name}: {node.operation}, {size}, {params:,} params, {macs:,} MACs"
        fill = GREY if node.operation == INPUT else _fill(node.stage)
        marks.append(_Mark(name, label, tooltip, fill, small))
    return marks


def _words(node: Node) -> str:
    """Short form of merge, operation and stride, such as `Σ ReLU conv 3x3 BN /2`."""
    words = [] if node.merge == "none" else [SYMBOLS.get(node.merge, node.merge.replace("_", " "))]
    if node.operation != IDENTITY or not words:
        for part in node.operation.split("_"):
            kind, *size = re.split(r"(?<=[a-z]{2})(?=\d)", part)
            words += [SPELLINGS.get(kind, kind), *size]
    return " ".join([*words, f"/{node.stride}"] if node.stride > 1 else words)


def _costs(architecture: Architecture) -> list[tuple[int, int]]:
    """Parameters, including merge weights, and multiply-accumulates of each node."""
    steps = zip(architecture.nodes, architecture.profiles(), strict=True)
    return [(step.parameters + len(node.inputs) * (node.merge == "weighted_sum"), step.macs) for node, step in steps]


def _head(architecture: Architecture) -> list[_Line]:
    """Lines above the drawing: the title, the stages with their shares of the cost, and the symbols used."""
    nodes, costs, total = architecture.nodes, _costs(architecture), cost(architecture)
    sizes = f"{_short(total.params, ' parameters')}, {_short(total.macs, ' MACs')}"
    memory = f"{_short(total.memory_bytes, 'B')} peak memory"
    lines = [_Line(f"{architecture.space or 'architecture'}: {len(nodes)} nodes, {sizes}, {memory}")]
    for stage in sorted({node.stage for node in nodes[1:]}):
        those = [number for number, node in enumerate(nodes) if number and node.stage == stage]
        params = sum(costs[number][0] for number in those) / max(total.params, 1)
        macs = sum(costs[number][1] for number in those) / max(total.macs, 1)
        text = f"stage {stage + 1}: {len(those)} nodes, {params:.0%} of parameters, {macs:.0%} of MACs"
        lines.append(_Line(text, _fill(stage)))
    merges = {node.merge for node in nodes}
    return lines + [_Line(f"{symbol}  {MERGES[merge]}") for merge, symbol in SYMBOLS.items() if merge in merges]


def _fill(stage: int) -> str:
    return PALETTE[stage % len(PALETTE)]


def _short(number: int, unit: str) -> str:
    """Number with three digits, a prefix and the unit, such as `87.4 kB`."""
    size, prefix = next((large for large in PREFIXES if number >= 0.9995 * large[0]), (1, ""))
    return f"{number / size:.3g} {(prefix + unit).strip()}"


# --- Graphviz


def _dot_attributes(mark: _Mark) -> str:
    shape = f', shape=ellipse, margin="0.03,0.01", fontsize={mark.size}' if mark.small else ""
    colours = f'fillcolor="{mark.fill}", color="{mark.line}"'
    return f"label={_quoted(mark.label)}, tooltip={_quoted(mark.tooltip)}, {colours}{shape}"


def _quoted(text: str) -> str:
    """Quoted string of the dot language."""
    for character, escaped in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n")):
        text = text.replace(character, escaped)
    return f'"{text}"'


def _dot_head(architecture: Architecture) -> str:
    """The lines above the drawing in the HTML-like markup of Graphviz."""
    title, *rest = _head(architecture)
    texts = [f'<font point-size="{TITLE}"><b>{escape(title.text)}</b></font>']
    texts += [
        f'<font color="{line.fill}" point-size="{TITLE}">{SWATCH}</font>  {escape(line.text)}'
        if line.fill
        else escape(line.text)
        for line in rest
    ]
    return "".join(f'{text}<br align="left"/>' for text in texts)


def _run_graphviz(text: str, form: str) -> bytes:
    program = which("dot")
    if program is None:
        raise SpaceError(
            "The engine graphviz needs the program `dot`, but found none. Install Graphviz, or choose engine networkx."
        )
    resolution = [f"-Gdpi={DPI}"] if form == "png" else []
    done = run([program, f"-T{form}", *resolution], input=text.encode(), capture_output=True, check=False)
    if done.returncode:
        raise SpaceError(f"Graphviz failed: {(done.stderr.decode().splitlines() or ['it printed no reason'])[0]}")
    return done.stdout


# --- matplotlib

Box = tuple[float, float]
"""Width and height."""


def _run_matplotlib(architecture: Architecture, form: str) -> bytes:
    try:
        from matplotlib import rc_context
    except ImportError as error:
        raise SpaceError(
            "Engine networkx needs matplotlib: pip install 'autokd[plot]', or install Graphviz."
        ) from error
    marks, buffer = _marks(architecture), BytesIO()
    dates = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}  # so that the same drawing is the same bytes
    fonts = [FONT, "Verdana", "sans-serif"]
    with rc_context({"font.sans-serif": fonts, "svg.fonttype": "none", "svg.hashsalt": "autokd", "pdf.fonttype": 42}):
        figure = _figure(architecture, marks)
        dpi = min(DPI, MOST_PIXELS / max(figure.get_size_inches()))
        figure.savefig(buffer, format=form, dpi=dpi, metadata=dates.get(form))
    return _with_tooltips(buffer.getvalue(), marks) if form == "svg" else buffer.getvalue()


def _figure(architecture: Architecture, marks: Sequence[_Mark]) -> Figure:
    """The figure, as large as the drawing requires; its axes are in inches, with y down from the first level."""
    from matplotlib.figure import Figure

    boxes = [_box(mark) for mark in marks]
    layout, head = lay_out(architecture, [width for width, _ in boxes]), _head(architecture)
    across, down = zip(*layout.places.values(), strict=True)
    spare = max(width for width, _ in boxes)
    words = max(_text_width(line.text, TITLE) for line in head)
    width = max(max(across) - min(across) + spare, words) + 2 * MARGIN
    left = (min(across) + max(across) - width) / 2
    top, bottom = -MARGIN - len(head) * HEAD_LINE - PITCH, max(down) + PITCH / 2 + MARGIN

    figure = Figure(figsize=(width, bottom - top), facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1), xlim=(left, left + width), ylim=(bottom, top))
    axes.set_axis_off()
    _write_head(axes, head, left + MARGIN, top + MARGIN)
    _draw_lines(axes, layout, marks, boxes)
    for point, mark, box in zip(enumerate(architecture.levels()), marks, boxes, strict=True):
        _draw_box(axes, mark, box, layout.places[point])
    return figure


def _box(mark: _Mark) -> Box:
    lines = mark.label.split("\n")
    return max(_text_width(line, mark.size) for line in lines) + 2 * PADDING, LINE * len(lines) + PADDING


@lru_cache(maxsize=4096)
def _text_width(text: str, size: float) -> float:
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    plain = text.replace("$", r"\$")  # otherwise matplotlib reads a formula
    font = FontProperties(family=FONT, weight="bold" if size == TITLE else "normal")
    return float(TextPath((0, 0), plain, size, font).get_extents().width) / POINTS


def _write_head(axes: Axes, head: Sequence[_Line], x: float, y: float) -> None:
    for number, line in enumerate(head):
        y += HEAD_LINE
        size, weight = (TEXT, "normal") if number else (TITLE, "bold")
        indent = 2 * size / POINTS if line.fill else 0.0
        if line.fill:
            axes.text(x, y, SWATCH, size=TITLE, color=line.fill)
        axes.text(x + indent, y, line.text, size=size, weight=weight, color=INK, parse_math=False)


def _draw_box(axes: Axes, mark: _Mark, box: Box, place: tuple[float, float]) -> None:
    from matplotlib.patches import FancyBboxPatch

    (width, height), (x, y) = box, place
    corner = f"round,pad=0,rounding_size={height / 2 if mark.small else 0.06}"
    patch = FancyBboxPatch((x - width / 2, y - height / 2), width, height, corner)
    patch.set(facecolor=mark.fill, edgecolor=mark.line, linewidth=0.8, gid=f"box-{mark.name}")
    axes.add_patch(patch)
    text = axes.text(x, y, mark.label, size=mark.size, color=INK, ha="center", va="center", parse_math=False)
    text.set_gid(f"text-{mark.name}")


def _draw_lines(axes: Axes, layout: Layout, marks: Sequence[_Mark], boxes: Sequence[Box]) -> None:
    """Draw the steps as curves that bend only between levels, where there are no boxes, with arrows at the boxes."""
    from matplotlib.collections import PathCollection, PolyCollection
    from matplotlib.path import Path as Curve

    half = max(height for _, height in boxes) / 2
    ports = _ports(layout, boxes)
    curves, arrows = [], []
    for start, end in layout.steps:
        (x, y), (to_x, to_y) = layout.places[start], layout.places[end]
        to_x, bend = to_x + ports.get((start, end), 0.0), (y + to_y) / 2
        tip = to_y - boxes[end[0]][1] / 2 if (start, end) in ports else to_y
        corners = [(x, y), (x, y + half), (x, bend), (to_x, bend), (to_x, to_y - half), (to_x, tip)]
        curves.append(Curve(corners, [Curve.MOVETO, Curve.LINETO, *[Curve.CURVE4] * 3, Curve.LINETO]))
        if (start, end) in ports:
            arrows.append([(to_x, tip), (to_x - 0.035, tip - 0.08), (to_x + 0.035, tip - 0.08)])
    lines = [marks[start[0]].line for start, _ in layout.steps]
    tips = [marks[start[0]].line for start, end in layout.steps if (start, end) in ports]
    axes.add_collection(PathCollection(curves, facecolors="none", edgecolors=lines, linewidths=1.1), autolim=False)
    axes.add_collection(PolyCollection(arrows, facecolors=tips, edgecolors="none"), autolim=False)


def _ports(layout: Layout, boxes: Sequence[Box]) -> dict[Step, float]:
    """Horizontal distance from the middle of its box at which each step enters, from left to right."""
    entering: dict[Point, list[Step]] = {}
    for step in sorted(layout.steps, key=lambda step: layout.places[step[0]]):
        if step[0][0] != step[1][0]:
            entering.setdefault(step[1], []).append(step)
    ports: dict[Step, float] = {}
    for (number, _), steps in entering.items():
        apart = min(PORTS, 0.8 * boxes[number][0] / len(steps))
        ports |= {step: apart * (place - (len(steps) - 1) / 2) for place, step in enumerate(steps)}
    return ports


def _with_tooltips(svg: bytes, marks: Sequence[_Mark]) -> bytes:
    """The picture with a title element for each box and its text, which browsers show as a tooltip."""
    titles = {mark.name: escape(mark.tooltip) for mark in marks}
    group = re.compile(r'<g id="(?:box|text)-(\w+)">')
    return group.sub(lambda match: f"{match[0]}<title>{titles[match[1]]}</title>", svg.decode()).encode()
