import re
from math import gcd
from typing import get_args

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from search_spaces.architecture.cost import Cost, cost
from search_spaces.architecture.format import Architecture
from search_spaces.architecture.layers import Shape
from search_spaces.design.budget import Budget
from search_spaces.design.space import Value
from search_spaces.design.stems import Stem
from search_spaces.errors import BudgetError, SpaceError
from search_spaces.networks.network import build
from search_spaces.spaces.blocks import EARLY, LATE, RESNET, Blocks

ALL = sorted({*EARLY, *LATE})
SETTINGS = {"expansion": 3, "kernel": 5, "squeeze": 1}


def family(*blocks: str, depths: tuple[int, ...] = (1, 1, 1, 1), **mbconv: int) -> dict[str, Value]:
    """Parameters of four stages of these blocks at the default widths."""
    found: dict[str, Value] = {}
    for stage, (block, depth) in enumerate(zip(blocks, depths, strict=True), 1):
        found |= {f"stage{stage}_block": block, f"stage{stage}_depth": depth, f"stage{stage}_ratio": 1.0}
        if block == "mbconv":
            found |= {f"stage{stage}_{name}": value for name, value in (SETTINGS | mbconv).items()}
    return found


def everywhere(block: str) -> tuple[str, str, str, str]:
    """The block in all stages, or in the last two after two of ConvNeXt if only those may have it."""
    return (block,) * 4 if block in EARLY else ("convnext", "convnext", block, block)


def sample(space: Blocks, parameters: dict[str, Value], shape: Shape, classes: int = 10) -> Architecture:
    return space.sample(parameters, Budget(), shape, classes, np.random.default_rng(0))


def sizes(architecture: Architecture) -> list[Shape]:
    """Resolution of the last node of each stage."""
    found = {node.stage: shape[1:] for node, shape in zip(architecture.nodes, architecture.shapes(), strict=True)}
    blocks = {
        node.stage: shape[1:]
        for node, shape in zip(architecture.nodes, architecture.shapes(), strict=True)
        if "_block" in node.name and not node.name.endswith("_gate")
    }
    assert set(blocks) == set(found)
    return [blocks[stage] for stage in sorted(blocks)]


# A second implementation of every block, from the papers and in torch only. Its modules have the names of our nodes.


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, relu: bool = True) -> nn.Sequential:
    weights = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(weights, nn.BatchNorm2d(outputs), *[nn.ReLU()] * relu)


def mlp(width: int) -> list[nn.Module]:
    return [nn.Conv2d(width, 4 * width, 1), nn.GELU(), nn.Conv2d(4 * width, width, 1)]


class Residual(nn.Module):
    """He et al. 2016, figure 5, either side."""

    def __init__(self, inputs: int, outputs: int, stride: int, bottleneck: bool) -> None:
        super().__init__()
        if bottleneck:
            self.conv1 = conv(inputs, outputs // 4, 1)
            self.conv2 = conv(outputs // 4, outputs // 4, 3, stride)
            self.conv3 = conv(outputs // 4, outputs, 1, relu=False)
        else:
            self.conv1 = conv(inputs, outputs, 3, stride)
            self.conv2 = conv(outputs, outputs, 3, relu=False)
        if stride > 1 or inputs != outputs:
            self.shortcut = conv(inputs, outputs, 1, stride, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(self.conv1(x))
        y = self.conv3(y) if hasattr(self, "conv3") else y
        return torch.relu(y + (self.shortcut(x) if hasattr(self, "shortcut") else x))


class InvertedResidual(nn.Module):
    """Sandler et al. 2018, figure 4d, with the squeeze-excitation of Hu et al. 2018 on the expanded channels."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        inner, kernel = SETTINGS["expansion"] * inputs, SETTINGS["kernel"]
        self.expand = conv(inputs, inner, 1)
        self.depthwise = conv(inner, inner, kernel, stride, groups=inner)
        self.project = conv(inner, outputs, 1, relu=False)
        squeeze = [nn.Conv2d(inner, inner // 4, 1), nn.ReLU(), nn.Conv2d(inner // 4, inner, 1), nn.Sigmoid()]
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), *squeeze)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = self.depthwise(self.expand(x))
        y = self.project(y * self.gate(y))
        return x + y if self.residual else y


class ShuffleUnit(nn.Module):
    """Ma et al. 2018, figure 3, c and d."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        half = outputs // 2
        self.split = stride == 1 and inputs == outputs
        if not self.split:
            self.left_depthwise = conv(inputs, inputs, 3, stride, groups=inputs, relu=False)
            self.left_conv = conv(inputs, half, 1)
        self.right_conv1 = conv(half if self.split else inputs, half, 1)
        self.right_depthwise = conv(half, half, 3, stride, groups=half, relu=False)
        self.right_conv2 = conv(half, half, 1)

    def forward(self, x: Tensor) -> Tensor:
        left, right = x.chunk(2, 1) if self.split else (x, x)
        left = left if self.split else self.left_conv(self.left_depthwise(left))
        right = self.right_conv2(self.right_depthwise(self.right_conv1(right)))
        return F.channel_shuffle(torch.cat([left, right], 1), 2)


class Mixer(nn.Module):
    """Liu et al. 2022, figure 4, and Yu et al. 2022, figure 1, with batch norm and without scales of the residuals."""

    def __init__(self, inputs: int, outputs: int, stride: int, block: str) -> None:
        super().__init__()
        self.block = block
        if stride > 1 or inputs != outputs:
            pool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
            self.entry = nn.Sequential(pool, nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
        norm = nn.BatchNorm2d(outputs)
        if block == "convnext":
            depthwise = nn.Conv2d(outputs, outputs, 7, padding=3, groups=outputs, bias=False)
            self.mix = nn.Sequential(depthwise, norm, *mlp(outputs))
            return
        self.mlp = nn.Sequential(nn.BatchNorm2d(outputs), *mlp(outputs))
        if block == "pooling":
            self.mix = nn.Sequential(norm, nn.AvgPool2d(3, 1, 1, count_include_pad=False))
        else:
            ends = nn.Conv2d(outputs, 3 * outputs, 1), nn.Identity(), nn.Conv2d(outputs, outputs, 1)
            self.mix = nn.Sequential(norm, *ends)

    def forward(self, x: Tensor) -> Tensor:
        x = self.entry(x) if hasattr(self, "entry") else x
        x = x + (self.attended(x) if self.block == "attention" else self.mix(x))
        return x if self.block == "convnext" else x + self.mlp(x)

    def attended(self, x: Tensor) -> Tensor:
        """PyTorch's own attention with the same weights."""
        norm, stacked, _, last = self.mix
        width = x.shape[1]
        attention = nn.MultiheadAttention(width, 4, batch_first=True, dtype=x.dtype)
        mine, own = (sum(p.numel() for p in part.parameters()) for part in (self.mix, attention))
        assert mine == own + 2 * width
        with torch.no_grad():
            attention.in_proj_weight.copy_(stacked.weight[:, :, 0, 0])
            attention.in_proj_bias.copy_(stacked.bias)  # type: ignore[arg-type]
            attention.out_proj.weight.copy_(last.weight[:, :, 0, 0])
            attention.out_proj.bias.copy_(last.bias)  # type: ignore[arg-type]
        tokens = norm(x).flatten(2).transpose(1, 2)
        return attention(tokens, tokens, tokens)[0].transpose(1, 2).unflatten(2, x.shape[2:])


def reference_block(block: str, inputs: int, outputs: int, stride: int) -> nn.Module:
    if block in ("basic", "bottleneck"):
        return Residual(inputs, outputs, stride, block == "bottleneck")
    if block == "mbconv":
        return InvertedResidual(inputs, outputs, stride)
    return ShuffleUnit(inputs, outputs, stride) if block == "shuffle" else Mixer(inputs, outputs, stride, block)


class Reference(nn.Module):
    """Network for images of 32 px, with strides 1, 2, 2 and 2."""

    def __init__(self, blocks: tuple[str, ...], depth: int, width: int) -> None:
        super().__init__()
        self.stem = conv(3, width, 3)
        last = width
        for stage, block in enumerate(blocks):
            for number in range(depth):
                stride = 2 if stage and not number else 1
                name = f"stage{stage + 1}_block{number + 1}"
                self.add_module(name, reference_block(block, last, width * 2**stage, stride))
                last = width * 2**stage
        self.head = conv(last, last, 1)
        self.classifier = nn.Linear(last, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for name, block in self.named_children():
            x = block(x) if name.startswith("stage") else x
        return self.classifier(self.head(x).mean((2, 3)))


@pytest.mark.parametrize("block", ALL)
def test_a_network_of_each_block_computes_the_same_as_a_second_implementation(block: str) -> None:
    blocks = everywhere(block)
    architecture = sample(Blocks(width=8, head_ratio=1), family(*blocks, depths=(2,) * 4), (3, 32, 32))
    network = build(architecture, seed=1, dtype=torch.float64).eval()
    generator = torch.Generator().manual_seed(0)
    for buffer in network.state_dict().values():  # statistics and biases as after training, not 0 and 1
        if buffer.dim() == 1:
            buffer.uniform_(0.5, 1.5, generator=generator)
    theirs = {
        re.sub(r"^(stage._block.)_", r"\1.", name).replace("classifier.4", "classifier"): value
        for name, value in network.state_dict().items()
    }
    reference = Reference(blocks, 2, 8).double().eval()
    reference.load_state_dict(theirs)
    images = torch.randn(3, 3, 32, 32, dtype=torch.float64, generator=generator)
    with torch.no_grad():
        torch.testing.assert_close(network(images), reference(images), rtol=1e-9, atol=1e-9)
    assert cost(architecture).params == sum(parameter.numel() for parameter in reference.parameters())


def test_resnet_18_is_in_the_space_except_for_the_kernel_of_its_stem() -> None:
    space = Blocks(width=64, head_ratio=0)
    found = cost(sample(space, family(*["basic"] * 4, depths=(2, 2, 2, 2)), (3, 224, 224), 1000))
    assert found.params == 11_689_512 - 3 * 64 * (7**2 - 3**2)
    assert found.macs == 1_814_073_344 - 3 * 64 * (7**2 - 3**2) * 112**2


def test_resnet_50_is_in_the_space_except_for_its_stem_and_first_block() -> None:
    """Its stem of 64 channels is widened by the first block's shortcut; ours is as wide as the stage."""
    space = Blocks(width=256, head_ratio=0, stage3_depth=6)
    found = cost(sample(space, family(*["bottleneck"] * 4, depths=(3, 4, 6, 3)), (3, 224, 224), 1000)).params
    stem = 3 * 256 * 3**2 - 3 * 64 * 7**2 + 2 * (256 - 64)
    first_block = (256 - 64) * 64 - (64 * 256 + 2 * 256)
    assert found == 25_557_032 + stem + first_block


def test_resnet_20_for_small_images_is_in_the_space_without_the_fourth_stage() -> None:
    """He et al. 2016, section 4.2, with projection shortcuts: 272,474 parameters."""
    space = Blocks(width=16, head_ratio=0, stage4_depth=0)
    found = cost(sample(space, family(*["basic"] * 4, depths=(3, 3, 3, 0)), (3, 32, 32)))
    assert (found.params, found.macs) == (272_474, 40_813_184)


@pytest.mark.parametrize("shape", [(3, 64, 64), (3, 97, 130), (2, 50)])
def test_a_strided_stem_gives_the_map_that_the_pooled_one_does_by_one_convolution(shape: Shape) -> None:
    pooled, strided = (sample(Blocks(width=8).with_stem(stem), RESNET, shape) for stem in ("pooled", "strided"))
    assert (pooled.names[1:3], strided.names[1]) == (("stem", "stem_pool"), "stem")
    assert pooled.shapes()[2:] == strided.shapes()[1:]
    assert strided.shapes()[1][1:] == tuple(-(-size // 4) for size in shape[1:])


STEMS = get_args(Stem)


def test_small_inputs_have_one_stem() -> None:
    budget, rng = Budget(params=50_000), np.random.default_rng(0)
    drawn = [Blocks().with_stem(stem).sample(RESNET, budget, (3, 39, 39), 10, rng) for stem in STEMS]
    assert all(each == drawn[0] for each in drawn)


@pytest.mark.parametrize("block", ["basic", "bottleneck", "mbconv", "shuffle", "convnext"])
def test_a_narrow_stem_is_half_as_wide_as_the_first_stage_and_else_as_a_strided_one(block: str) -> None:
    drawn = [
        sample(Blocks(width=16).with_stem(stem), family(block, *["basic"] * 3), (3, 64, 64))
        for stem in ("narrow", "strided")
    ]
    narrow, strided = (dict(zip(each.names, each.shapes(), strict=True)) for each in drawn)
    assert (narrow["stem"], strided["stem"]) == ((8, 16, 16), (16, 16, 16))
    ends = [name for name in strided if name.startswith("stage") and name.endswith(("_sum", "_project"))]
    assert [narrow.get(name, strided[name]) for name in ends] == [strided[name] for name in ends]


def test_where_the_first_stage_is_left_out_its_stem_is_not_narrow() -> None:
    parameters = family(*["basic"] * 4, depths=(0, 1, 1, 1))
    drawn = [sample(Blocks(width=16, stage1_depth=0).with_stem(stem), parameters, (3, 64, 64)) for stem in STEMS[1:3]]
    assert drawn[0] == drawn[1]


@pytest.mark.parametrize(
    ("budget", "chosen"),
    [
        (Budget(params=300_000, activation_bytes=90_000), "strided"),
        (Budget(params=300_000, activation_bytes=61_440), "narrow"),  # the image has 49,152 of these
        (Budget(params=300_000, activation_bytes=90_000, macs=6_000_000), "pooled"),
        (Budget(params=300_000), "pooled"),
        (Budget(macs=6_000_000), "pooled"),
    ],
    ids=lambda each: "-".join(each.limits) if isinstance(each, Budget) else each,
)
def test_a_stem_is_strided_where_that_lets_the_network_do_more(budget: Budget, chosen: str) -> None:
    rng = np.random.default_rng(0)
    drawn = {stem: Blocks().with_stem(stem).sample(RESNET, budget, (3, 64, 64), 20, rng) for stem in STEMS}
    assert drawn["auto"] == drawn[chosen]
    macs = {stem: cost(architecture).macs / cost(drawn["pooled"]).macs for stem, architecture in drawn.items()}
    assert (max(macs.values()) > 1.25) is (chosen != "pooled")
    assert macs[chosen] == max(macs.values()) or chosen == "pooled"
    if chosen == "strided":
        assert drawn["strided"].nodes[1].channels > 3 * drawn["pooled"].nodes[1].channels


def test_a_budget_that_only_one_stem_keeps_is_kept() -> None:
    smallest = cost(Blocks(width=1).sample(RESNET, Budget(), (3, 64, 64), 10, np.random.default_rng(0)))
    budget, rng = Budget(params=smallest.params), np.random.default_rng(0)
    with pytest.raises(BudgetError):
        Blocks().with_stem("strided").sample(RESNET, budget, (3, 64, 64), 10, rng)
    assert cost(Blocks().with_stem("auto").sample(RESNET, budget, (3, 64, 64), 10, rng)) == smallest


def test_a_stage_of_depth_0_is_left_out_with_its_halving_and_its_ratio() -> None:
    space = Blocks(width=8, stage1_depth=0, stage3_depth=[0, 2])
    parameters = family(*["basic"] * 4, depths=(0, 1, 0, 1))
    architecture = sample(space, parameters, (1, 28, 28))
    shapes = dict(zip(architecture.names, architecture.shapes(), strict=True))
    assert shapes["stem"] == (8, 28, 28)
    assert (shapes["stage2_block1_sum"], shapes["stage4_block1_sum"]) == ((16, 14, 14), (64, 7, 7))
    assert not [name for name in shapes if name.startswith(("stage1_", "stage3_"))]
    assert sample(space, parameters | {"stage3_ratio": 0.3}, (1, 28, 28)) == architecture
    assert space.describe(parameters) == "stem at 1, 1 basic at 1, none, 1 basic at 1"
    with pytest.raises(SpaceError, match="stage1_depth"):
        Blocks().complete(parameters)


def test_the_shuffle_units_of_a_published_stage_are_in_the_space() -> None:
    """ShuffleNetV2 1x, stage 3: 116 to 232 channels, 8 units; weights by the formula of figure 3, c and d."""
    architecture = sample(
        Blocks(width=58, stage3_depth=8), family(*["shuffle"] * 4, depths=(1, 1, 8, 1)), (3, 224, 224)
    )
    network = build(architecture)
    weights = sum(p.numel() for name, p in network.named_parameters() if name.startswith("stage3") and p.dim() == 4)
    first = (116 * 9 + 116 * 116) + (116 * 116 + 116 * 9 + 116 * 116)
    assert weights == first + 7 * (116 * 116 + 116 * 9 + 116 * 116)


def test_an_expansion_of_one_has_no_expanding_convolution() -> None:
    architecture = sample(Blocks(width=8), family(*["mbconv"] * 4, expansion=1, squeeze=0), (3, 32, 32))
    roles = {name.split("_")[-1] for name in architecture.names if "_block" in name}
    assert roles == {"depthwise", "project", "sum"}
    weights = sum(p.numel() for name, p in build(architecture).named_parameters() if name.startswith("stage2_block1"))
    assert weights == 8 * 25 + 2 * 8 + 8 * 16 + 2 * 16


@pytest.mark.parametrize(
    ("shape", "resolutions"),
    [
        ((1, 8, 8), [(8, 8), (4, 4), (2, 2), (2, 2)]),
        ((1, 28, 28), [(28, 28), (14, 14), (7, 7), (4, 4)]),
        ((3, 32, 32), [(32, 32), (16, 16), (8, 8), (4, 4)]),
        ((3, 64, 64), [(16, 16), (8, 8), (4, 4), (4, 4)]),
        ((3, 224, 224), [(56, 56), (28, 28), (14, 14), (7, 7)]),
        ((1, 100), [(25,), (13,), (7,), (4,)]),
        ((1, 1, 1), [(1, 1)] * 4),
        ((20,), [()] * 4),
    ],
)
@pytest.mark.parametrize("block", ALL)
def test_stages_halve_the_resolution_down_to_small_maps(block: str, shape: Shape, resolutions: list[Shape]) -> None:
    assert sizes(sample(Blocks(width=4), family(*everywhere(block)), shape)) == resolutions


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 64, 64), (1, 100), (20,)])
@pytest.mark.parametrize("block", ALL)
def test_a_network_of_each_block_costs_what_torch_counts_and_trains(block: str, shape: Shape) -> None:
    architecture = sample(Blocks(width=6), family(*everywhere(block), depths=(1, 2, 1, 2)), shape)
    network = build(architecture)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network.eval()(torch.zeros(1, *shape))
    assert cost(architecture).flops == counter.get_total_flops()
    assert cost(architecture).params == sum(parameter.numel() for parameter in network.parameters())
    optimizer = torch.optim.SGD(network.train().parameters(), lr=0.05)
    samples = torch.randn(8, *shape, generator=torch.Generator().manual_seed(0))
    losses = []
    for _ in range(4):
        loss = F.cross_entropy(network(samples), torch.arange(8))
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]


def test_expansion_kernel_and_squeeze_are_active_for_mbconv_only() -> None:
    space = Blocks()
    for seed in range(50):
        parameters = space.random_parameters(np.random.default_rng(seed))
        for stage in range(1, 5):
            active = {name for name in SETTINGS if f"stage{stage}_{name}" in parameters}
            assert active == (set(SETTINGS) if parameters[f"stage{stage}_block"] == "mbconv" else set())
    with pytest.raises(SpaceError, match="`stage2_kernel` is not active for stage2_block='basic'"):
        space.complete(family(*["basic"] * 4) | {"stage2_kernel": 3})


def test_tokens_are_mixed_in_the_last_two_stages_only() -> None:
    choices = [Blocks().distributions()[f"stage{stage}_block"].distribution for stage in range(1, 5)]
    mixing = [{"pooling", "attention"} & set(getattr(choice, "choices", ())) for choice in choices]
    assert mixing == [set(), set(), {"pooling", "attention"}, {"pooling", "attention"}]


def test_ratios_multiply_the_default_widths() -> None:
    parameters = family(*["basic"] * 4) | {f"stage{s}_ratio": r for s, r in enumerate((0.5, 1.5, 0.25, 1.25), 1)}
    architecture = sample(Blocks(width=16, head_ratio=0.5), parameters, (3, 32, 32))
    widths = {name: node.channels for name, node in zip(architecture.names, architecture.nodes, strict=True)}
    assert [widths[f"stage{stage}_block1_sum"] for stage in range(1, 5)] == [8, 48, 16, 160]
    assert (widths["stem"], widths["head"]) == (8, 80)


@pytest.mark.parametrize(("block", "multiple"), [("shuffle", 2), ("bottleneck", 4), ("attention", 4)])
@pytest.mark.parametrize("width", [1.0, 5.3, 9.9])
def test_widths_are_multiples_of_what_divides_them(block: str, multiple: int, width: float) -> None:
    architecture = sample(Blocks(width=width, head_ratio=1), family("basic", "basic", block, block), (1, 8, 8))
    head = next(node for node in architecture.nodes if node.name == "head")
    last = architecture.nodes[head.inputs[0]].channels
    assert last % multiple == 0
    assert gcd(last, 4) == 4 or block == "shuffle"


def test_wider_stages_never_cost_less() -> None:
    space = Blocks()
    for seed in range(100):
        rng = np.random.default_rng(seed)
        parameters = space.random_parameters(rng)
        blueprint = space.blueprint(space.complete(parameters), (1, 28, 28), 10, rng)
        widths = tuple(int(width) for width in rng.integers(1, 20, len(blueprint.ratios)))
        before = blueprint.cost(widths)
        for place in range(len(widths)):
            wider = blueprint.cost((*widths[:place], widths[place] + 1, *widths[place + 1 :]))
            assert all(getattr(wider, name) >= getattr(before, name) for name in Cost.__dataclass_fields__)


def test_proposals_too_large_for_a_fixed_width_become_smaller_ones_of_their_ratios() -> None:
    space, budget = Blocks(width=8), Budget(params=30_000)
    changed = 0
    for seed in range(6):
        rng = np.random.default_rng(seed)
        parameters = space.random_parameters(rng)
        fitted = space.fit(parameters, budget, (1, 8, 8), 10, rng)
        assert cost(space.sample(fitted, budget, (1, 8, 8), 10, rng)).params <= 30_000
        assert all(fitted[f"stage{stage}_ratio"] == parameters[f"stage{stage}_ratio"] for stage in range(1, 5))
        changed += fitted != parameters
    assert 0 < changed < 6


def test_kernels_give_the_same_network_on_vectors() -> None:
    space = Blocks(width=4)
    networks = {sample(space, family(*["mbconv"] * 4, kernel=kernel), (20,)) for kernel in (3, 5, 7)}
    assert len(networks) == 1
    assert len({sample(space, family(*["mbconv"] * 4, kernel=kernel), (1, 20)) for kernel in (3, 5, 7)}) == 3


def test_a_description_names_every_stage() -> None:
    parameters = family("basic", "mbconv", "shuffle", "attention", depths=(2, 3, 1, 4)) | {"stage2_ratio": 0.5}
    expected = "2 basic at 1, 3 mbconv(3,5,se) at 0.5, 1 shuffle at 1, 4 attention at 1"
    assert Blocks().describe(parameters) == expected
    assert "2 mbconv(6,3) at 1," in Blocks().describe(
        family("mbconv", "basic", "basic", "basic", depths=(2, 1, 1, 1), expansion=6, kernel=3, squeeze=0)
    )


@pytest.mark.parametrize("block", ALL)
def test_networks_that_end_with_a_residual_block_have_no_head_by_default(block: str) -> None:
    by_default, without = (
        sample(Blocks(width=8, **options), family(*everywhere(block)), (1, 28, 28))
        for options in ({}, {"head_ratio": 0})
    )
    assert (by_default == without) == (block in ("basic", "bottleneck"))


def test_the_head_is_an_option() -> None:
    parameters = family(*["basic"] * 4)
    with_head, without = (sample(Blocks(width=8, head_ratio=ratio), parameters, (1, 28, 28)) for ratio in (2, 0))
    assert {node.operation for node in with_head.nodes} - {node.operation for node in without.nodes} == {"classifier"}
    assert cost(with_head).params - cost(without).params == 64 * 128 + 2 * 128 + 10 * (128 - 64)
    with pytest.raises(SpaceError, match="0 <= head_ratio <= 1000000"):
        Blocks(head_ratio=-1)


def test_invalid_ranges_are_rejected() -> None:
    for options in ({"stage1_block": "attention"}, {"stage1_kernel": 4}, {"stage1_ratio": 0}, {"stage1_depth": -1}):
        with pytest.raises(SpaceError):
            Blocks(**options)
    assert Blocks(stage3_depth=6).fixed == {"stage3_depth": 6}
