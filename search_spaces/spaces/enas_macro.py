"""The macro search space of ENAS: whole networks (Pham et al. 2018, https://arxiv.org/abs/1802.03268)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from optuna.distributions import CategoricalDistribution, IntDistribution

from search_spaces.architecture.layers import Shape
from search_spaces.design.blueprint import CLASSES, Blueprint, Sketch
from search_spaces.design.space import Dimension, Parameters, Space
from search_spaces.design.stems import is_small
from search_spaces.design.wiring import Bridges, stem

__all__ = ["EnasMacro"]

STAGES = 3

FEWEST, MOST = STAGES, 12
"""Smallest and largest number of layers; the paper searches 12."""

OPERATIONS = {
    "max": "maxpool3x3",
    "avg": "average3x3",
    "sep3": "relu_sepconv3x3_bn",
    "sep5": "relu_sepconv5x5_bn",
    "conv3": "relu_conv3x3_bn",
    "conv5": "relu_conv5x5_bn",
}


def _dimensions() -> dict[str, Dimension]:
    """The number of layers, and for each layer its operation and a bit for each skip connection."""
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
    """A chain of layers, each with an operation and any set of skip connections from earlier layers.

    Layer i reads layer i - 1, where layer 0 is the stem. If `layer{i}_skip_{j}` is 1, it also reads the output of layer
    j. As published, a layer is a 1x1 convolution and the operation; from the second layer on, the outputs of the skip
    connections and the result are then concatenated and projected to the layer's width by a 1x1 convolution. Every
    convolution is preceded by a ReLU and followed by batch norm. The resolution halves and the width doubles after
    `layers // 3` and after `2 * (layers // 3)` layers; the head is a global pool and a linear layer. The paper searches
    12 layers at width 36.

    Departures [ours]:

    * Networks may have fewer layers.
    * An output that a later stage reads is pooled and projected to that stage's width directly, once for all readers of
      the stage, by an average pooling and one 1x1 convolution. The published network does this for all outputs at each
      reduction, whether they are read or not, by two 1x1 convolutions that each read every fourth position.
    * Separable convolutions are separable; in the published code for final networks they are not.
    * Pools, which that code lacks, follow a 1x1 convolution, as in the network with which ENAS searches.
    * There is no dropout.
    * Inputs of up to 39 px enter through a 3x3 convolution, as published; larger ones through two of stride 2.

    Args:
        width: See `Space`; width of the first stage.
        max_width: See `Space`.
        **ranges: See `Space`; for example `layers=12`.
    """

    name = "enas-macro"
    random = False
    dimensions: ClassVar[Mapping[str, Dimension]] = _dimensions()

    def blueprint(
        self, parameters: Parameters, input_shape: Shape, classes: int, rng: np.random.Generator
    ) -> Blueprint:
        """The network of the parameters; nothing is drawn."""
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
        """Layers with the sources of their skip connections, such as `conv3 sep3 max(0) avg(0,2)`."""
        full = self.complete(parameters)
        layers = []
        for layer in range(1, int(full["layers"]) + 1):
            skips = ",".join(map(str, _skips(full, layer)))
            layers.append(f"{full[f'layer{layer}_operation']}{f'({skips})' if skips else ''}")
        return " ".join(layers)


def _layer(bridges: Bridges, outputs: Sequence[int], parameters: Parameters, stage: int) -> int:
    """Index of the output of a new layer; `outputs` are those of the stem and of the layers before."""
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
    """Layers from which a layer has skip connections."""
    return [source for source in range(layer - 1) if parameters[f"layer{layer}_skip_{source}"]]
