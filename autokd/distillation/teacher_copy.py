"""A copy of the teacher that learns beside the student, whole or in part."""

from collections.abc import Collection, Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from autokd.core.spelling import nearest_name
from autokd.distillation.layers import has_weights
from autokd.errors import InputError

__all__ = ["TeacherCopy", "modules_after", "redraw"]


class TeacherCopy(nn.Module):
    """A copy of the teacher of which some modules learn.

    The others keep their weights and stay in evaluation mode.

    Args:
        network: The copy; it is changed in place.
        learning: Names of the modules whose own parameters learn, without those of modules inside them. A parameter
            that another module shares does not learn.
        drifts: Whether batch norms that do not learn are in training mode with the rest, so that they normalise by the
            batch and their statistics drift.
    """

    def __init__(self, network: nn.Module, learning: Collection[str], drifts: bool = False) -> None:
        super().__init__()
        self.network = network
        modules = dict(network.named_modules())
        self._in_training = {name for name in modules if name in learning or (drifts and _is_norm(modules[name]))}
        for is_learning in (True, False):  # in this order, so that a shared parameter does not learn
            for name in modules:
                if (name in learning) == is_learning:
                    for parameter in modules[name].parameters(recurse=False):
                        parameter.requires_grad_(is_learning)
        self.train()

    def forward(self, samples: Tensor) -> Tensor:
        """Logits, `batch x classes`."""
        logits: Tensor = self.network(samples)
        return logits

    def train(self, mode: bool = True) -> "TeacherCopy":
        """Set the mode of all modules but those that stay in evaluation mode."""
        super().train(mode)
        for name, module in self.network.named_modules():
            module.training = mode and name in self._in_training
        return self


def redraw(network: nn.Module, names: Iterable[str], setting: str) -> None:
    """Give modules new initial weights by their `reset_parameters`, with draws from torch's global generator.

    Args:
        network: The network; it is changed in place.
        names: Names of the modules; those inside them are not among them unless named.
        setting: What asks for it, for the message.

    Raises:
        InputError: If a module has weights, but not that function.
    """
    for name in names:
        module = network.get_submodule(name)
        reset = getattr(module, "reset_parameters", None)
        if reset is not None:
            reset()
        elif has_weights(module):
            raise InputError(
                f"`{setting}` draws weights anew, but the teacher's module {name!r} ({type(module).__name__}) has no "
                "`reset_parameters`, so it cannot be told how."
            )


@torch.no_grad()
def modules_after(network: nn.Module, layer: str, samples: Tensor) -> tuple[str, ...]:
    """Names of the modules that run only after a layer, in execution order.

    Modules that contain the layer, run before it as well, or do not run are not among them.

    Args:
        network: The network, in evaluation mode.
        layer: Name of the layer; if it runs several times, the last time counts.
        samples: Inputs of the network.

    Raises:
        InputError: If the network has no such module, or it does not run.
    """
    modules = dict(network.named_modules())
    if layer not in modules:
        raise InputError(f"the teacher has no module {layer!r}{nearest_name(layer, modules)}.")
    begun, before = dict[str, None](), set[str]()
    handles = [
        module.register_forward_pre_hook(lambda *call, name=name: begun.update({name: None}))
        for name, module in modules.items()
    ]
    handles.append(modules[layer].register_forward_hook(lambda *call: before.update(begun)))
    try:
        network(samples)
    finally:
        for handle in handles:
            handle.remove()
    if not before:
        raise InputError(f"the teacher's module {layer!r} does not run, so what runs after it cannot be told.")
    return tuple(name for name in begun if name not in before)


def _is_norm(module: nn.Module) -> bool:
    return isinstance(module, _BatchNorm)
