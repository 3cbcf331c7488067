"""The generated source of an architecture: readable Python that needs only torch."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from keyword import iskeyword

from torch import Tensor

from search_spaces.architecture.cost import cost, demands
from search_spaces.architecture.format import RESERVED, Architecture, Node
from search_spaces.architecture.layers import KINDS, Call, Shape
from search_spaces.architecture.memory import last_uses, node_peaks
from search_spaces.architecture.operations import OPERATIONS, Width, layers
from search_spaces.errors import SpaceError
from search_spaces.networks import merging, modules
from search_spaces.networks.network import Network

__all__ = ["source"]

LINE = 120
"""Maximum line length."""

# An operation's layers are built for these numbers of inputs, outputs and stride; where one of them, or a multiple,
# appears in a constructor call, the helper function has an argument instead. They are large primes to be unmistakable.
PROBES = {"inputs": 1_000_003, "outputs": 2_000_003, "stride": 3_000_017}


def source(architecture: Architecture, name: str = "Student", note: str = "") -> str:
    """Python source of a module class with the state dict of `network.build` that computes the same bits.

    A tensor is deleted explicitly if keeping it would raise the peak memory above that of the architecture.

    Args:
        architecture: What to write.
        name: Name of the class.
        note: Further line of the module's docstring; omitted by default.

    Raises:
        SpaceError: If `name` is not an identifier, or is a name that the source uses itself, or a node's name is an
            attribute of `nn.Module`.
    """
    Network(architecture, device="meta")  # knows which names of nodes a module cannot have
    if not name.isidentifier() or iskeyword(name) or name in RESERVED or name in OPERATIONS:
        raise SpaceError(f"A class name must be a Python identifier that is not reserved, but got {name!r}.")
    helpers = _Helpers(architecture)
    return "\n".join(
        [
            *_head(architecture, name, note),
            *_own_modules(architecture),
            *helpers.text(),
            *_merges(architecture),
            "",
            "",
            f"class {name}(nn.Module):",
            f'    """{_size(architecture)}"""',
            "",
            "    def __init__(self) -> None:",
            "        super().__init__()",
            *_modules(architecture, helpers),
            "",
            *_forward(architecture),
            "",
        ]
    )


def _head(architecture: Architecture, name: str, note: str) -> list[str]:
    origin = f" of the search space {architecture.space}" if architecture.space else ""
    costs = cost(architecture)
    return [
        f'"""{name}: a network of {len(architecture.nodes)} nodes{origin}, written by AutoKD.',
        "",
        f"{costs.params:,} parameters, {costs.macs:,} multiply-accumulates for one sample.",
        f"Architecture {architecture.digest}.",
        *([note] if note else []),
        '"""',
        "",
        *(["import torch"] if _needs_torch(architecture) else []),
        "from torch import Tensor, nn",
    ]


def _needs_torch(architecture: Architecture) -> bool:
    merges = _has(architecture, "weighted_sum") or _has(architecture, "concat")
    return merges or "torch." in "".join(_own_modules(architecture))


def _size(architecture: Architecture) -> str:
    sizes = " x ".join(map(str, architecture.input_shape))
    return f"{architecture.classes} logits of {KINDS[len(architecture.input_shape)]} of {sizes}."


def _has(architecture: Architecture, merge: str) -> bool:
    return any(node.merge == merge for node in architecture.nodes)


MERGE_FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "sum": merging.summed,
    "mean": merging.mean,
    "weighted_sum": merging.weighted_sum,
    "concat": merging.concatenated,
    "product": merging.product,
}


def _merges(architecture: Architecture) -> list[str]:
    """Source of the functions of `merging.py` that the architecture uses."""
    return _word_for_word(function for merge, function in MERGE_FUNCTIONS.items() if _has(architecture, merge))


def _own_modules(architecture: Architecture) -> list[str]:
    """Source of the classes of `modules.py` that the architecture uses."""
    nodes = zip(architecture.nodes[1:], architecture.entering()[1:], strict=True)
    names = {call.name for node, shape in nodes for call in _real_calls(node, shape) if call.own}
    return _word_for_word(getattr(modules, name) for name in sorted(names))


def _word_for_word(things: Iterable[Callable[..., object]]) -> list[str]:
    return [line for thing in things for line in ("", "", *inspect.getsource(thing).rstrip().split("\n"))]


@dataclass(frozen=True)
class _Block:
    """Constructor calls of a node's module as text, with names in place of numbers that a helper takes as arguments."""

    operation: str
    calls: tuple[str, ...]


class _Helpers:
    """Helper functions, one for each block that is used at least twice."""

    def __init__(self, architecture: Architecture) -> None:
        nodes = zip(architecture.nodes[1:], architecture.entering()[1:], strict=True)
        self._blocks = {node: _block(node, shape) for node, shape in nodes if _real_calls(node, shape)}
        uses = Counter(self._blocks.values())
        self._names: dict[_Block, str] = {}
        for block, n_uses in uses.items():
            if n_uses > 1:
                twins = sum(other.operation == block.operation for other in self._names)
                self._names[block] = f"{block.operation}_{twins + 1}" if twins else block.operation

    def text(self) -> list[str]:
        """Lines of the definitions."""
        return [line for block, name in self._names.items() for line in _definition(block, name)]

    def use(self, node: Node, shape: Shape) -> list[str]:
        """Lines of the expression that builds a node's module: a call of a helper, or the layers themselves."""
        block = self._blocks[node]
        if block not in self._names:
            return _sequential([_call_text(call) for call in _real_calls(node, shape)])
        given = {"inputs": shape[0], "outputs": node.channels, "stride": node.stride}
        values = [f"stride={given[key]}" if key == "stride" else str(given[key]) for key in _arguments(block, given)]
        return [f"{self._names[block]}({', '.join(values)})"]


def _definition(block: _Block, name: str) -> list[str]:
    signature = ", ".join(f"{key}: int = 1" if key == "stride" else f"{key}: int" for key in _arguments(block))
    kinds = [call.split("(")[0].removeprefix("nn.") for call in block.calls]
    words = f"{', '.join(kinds[:-1])}, then {kinds[-1]}." if len(kinds) > 1 else f"One {kinds[0]}."
    first, *rest = _sequential(block.calls)
    return [
        "",
        "",
        f"def {name}({signature}) -> nn.Module:",
        f'    """{words}"""',
        f"    return {first}",
        *(f"    {line}" for line in rest),
    ]


def _arguments(block: _Block, given: dict[str, int] | None = None) -> list[str]:
    """Names of a helper's arguments; with `given` values, those that a call must pass (all but a stride of 1)."""
    text = " ".join(block.calls)
    names = [key for key in PROBES if key in text]
    return [key for key in names if given is None or key != "stride" or given[key] != 1]


def _block(node: Node, shape: Shape) -> _Block:
    """Block of a node, with named arguments in calls that hold for all sizes and plain numbers in the others."""
    given = {"inputs": shape[0], "outputs": node.channels, "stride": node.stride}
    reals = _real_calls(node, shape)
    probes = _probed_calls(node.operation, len(shape) - 1) or reals
    pairs = zip(probes, reals, strict=True)
    return _Block(
        node.operation, tuple(_call_text(probe if _fits(probe, real, given) else real) for probe, real in pairs)
    )


def _probed_calls(operation: str, rank: int) -> list[Call]:
    inputs, outputs, stride = PROBES.values()
    for probe in ((inputs, outputs, stride), (inputs, outputs, 1), (inputs, inputs, stride)):
        with suppress(SpaceError):  # an operation may keep the channels, or support no stride
            return [layer.call() for layer in layers(operation, Width(*probe, rank))]
    with suppress(SpaceError):
        return [layer.call() for layer in layers(operation, Width(inputs, inputs, 1, rank))]
    return []  # the operation only reduces the number of channels, so nothing can be named


def _real_calls(node: Node, shape: Shape) -> list[Call]:
    calls: list[Call] = []
    for layer in layers(node.operation, Width(shape[0], node.channels, node.stride, len(shape) - 1)):
        calls.append(layer.call(shape))
        shape = layer.output(shape)
    return calls


def _fits(probe: Call, real: Call, given: dict[str, int]) -> bool:
    """Whether the probed call, with the given numbers in place of the probes, equals the real one."""
    arguments = tuple(_value(value, given) for value in probe.arguments)
    keywords = {key: _value(value, given) for key, value in probe.keywords}
    same = all(keywords.get(key) == value for key, value in real.keywords)  # the real call omits torch's defaults
    return probe.name == real.name and arguments == real.arguments and same


def _value(value: object, given: dict[str, int]) -> object:
    name, times = _split(value)
    return value if name is None else times * given[name]


def _split(value: object) -> tuple[str | None, int]:
    """Name of the probe that divides a number, and the quotient; None if there is none."""
    for name, probe in PROBES.items():
        if isinstance(value, int) and value and value % probe == 0:
            return name, value // probe
    return None, 0


def _call_text(call: Call) -> str:
    arguments = [_value_text(value) for value in call.arguments]
    everything = [*arguments, *(f"{key}={_value_text(value)}" for key, value in call.keywords)]
    return f"{'' if call.own else 'nn.'}{call.name}({', '.join(everything)})"


def _value_text(value: object) -> str:
    name, times = _split(value)
    if name is None:
        return repr(value)
    return name if times == 1 else f"{times} * {name}"


def _sequential(calls: Sequence[str]) -> list[str]:
    return [calls[0]] if len(calls) == 1 else ["nn.Sequential(", *(f"    {call}," for call in calls), ")"]


def _modules(architecture: Architecture, helpers: _Helpers) -> list[str]:
    lines: list[str] = []
    named = zip(architecture.nodes, architecture.names, architecture.entering(), strict=True)
    for node, name, shape in islice(named, 1, None):
        if _real_calls(node, shape):
            first, *rest = helpers.use(node, shape)
            lines += [f"        self.{name} = {first}", *(f"        {line}" for line in rest)]
    if n_gates := sum(len(node.inputs) for node in architecture.nodes if node.merge == "weighted_sum"):
        lines.append(f"        self.merge_weights = nn.Parameter(torch.ones({n_gates}))")
    return lines


def _forward(architecture: Architecture) -> list[str]:
    names = architecture.names
    sizes = " x ".join(map(str, ("batch", *architecture.input_shape)))
    lines = [
        f"    def forward(self, {names[0]}: Tensor) -> Tensor:",
        f'        """Logits, `batch x {architecture.classes}`, of `{sizes}` inputs."""',
    ]
    if _has(architecture, "weighted_sum"):
        lines.append("        gates = torch.sigmoid(self.merge_weights).unbind()")
    deleted = _deletions(architecture)
    start = 0
    for number, (node, shape) in enumerate(zip(architecture.nodes, architecture.entering(), strict=True)):
        if not number:
            continue
        lines += _delete(names[dead] for dead in deleted[number])
        target = "return " if number == len(names) - 1 else f"{names[number]} = "
        module = f"self.{names[number]}" if _real_calls(node, shape) else ""
        lines += _statement(target, module, node, [names[source] for source in node.inputs], start)
        start += len(node.inputs) * (node.merge == "weighted_sum")
    return lines


def _statement(target: str, module: str, node: Node, arguments: list[str], start: int) -> list[str]:
    """Lines that merge the arguments and then call the module, if there is one."""
    if node.merge == "weighted_sum":
        arguments = [f"gates[{start}:{start + len(node.inputs)}]", *arguments]
    function = "" if node.merge == "none" else MERGE_FUNCTIONS[node.merge].__name__
    merged = f"{function}({', '.join(arguments)})" if function else arguments[0]
    opening, closing = (f"{module}(", ")") if module else ("", "")
    line = f"        {target}{opening}{merged}{closing}"
    if len(line) <= LINE:
        return [line]
    inner = " " * (12 if opening else 8)
    exploded = [f"{function}(", *(f"    {argument}," for argument in arguments), ")"]
    if not opening:
        return [f"        {target}{exploded[0]}", *(inner + text for text in exploded[1:])]
    return [f"        {target}{opening}", *(inner + text for text in exploded), "        )"]


def _delete(names: Iterable[str]) -> list[str]:
    """Lines of `del` statements."""
    lines: list[str] = []
    for name in names:
        if lines and len(lines[-1]) + len(name) + 2 <= LINE:
            lines[-1] += f", {name}"
        else:
            lines.append(f"        del {name}")
    return lines


def _deletions(architecture: Architecture) -> list[list[int]]:
    """Tensors to delete before each node runs: all dead ones, if keeping them would raise the peak."""
    inputs = [node.inputs for node in architecture.nodes]
    needed = demands(architecture)
    during = node_peaks(inputs, needed)
    deleted: list[list[int]] = []
    dead: list[int] = []
    for peak, dying in zip(during, last_uses(inputs), strict=True):
        raises = peak + sum(needed[number].output for number in dead) > max(during)
        deleted.append(sorted(dead) if raises else [])
        dead = [*([] if raises else dead), *dying]
    return deleted
