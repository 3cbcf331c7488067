"""A network that was written elsewhere, such as a teacher, as an architecture: its graph in the one format.

`torch.fx` records the calls of a forward pass; `reading.py` says which operation each of them is. What follows a
convolution or a linear layer (batch norm, an activation) joins its node, as the names of operations allow.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from keyword import iskeyword
from math import prod
from typing import Any
from unicodedata import normalize

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from search_spaces.architecture.format import RESERVED, Architecture, Node
from search_spaces.architecture.layers import Shape
from search_spaces.architecture.patterns import ACTIVATIONS
from search_spaces.errors import SpaceError
from search_spaces.networks.network import Network, build
from search_spaces.networks.reading import PASSED, has_own_pass, is_weight, module_name, read_call

__all__ = ["Traced", "copy_weights", "trace"]

TOLERANCE = 1e-3  # of the copy's outputs, relative to the largest one: enough for all that computes in float32


@dataclass(frozen=True)
class Traced:
    """A network in the one format.

    Attributes:
        architecture: Its graph, with its widths.
        modules: For each node, the names of the network's modules whose weights its layers have, in their order.
    """

    architecture: Architecture
    modules: tuple[tuple[str, ...], ...]


def trace(network: nn.Module, example: Tensor, output: int | str | None = None) -> Traced:
    """The graph of a network, whose copy computes the same outputs in evaluation.

    It may have convolutions of one or two axes (without groups, or depthwise), batch norm, ReLU, ReLU6, leaky ReLU,
    GELU, SiLU, Hardswish, sigmoids, max, average and adaptive pools, sums, concatenations, products of a map with one
    number for each channel (squeeze and excitation), flattening, means over all positions, linear layers on vectors,
    and dropout, all as modules or functions; others may be there that return their input as it is, such as stochastic
    depth. Dropout keeps its probability, rounded to per cent, and drops single values. A convolution with strides that
    pads like TensorFlow, one side less than the other, becomes one that pads both by as much, which moves maps by up to
    one position: with these alone the copy does not compute quite the same. Stages of the architecture are its
    resolutions.

    Args:
        network: Any module; its weights and modes are not changed. A `Network` is what it was built from.
        example: A batch of inputs that are not constant, on the device of the network.
        output: Index or key of the logits, if the network returns several outputs.

    Raises:
        SpaceError: If the network does anything else, naming the module, or its graph depends on values.
    """
    if isinstance(network, Network):
        modules = (tuple(_with_weights(network, name)) for name in network.architecture.names)
        return Traced(network.architecture, tuple(modules))
    with _evaluated(network), torch.no_grad():
        recorder = _Recorder(_graph_module(network, output))
        recorder.record(example)
        steps = _steps(recorder, network)
        traced = _as_nodes(_joined(steps))
        copy = build(traced.architecture, device=example.device, dtype=example.dtype).eval()
        copy_weights(traced, network, copy)
        with _evenly_padded(network, steps):
            returned = network(example.clone())
        wanted = returned if output is None else returned[output]
        why = "perhaps a layer overwrites a tensor that another one reads, or does more than the class that it extends"
        _check_same(copy(example), wanted, why)
    return traced


def copy_weights(traced: Traced, network: nn.Module, copy: Network) -> None:
    """Copy the weights of a traced network into one that was built from its architecture, in place.

    Batch norm of our networks has torch's default epsilon; the running variance makes up for another one.

    Args:
        traced: Result of `trace`.
        network: The network that was traced.
        copy: Result of `build(traced.architecture)`.
    """
    if isinstance(network, Network):
        copy.load_state_dict(network.state_dict())
        return
    for name, sources in islice(zip(traced.architecture.names, traced.modules, strict=True), 1, None):
        for target, source in zip(_with_weights(copy, name), sources, strict=True):
            module, state = copy.get_submodule(target), _state(network.get_submodule(source))
            module.load_state_dict({key: state[key] for key in module.state_dict()})


def _state(module: nn.Module) -> dict[str, Tensor]:
    """State dict for a module of our networks that computes the same.

    A weight that hooks compute from other tensors, as weight norm and pruning do, is the one of the last forward pass.
    """
    state = dict(module.state_dict())
    computed = {key: getattr(module, key, None) for key in ("weight", "bias") if key not in state}
    state |= {key: value.detach() for key, value in computed.items() if value is not None}
    if "running_var" in state:
        state.setdefault("weight", torch.ones_like(state["running_var"]))
        state.setdefault("bias", torch.zeros_like(state["running_var"]))
        state["running_var"] = state["running_var"] + (module.eps - nn.BatchNorm2d(1).eps)  # type: ignore[operator]
    return state


def _with_weights(network: nn.Module, name: str) -> Iterator[str]:
    """Names of the modules of a node that have weights, in the order of its layers; none of the input."""
    for inner, module in getattr(network, name, nn.Identity()).named_modules(prefix=name):
        if any(True for _ in module.parameters(recurse=False)):
            yield inner


@contextmanager
def _evaluated(network: nn.Module) -> Iterator[None]:
    """A block in which all modules are in evaluation mode."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def _evenly_padded(network: nn.Module, steps: Sequence[_Step]) -> Iterator[None]:
    """A block in which the network's convolutions pad both sides by as much, as their steps do."""
    with ExitStack() as hooks:
        for step in steps:
            if step.padding is not None:
                module = network.get_submodule(step.modules[0])
                hook = module.register_forward_hook(partial(_convolved, step.modules[0], step.padding))
                hooks.callback(hook.remove)
        yield


def _convolved(
    name: str, padding: Sequence[tuple[int, int]], module: nn.Module, inputs: tuple[Tensor], given: Tensor
) -> Tensor:
    """What a convolution gives if it pads both sides of each axis by the larger number.

    Args:
        name: Name of the module.
        padding: By how much it pads the two sides of each axis.
        module: The convolution.
        inputs: Its maps.
        given: What it gives.

    Raises:
        SpaceError: If it does more than to pad so.
    """
    assert isinstance(module, nn.Conv1d | nn.Conv2d)
    plain = partial(F.conv1d if isinstance(module, nn.Conv1d) else F.conv2d, weight=module.weight, bias=module.bias)
    further = {"stride": tuple(module.stride), "dilation": tuple(module.dilation), "groups": module.groups}
    sides = [side for pair in reversed(padding) for side in pair]  # `F.pad` begins with the last axis
    _check_same(plain(F.pad(inputs[0], sides), **further), given, f"module {name!r} does more than to pad and convolve")
    return plain(inputs[0], padding=tuple(map(max, padding)), **further)


class _Root(nn.Module):
    """Calls a network with one input, so that further arguments of its `forward` have their defaults."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Any:
        return self.network(image)


def _graph_module(network: nn.Module, output: int | str | None) -> fx.GraphModule:
    """The calls on which the output depends."""
    root = _Root(network)
    try:
        graph = _Tracer().trace(root)
    except Exception as error:  # a network's code can fail in any way on tensors without values
        raise SpaceError(
            f"{type(network).__name__} cannot be traced, since its graph depends on values or on what torch.fx does "
            f"not support: {_first_line(error)}."
        ) from None
    last = next(iter(reversed(graph.nodes)))
    returned: Any = last.args[0]
    if output is not None:
        try:
            returned = returned[output]
        except (TypeError, KeyError, IndexError):
            returned = None
    if not isinstance(returned, fx.Node):
        raise SpaceError(f"{type(network).__name__} must return one tensor, or a list or dict that has {output=}.")
    last.args = (returned,)
    module = fx.GraphModule(root, graph)
    module.graph.eliminate_dead_code()
    module.recompile()
    return module


class _Tracer(fx.Tracer):
    """Does not look into layers with weights and a forward pass of their own, which may depend on values."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether a module is one step."""
        return has_own_pass(m) or super().is_leaf_module(m, module_qualified_name)


class _Recorder(fx.Interpreter):
    """Runs a graph and records plain values, and the shape of each tensor, without the batch; () for anything else.

    Attributes:
        shapes: Of all nodes with other results than plain values.
        values: The plain values.
        unchanged: Nodes that return a tensor that they were given, as it was.
    """

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.shapes: dict[fx.Node, Shape] = {}
        self.values: dict[fx.Node, Any] = {}
        self.unchanged: set[fx.Node] = set()

    def record(self, example: Tensor) -> None:
        """Run with a batch.

        Not by `run`, whose progress bar makes a semaphore even where it is off, which a killed process leaves behind.
        """
        self.args_iter = iter((example.clone(),))  # since a network may overwrite its input
        try:
            for node in self.graph.nodes:
                self.env[node] = self.run_node(node)
        except Exception as error:
            raise SpaceError(f"The traced network fails: {_first_line(error)}.") from None

    def run_node(self, n: fx.Node) -> Any:
        """Result of a node."""
        given = [each for source in n.all_input_nodes if isinstance(each := self.env[source], Tensor)]
        versions = [each._version for each in given]
        value = super().run_node(n)
        if any(value is each and each._version == before for each, before in zip(given, versions, strict=True)):
            self.unchanged.add(n)
        if isinstance(value, int | float | str | torch.Size | torch.dtype | torch.device | None):
            self.values[n] = value
        else:
            self.shapes[n] = tuple(value.shape[1:]) if isinstance(value, Tensor) else ()
        return value


@dataclass(frozen=True)
class _Step:
    """A node to be, with the shape of its output, the modules whose weights it has, and `Counterpart.padding`."""

    operation: str
    inputs: tuple[int, ...]
    shape: Shape
    name: str
    modules: tuple[str, ...] = ()
    stride: int = 1
    merge: str = "none"
    padding: tuple[tuple[int, int], ...] | None = None


def _steps(recorder: _Recorder, network: nn.Module) -> list[_Step]:
    """A step for each call that computes a tensor; the last one gives the output."""
    steps: list[_Step] = []
    places: dict[fx.Node, int] = {}
    for node in recorder.graph.nodes:
        if node.op == "placeholder":
            steps.append(_Step("input", (), recorder.shapes[node], "image"))
            places[node] = 0
        elif node.op != "output" and node in recorder.shapes and not is_weight(node):
            found = read_call(node, network, recorder.shapes, recorder.values, node in recorder.unchanged)
            inputs = tuple(places[source] for source in node.all_input_nodes if source in places)
            if found.merge == "product":  # the map first, then its gate
                inputs = tuple(sorted(inputs, key=lambda place: -prod(steps[place].shape)))
            places[node] = inputs[0] if found.operation == PASSED else len(steps)
            if found.operation != PASSED:
                modules = () if found.module is None else (found.module,)
                name = found.module or module_name(node) or node.name
                shape, further = recorder.shapes[node], (found.stride, found.merge, found.padding)
                steps.append(_Step(found.operation, inputs, shape, name, modules, *further))
    _check_shared([name for step in steps for name in step.modules])
    return steps


def _check_shared(names: Sequence[str]) -> None:
    if twice := {name for name in names if names.count(name) > 1}:
        raise SpaceError(f"module {min(twice)!r} runs twice, but a copy of the graph does not share weights.")


def _joined(steps: Sequence[_Step]) -> list[_Step]:
    """The steps, those that only follow another one joined with it."""
    readers = Counter(source for step in steps for source in step.inputs)
    made: list[_Step] = []
    places: list[int] = []
    for step in steps:
        inputs = tuple(places[source] for source in step.inputs)
        name = None
        if len(inputs) == 1 and readers[step.inputs[0]] == 1:
            name = _joint_name(made[inputs[0]].operation, step.operation)
        if name is None:
            places.append(len(made))
            made.append(replace(step, inputs=inputs))
        else:
            places.append(inputs[0])
            before = made[inputs[0]]
            made[inputs[0]] = replace(
                before, operation=name, shape=step.shape, modules=(*before.modules, *step.modules)
            )
    return made


def _joint_name(first: str, second: str) -> str | None:
    """Name of the operation that runs two, if there is one."""
    if first == "identity" and (second == "bn" or second in ACTIVATIONS):
        return second
    if first == "global_pool" and second == "vector":
        return "global_pool_vector"
    kind, *parts = first.split("_")
    is_open = kind.startswith(("conv", "depthwise", "linear")) and not ACTIVATIONS.keys() & {*parts}
    follows = second in ACTIVATIONS or (second == "bn" and "bn" not in parts)
    return f"{first}_{second}" if is_open and follows else None


def _as_nodes(steps: Sequence[_Step]) -> Traced:
    """The steps as nodes of an architecture, with a stage for each resolution in the order of their appearance.

    What computes a gate belongs to the stage of the map that it multiplies.
    """
    sizes: list[Shape] = []
    names: list[str] = []
    nodes: list[Node] = []
    of_gates = _resolutions_of_gates(steps)
    for number, step in enumerate(steps):
        size = of_gates.get(number, _resolution(step))
        if size not in sizes:
            sizes.append(size)
        names.append(_free_name(step.name, names))
        stage = sizes.index(size)
        nodes.append(Node(step.operation, step.inputs, step.shape[0], step.stride, step.merge, stage, names[-1]))
    if len(steps[-1].shape) != 1:
        raise SpaceError(f"The network must return a vector for each sample, but returns {steps[-1].shape}.")
    architecture = Architecture(steps[0].shape, steps[-1].shape[0], tuple(nodes))
    return Traced(architecture, tuple(step.modules for step in steps))


def _resolution(step: _Step) -> Shape:
    """Sizes of a step's map; a single position is no resolution, like a vector."""
    return tuple(axis for axis in step.shape[1:] if axis > 1)


def _resolutions_of_gates(steps: Sequence[_Step]) -> dict[int, Shape]:
    """For each step that computes the gate of a product, the sizes of the map that it multiplies."""
    found: dict[int, Shape] = {}
    for step in steps:
        before = [step.inputs[1]] if step.merge == "product" else []
        while before:
            number = before.pop()
            if number and not _resolution(steps[number]):
                found[number] = _resolution(step)
                before += steps[number].inputs
    return found


def _free_name(wanted: str, taken: Sequence[str]) -> str:
    """A name for a node that is like the wanted one."""
    name = normalize("NFKC", wanted).replace(".", "_")
    if not name.isidentifier() or name.startswith("_"):
        name = f"layer{name}"
    while name in taken or name in RESERVED or iskeyword(name) or name == "architecture" or hasattr(_NAMES, name):
        name += "_"
    return name


_NAMES = nn.Module()  # whose attributes, and `Network.architecture`, cannot be names of nodes


def _check_same(found: Tensor, wanted: Tensor, why: str) -> None:
    """Raise if the copy computes something else.

    Args:
        found: Its outputs.
        wanted: Those of the network.
        why: What may be the reason.
    """
    worst = float((found - wanted.to(found)).abs().max())
    if not worst <= TOLERANCE * max(1.0, float(wanted.abs().max())):
        raise SpaceError(f"The traced copy computes something else (its outputs differ by {worst:.2g}): {why}.")


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
