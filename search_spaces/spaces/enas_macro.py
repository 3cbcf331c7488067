"""Whole networks of ENAS, its macro space (Pham et al. 2018, https://arxiv.org/abs/1802.03268)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from optuna.distributions import CategoricalDistribution, IntDistribution

from search_spaces.architecture.layers import Shape
from search_spaces.design.blueprint import CLASSES, Blueprint, Sketch, is_small
from search_spaces.design.space import Dimension, Parameters, Space
from search_spaces.design.wiring import Bridges, stem

__all__ = ["EnasMacro"]

STAGES = 3

FEWEST, MOST = STAGES, 12
"""Layers; the paper searches 12."""

OPERATIONS = {
    "max": "maxpool3x3",
    "avg": "average3x3",
    "sep3": "relu_sepconv3x3_bn",
    "sep5": "relu_sepconv5x5_bn",
    "conv3": "relu_conv3x3_bn",
    "conv5": "relu_conv5x5_bn",
}


def _dimensions() -> dict[str, Dimension]:
    """The number of layers; for each layer its operation and a bit for each source but the layer before it."""
    result = {"layers": Dimension(IntDistribution(FEWEST, MOST), legal=(FEWEST, MOST))}
    for layer in range(1, MOST + 1):
        parent = "layers" if layer > FEWEST else None
        values = tuple(range(layer, MOST + 1)) if parent else ()
        operations = CategoricalDistribution(tuple(OPERATIONS))
        result[f"layer{layer}_operation"] = Dimension(operations, parent, values)
        for source in range(layer - 1):
            result[f"layer{layer}_skip_{source}"] = Dimension(IntDistribution(0, 1), parent, values)
    return result


class EnasMacro(Space):
    """A chain of layers, each with an operation and any set of skip connections from before.

    Layer i reads layer i - 1, where layer 0 is the stem. `layer{i}_skip_{j}` is 1 where the output of layer j enters as
    well. As in the published network: a layer is a 1x1 convolution, then the operation, then, from the second layer on,
    the concatenation of its result after what the skips bring and a 1x1 convolution to the layer's width; a convolution
    is ReLU, convolution, batch norm. The resolution halves and the width doubles after `layers // 3` layers and after
    twice as many; the head is a global pool and a linear layer. The paper searches 12 layers at width 36.

    What differs: fewer layers may be chosen. What a later stage reads is projected to its width and pooled directly
    from where it was made, once for all readers of a stage; the published network does so for all outputs at each
    reduction, read or not, by two 1x1 convolutions that each read every fourth position, where ours is one after an
    average. Separable convolutions are separable, which the published code for final networks forgets, and pools, which
    it lacks, have a 1x1 convolution before them as in the network that ENAS searches with. Dropout is left out. Inputs
    of up to 39 px enter through a 3x3 convolution, as published; larger ones through two of stride 2.

    Args:
        width: See `Space`; of the first stage.
        max_width: See `Space`.
        ranges: See `Space`; such as `layers=12`.
    """

    name = "enas-macro"
    random = False
    dimensions: ClassVar[Mapping[str, Dimension]] = _dimensions()

    def blueprint(
        self, parameters: Parameters, input_shape: Shape, classes: int, rng: np.random.Generator
    ) -> Blueprint:
        """The network; nothing is drawn."""
        sketch = Sketch(input_shape, classes, (1, 2, 4) if is_small(input_shape) else (1, 2, 4, 0.5), self.name)
        outputs = [stem(sketch, half=STAGES)]
        bridges = Bridges(sketch, {outputs[0]: "layer0"})
        n_layers = int(parameters["layers"])
        for layer in range(1, n_layers + 1):
            stage = min(STAGES - 1, (layer - 1) // (n_layers // STAGES))
            outputs.append(_layer(bridges, outputs, parameters, stage))
            bridges.names[outputs[-1]] = f"layer{layer}"
        sketch.add("pool_classifier", outputs[-1:], CLASSES, stage=STAGES - 1, name="classifier")
        return sketch.finish()

    def describe(self, parameters: Parameters) -> str:
        """The layers with the sources of their skips, such as `conv3 sep3 max(0) avg(0,2)`."""
        full = self.complete(parameters)
        layers = []
        for layer in range(1, int(full["layers"]) + 1):
            skips = ",".join(map(str, _skips(full, layer)))
            layers.append(f"{full[f'layer{layer}_operation']}{f'({skips})' if skips else ''}")
        return " ".join(layers)


def _layer(bridges: Bridges, outputs: Sequence[int], parameters: Parameters, stage: int) -> int:
    """The number of the node that holds the next layer's output; `outputs` are those before, the stem's first."""
    layer = len(outputs)
    sketch, name = bridges.sketch, f"stage{stage + 1}_layer{layer}"
    operation = OPERATIONS[str(parameters[f"layer{layer}_operation"])]
    before = bridges.to(stage, (outputs[-1],))
    squeezed = sketch.add("relu_conv1x1_bn", before, stage, stage=stage, name=f"{name}_input")
    result = sketch.add(operation, (squeezed,), stage, stage=stage, name=f"{name}_operation")
    if layer == 1:
        return result
    skipped = bridges.to(stage, tuple(outputs[source] for source in _skips(parameters, layer)))
    joined = (*skipped, result)
    return sketch.add("relu_conv1x1_bn", joined, stage, merge="concat", stage=stage, name=name)


def _skips(parameters: Parameters, layer: int) -> list[int]:
    """The layers whose outputs enter besides that of the layer before."""
    return [source for source in range(layer - 1) if parameters[f"layer{layer}_skip_{source}"]]
