"""What a call in a traced network is: the operation, in the one format, that computes the same."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from search_spaces.architecture.layers import Shape
from search_spaces.architecture.patterns import ACTIVATION_LAYERS, convolution_name, window_name
from search_spaces.errors import SpaceError

__all__ = ["PASSED", "SUPPORTED", "Counterpart", "has_own_pass", "is_weight", "module_name", "read_call"]

PASSED = "passed"
"""Operation of a call that returns its input."""


@dataclass(frozen=True)
class Counterpart:
    """The operation that does what a call does.

    Attributes:
        operation: Name of the operation, or `PASSED`.
        stride: See `Node`.
        merge: See `Node`.
        module: Name of the module whose weights the operation has, in the network, which is "" for the network itself;
            None if it has none.
        padding: By how much the module pads the two sides of each axis, if not by as much; the operation pads both by
            the larger number.
    """

    operation: str
    stride: int = 1
    merge: str = "none"
    module: str | None = None
    padding: tuple[tuple[int, int], ...] | None = None


@dataclass(frozen=True)
class _Call:
    """A call, with the shapes of its tensors without the batch.

    Attributes:
        name: How messages name it.
        entering: Shape of each tensor that it reads.
        leaving: Shape of its result.
        given: Its arguments by name, or the attributes of the module that is called.
    """

    name: str
    entering: tuple[Shape, ...]
    leaving: Shape
    given: Mapping[str, Any]

    @property
    def sizes(self) -> Shape:
        return self.entering[0][1:]

    @property
    def has_bias(self) -> bool:
        """Whether a layer has a bias, which is no parameter if hooks compute it, as pruning does."""
        return self.given["_parameters"].get("bias", self.given.get("bias")) is not None

    def refused(self, why: str) -> SpaceError:
        return SpaceError(f"{self.name} {why}.")

    def one(self, key: str, usual: int | None = None) -> int:
        """An argument that is one number, or the same number for each axis."""
        values = self.each(key, usual)
        if len(set(values)) > 1:
            raise self.refused(f"has {key} = {values}, but a copy needs one number for both axes")
        return values[0]

    def each(self, key: str, usual: int | None = None) -> tuple[int, ...]:
        """An argument for each axis; signals have one."""
        value = self.given.get(key)
        value = usual if value is None or value == () else value
        values = list(value) if isinstance(value, Sequence) else [value]
        numbers = tuple(each for each in values if isinstance(each, int))
        if len(numbers) < len(values):
            raise self.refused(f"has {key} = {value!r}")
        return numbers * len(self.sizes) if len(numbers) == 1 else numbers


_Read = Callable[[_Call], Counterpart]


def read_call(
    node: fx.Node,
    network: nn.Module,
    shapes: Mapping[fx.Node, Shape],
    values: Mapping[fx.Node, Any],
    is_unchanged: bool,
) -> Counterpart:
    """What a node of a traced graph, whose result is no plain value, does.

    Args:
        node: The node.
        network: The network whose modules the graph calls.
        shapes: Shapes of the tensors, without the batch.
        values: All other values.
        is_unchanged: Whether it returns a tensor that it was given, as it was, so that it need not be known.

    Raises:
        SpaceError: If no operation does the same.
    """
    entering = tuple(shapes[source] for source in node.all_input_nodes if source in shapes and not is_weight(source))
    module = module_name(node)
    if module is not None:
        layer = network.get_submodule(module)
        call = _Call(f"module {module!r} ({type(layer).__name__})", entering, shapes[node], vars(layer))
        read = _own_reader(layer) if has_own_pass(layer) else _MODULES.get(type(layer))
    elif node.target is F.batch_norm:
        return _norm_of(node, network, shapes[node])
    else:
        name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
        read, names = _METHODS.get(str(_FUNCTIONS.get(node.target, node.target)).removesuffix("_"), (None, ()))
        call = _Call(f"`{name}` in {_where(node)}", entering, shapes[node], _arguments(node, names, values))
    if read is None and is_unchanged:
        return Counterpart(PASSED)
    if read is None or not entering or any(map(is_weight, node.all_input_nodes)):
        raise call.refused(f"has no counterpart in a student: there are {SUPPORTED}")
    found = read(call)
    has_weights = module is not None and any(True for _ in layer.parameters())
    return replace(found, module=module) if has_weights or found.operation == "bn" else found


def is_weight(node: fx.Node) -> bool:
    """Whether a node is a parameter or buffer, which a function reads."""
    return node.op == "get_attr"


def has_own_pass(module: nn.Module) -> bool:
    """Whether a module is a convolution or linear layer with a forward pass of its own, such as to pad like TensorFlow.

    One whose weights are computed from others, as weight norm does, is none.
    """
    is_other = isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear) and type(module) not in _MODULES
    return is_other and "weight" in dict(module.named_parameters(recurse=False))


def module_name(node: fx.Node) -> str | None:
    """Name of the module that a node calls, in the network; None if it calls a function."""
    return str(node.target).partition(".")[2] if node.op == "call_module" else None


def _where(node: fx.Node) -> str:
    """The module in whose code a function is called."""
    stack = node.meta.get("nn_module_stack") or {}
    inner = str(list(stack)[-1]).partition(".")[2] if stack else ""
    return f"module {inner!r}" if inner else "the network's own code"


def _arguments(node: fx.Node, names: Sequence[str], values: Mapping[fx.Node, Any]) -> dict[str, Any]:
    """Arguments of a function or method by name, except for the first one."""

    def known(value: Any) -> Any:
        return values.get(value, value) if isinstance(value, fx.Node) else value

    given, named = fx.node.map_aggregate((node.args[1:], node.kwargs), known)
    return dict(zip(names, given, strict=False)) | dict(named)


def _own_reader(layer: nn.Module) -> _Read:
    return _linear if isinstance(layer, nn.Linear) else _own_convolution


def _convolution(call: _Call) -> Counterpart:
    return _padded_convolution(call, _padding(call))


def _own_convolution(call: _Call) -> Counterpart:
    """A convolution that may pad by itself, so that strides divide the sizes of maps, rounding up."""
    dilation, stride = call.one("dilation"), call.one("stride")
    divided = tuple(-(-size // stride) for size in call.sizes)
    if any(_padding(call)) or call.leaving[1:] != divided:
        return _convolution(call)
    reached = [dilation * (kernel - 1) + 1 for kernel in call.each("kernel_size")]
    sizes = zip(call.sizes, divided, reached, strict=True)
    missing = [max(0, (after - 1) * stride + reach - before) for before, after, reach in sizes]
    padding = tuple((lines // 2, -(-lines // 2)) for lines in missing)
    found = _padded_convolution(call, tuple(larger for _, larger in padding))
    return replace(found, padding=padding) if any(lines % 2 for lines in missing) else found


def _padded_convolution(call: _Call, padding: tuple[int, ...]) -> Counterpart:
    """A convolution with so much padding on either side of each axis."""
    given, (inputs, *_), outputs = call.given, call.entering[0], call.leaving[0]
    if given["padding_mode"] != "zeros":
        raise call.refused(f"has padding_mode = {given['padding_mode']!r}, but a copy pads with zeros")
    groups = given["groups"]
    if groups != 1 and not groups == inputs == outputs:
        raise call.refused(
            f"has {groups} groups and {inputs} input channels: only convolutions without groups and depthwise ones of "
            "as many outputs have widths that can be chosen"
        )
    name = convolution_name(
        "conv" if groups == 1 else "depthwise",
        _both(call.each("kernel_size")),
        _both(padding),
        call.one("dilation"),
        call.has_bias,
    )
    return Counterpart(name, call.one("stride"))


def _padding(call: _Call) -> tuple[int, ...]:
    """What a convolution says of its padding, for each axis."""
    kernel, dilation = call.each("kernel_size"), call.one("dilation")
    if call.given["padding"] == "valid":
        return tuple(0 for _ in kernel)
    if call.given["padding"] != "same":
        return call.each("padding")
    if any(dilation * (size - 1) % 2 for size in kernel):
        raise call.refused("pads one side more than the other")
    return tuple(dilation * (size - 1) // 2 for size in kernel)


def _both(sizes: tuple[int, ...]) -> tuple[int, int]:
    """Two sizes; signals have one, by which their kernels are named."""
    return sizes[0], sizes[-1]


def _norm(call: _Call) -> Counterpart:
    if call.given["_buffers"].get("running_mean") is None:
        raise call.refused("has no running statistics")
    return Counterpart("bn")


def _norm_of(node: fx.Node, network: nn.Module, shape: Shape) -> Counterpart:
    """A batch norm by its function, which modules call that do more than to normalise.

    Args:
        node: The call.
        network: The network.
        shape: Shape of what is normalised.
    """
    owners = {str(source.target).partition(".")[2].rpartition(".")[0] for source in node.all_input_nodes[1:]}
    owner = owners.pop() if len(owners) == 1 else ""
    module = network.get_submodule(owner)
    call = _Call(f"`batch_norm` in {_where(node)}", (shape,), shape, vars(module))
    if not isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
        raise call.refused("has weights or statistics of no BatchNorm1d or BatchNorm2d")
    return replace(_norm(call), module=owner)


def _linear(call: _Call) -> Counterpart:
    if call.sizes:
        raise call.refused(f"reads maps of {call.entering[0]}, but only vectors have a linear layer")
    return Counterpart("linear_bias" if call.has_bias else "linear")


def _max(call: _Call) -> Counterpart:
    if call.one("dilation", 1) != 1:
        raise call.refused("is dilated")
    size, padding = call.one("kernel_size"), call.one("padding", 0)
    stride = call.one("stride", size)
    _check_floor(call, size, stride, padding)
    return Counterpart(window_name("maxpool", size, padding), stride)


def _average(call: _Call) -> Counterpart:
    if call.given.get("divisor_override"):
        raise call.refused("has a divisor of its own")
    padding = call.each("padding", 0)
    if call.each("kernel_size") == call.sizes and not any(padding):
        return Counterpart("global_pool")
    size, stride = call.one("kernel_size"), call.one("stride", call.one("kernel_size"))
    _check_floor(call, size, stride, call.one("padding", 0))
    if size == stride and not any(padding) and not any(axis % size for axis in call.sizes):
        return Counterpart("pool", stride)
    is_counted = bool(call.given.get("count_include_pad", True))
    return Counterpart(window_name("average", size, call.one("padding", 0), is_counted), stride)


def _check_floor(call: _Call, size: int, stride: int, padding: int) -> None:
    """Raise if a pool rounds its sizes up: `ceil_mode` matters only where windows do not fit exactly."""
    if call.leaving[1:] != tuple((axis + 2 * padding - size) // stride + 1 for axis in call.sizes):
        raise call.refused("rounds its size up (ceil_mode)")


def _adaptive_average(call: _Call) -> Counterpart:
    before, after = call.sizes, call.leaving[1:]
    if before == after:
        return Counterpart(PASSED)
    if set(after) == {1}:
        return Counterpart("global_pool")
    strides = [stride for stride in range(2, max(before) + 1) if after == tuple(-(-axis // stride) for axis in before)]
    if not strides:
        raise call.refused(f"pools {before} to {after}, which no stride does")
    return Counterpart("pool", strides[0])


def _adaptive_max(call: _Call) -> Counterpart:
    before, after = call.sizes, call.leaving[1:]
    sizes = {axis // wanted if axis % wanted == 0 else 0 for axis, wanted in zip(before, after, strict=True)}
    if len(sizes) > 1 or 0 in sizes:
        raise call.refused(f"pools {before} to {after}, which no square window does")
    size = sizes.pop()
    return Counterpart(PASSED) if size == 1 else Counterpart(window_name("maxpool", size, 0), size)


def _reshaped(call: _Call) -> Counterpart:
    if call.leaving == call.entering[0]:
        return Counterpart(PASSED)
    if call.leaving != (prod(call.entering[0]),):
        raise call.refused(f"reshapes {call.entering[0]} to {call.leaving}, but only vectors are possible")
    return Counterpart("vector")


def _mean(call: _Call) -> Counterpart:
    n_axes = len(call.sizes)
    given = call.given.get("dim")
    axes = {axis % (n_axes + 2) for axis in ([given] if isinstance(given, int) else given or [])}
    if not n_axes or axes != set(range(2, n_axes + 2)):
        raise call.refused(f"averages over the axes {given}, but only the mean over all positions is possible")
    return Counterpart("global_pool" if call.given.get("keepdim") else "global_pool_vector")


def _sum(call: _Call) -> Counterpart:
    if len(call.entering) < 2 or len(set(call.entering)) > 1 or call.given.get("alpha", 1) != 1:
        raise call.refused("must add two different tensors of one shape")
    return Counterpart("identity", merge="sum")


def _product(call: _Call) -> Counterpart:
    ordered = sorted(call.entering, key=prod)
    if len(ordered) != 2 or ordered[0] != (ordered[1][0], *(1 for _ in ordered[1][1:])):
        raise call.refused("must multiply a map by one number for each of its channels")
    return Counterpart("identity", merge="product")


def _concatenation(call: _Call) -> Counterpart:
    axis = call.given.get("dim", call.given.get("axis", 0))
    if axis not in (1, 1 - len(call.leaving) - 1):
        raise call.refused(f"joins along axis {axis}, but only channels can be joined")
    if sum(shape[0] for shape in call.entering) < call.leaving[0]:
        raise call.refused("joins a tensor with itself")
    return Counterpart(PASSED) if len(call.entering) == 1 else Counterpart("identity", merge="concat")


def _dropout(call: _Call) -> Counterpart:
    percent = round(100 * call.given.get("p", 0.5))
    if percent >= 100:
        raise call.refused("drops everything")
    return Counterpart(f"dropout{percent}" if percent else PASSED)


def _gelu(call: _Call) -> Counterpart:
    if call.given.get("approximate", "none") != "none":
        raise call.refused("is an approximation")
    return Counterpart("gelu")


def _leaky(call: _Call) -> Counterpart:
    name = f"leaky{100 * call.given.get('negative_slope', 0.01):.6g}"
    if name not in ACTIVATION_LAYERS:
        raise call.refused(f"has a slope of {call.given['negative_slope']}, but there are 0.01, 0.1 and 0.2")
    return Counterpart(name)


def _always(operation: str) -> _Read:
    return lambda call: Counterpart(operation)


_SIMPLE = ("hardsigmoid", "hardswish", "relu", "relu6", "sigmoid", "silu")
"""Activations without arguments, which functions and methods call by their own names, too."""

_MODULES: dict[type[nn.Module], _Read] = {
    nn.AdaptiveAvgPool1d: _adaptive_average,
    nn.AdaptiveAvgPool2d: _adaptive_average,
    nn.AdaptiveMaxPool1d: _adaptive_max,
    nn.AdaptiveMaxPool2d: _adaptive_max,
    nn.AvgPool1d: _average,
    nn.AvgPool2d: _average,
    nn.BatchNorm1d: _norm,
    nn.BatchNorm2d: _norm,
    nn.Conv1d: _convolution,
    nn.Conv2d: _convolution,
    nn.Dropout: _dropout,
    nn.Dropout1d: _dropout,
    nn.Dropout2d: _dropout,
    nn.Flatten: _reshaped,
    nn.GELU: _gelu,
    nn.Identity: _always(PASSED),
    nn.LeakyReLU: _leaky,
    nn.Linear: _linear,
    nn.MaxPool1d: _max,
    nn.MaxPool2d: _max,
    **{getattr(nn, ACTIVATION_LAYERS[name].kind): _always(name) for name in _SIMPLE},
}

_POOL = ("kernel_size", "stride", "padding")
_METHODS: dict[str, tuple[_Read, tuple[str, ...]]] = {
    "adaptive_average": (_adaptive_average, ()),
    "adaptive_max": (_adaptive_max, ()),
    "add": (_sum, ()),
    "average": (_average, (*_POOL, "ceil_mode", "count_include_pad", "divisor_override")),
    "cat": (_concatenation, ("dim",)),
    "clone": (_always(PASSED), ()),
    "contiguous": (_always(PASSED), ()),
    "dropout": (_dropout, ("p",)),
    "flatten": (_reshaped, ()),
    "gelu": (_gelu, ()),
    "leaky": (_leaky, ("negative_slope",)),
    "max": (_max, (*_POOL, "dilation", "ceil_mode")),
    "mean": (_mean, ("dim", "keepdim")),
    "mul": (_product, ()),
    "reshape": (_reshaped, ()),
    "squeeze": (_reshaped, ()),
    "view": (_reshaped, ()),
    **{name: (_always(name), ()) for name in _SIMPLE},
}
"""Readers of methods, also in place, and of the functions that `_FUNCTIONS` calls so, with the names of their further
arguments."""

_FUNCTIONS: dict[Any, str] = {
    F.adaptive_avg_pool1d: "adaptive_average",
    F.adaptive_avg_pool2d: "adaptive_average",
    F.adaptive_max_pool1d: "adaptive_max",
    F.adaptive_max_pool2d: "adaptive_max",
    F.avg_pool1d: "average",
    F.avg_pool2d: "average",
    F.dropout: "dropout",
    F.dropout1d: "dropout",
    F.dropout2d: "dropout",
    F.gelu: "gelu",
    F.leaky_relu: "leaky",
    F.max_pool1d: "max",
    F.max_pool2d: "max",
    operator.add: "add",
    operator.iadd: "add",
    operator.imul: "mul",
    operator.mul: "mul",
    torch.add: "add",
    torch.cat: "cat",
    torch.concat: "cat",
    torch.flatten: "flatten",
    torch.mean: "mean",
    torch.mul: "mul",
    torch.relu: "relu",
    torch.relu_: "relu",
    torch.reshape: "reshape",
    torch.sigmoid: "sigmoid",
    torch.squeeze: "squeeze",
    **{getattr(F, name): name for name in _SIMPLE},
}

SUPPORTED = (
    "Conv1d, Conv2d, BatchNorm, ReLU, ReLU6, LeakyReLU, GELU, SiLU, Hardswish, Sigmoid, Hardsigmoid, max, average and "
    "adaptive pools, sums, concatenations, products with one number a channel, flattening, means over all positions, "
    "Linear and dropout"
)
