"""Networks that were written elsewhere, as a user would write them."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autokd.recipes.teachers import digits, fashion_mnist
from search_spaces.architecture.layers import Shape


class BasicBlock(nn.Module):
    """Block of a ResNet18, written as in torchvision."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride > 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        identity = x
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.downsample is not None:
            identity = self.downsample(x)
        out += identity
        return self.relu(out)


class ResNet18(nn.Module):
    """Stem of stride 4 and two blocks a stage, written as in torchvision."""

    def __init__(self, width: int = 8, classes: int = 5) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        widths = [width, width, 2 * width, 4 * width, 8 * width]
        for stage in range(1, 5):
            before, after = widths[stage - 1], widths[stage]
            blocks = BasicBlock(before, after, 1 if stage == 1 else 2), BasicBlock(after, after, 1)
            setattr(self, f"layer{stage}", nn.Sequential(*blocks))
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(8 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(torch.flatten(self.avgpool(x), 1))


class Vgg(nn.Module):
    """Convolutions with a bias, an adaptive pool to 2 x 2, and hidden linear layers."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in ((3, 6), (6, 12)):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2)]
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d((2, 2))
        self.classifier = nn.Sequential(nn.Linear(48, 20), nn.ReLU(True), nn.Dropout(), nn.Linear(20, 4))

    def forward(self, x: Tensor) -> Tensor:
        x = self.avgpool(self.features(x))
        return self.classifier(x.view(x.size(0), -1))


class Dense(nn.Module):
    """Concatenations with batch norm behind them, and a sum with one of them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.grow = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 3, 3, padding=1)
        self.norm, self.mix = nn.BatchNorm2d(7), nn.Conv2d(7, 7, 1)
        self.fc = nn.Linear(7, 3)

    def forward(self, x: Tensor, again: bool = False) -> Tensor:
        x = self.stem(x)
        both = torch.cat([x, F.relu(self.grow(x))], dim=1)
        mixed = F.avg_pool2d(self.mix(F.relu(self.norm(both))) + both, 2)
        return self.fc(mixed.mean([-2, -1]))


def mobile() -> nn.Module:
    """A depthwise convolution between two pointwise ones, with ReLU6."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8, eps=1e-3), nn.ReLU6(),
        nn.Conv2d(8, 8, 3, 1, 1, groups=8, bias=False), nn.BatchNorm2d(8), nn.ReLU6(),
        nn.Conv2d(8, 6, 1, bias=False), nn.BatchNorm2d(6), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4),
    )  # fmt: skip


class SqueezeExcitation(nn.Module):
    """A gate for each channel, written as in torchvision."""

    def __init__(self, channels: int, squeezed: int, gate: nn.Module) -> None:
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc1, self.fc2 = nn.Conv2d(channels, squeezed, 1), nn.Conv2d(squeezed, channels, 1)
        self.activation, self.scale_activation = nn.ReLU(), gate

    def forward(self, x: Tensor) -> Tensor:
        return self.scale_activation(self.fc2(self.activation(self.fc1(self.avgpool(x))))) * x


def gated() -> nn.Module:
    """An inverted bottleneck of MobileNetV3, one of EfficientNet, and an activation of Darknet."""
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, 2, 1, bias=False), nn.BatchNorm2d(6), nn.Hardswish(),
        nn.Conv2d(6, 12, 1, bias=False), nn.BatchNorm2d(12), nn.Hardswish(inplace=True),
        nn.Conv2d(12, 12, 5, 2, 2, groups=12, bias=False), nn.BatchNorm2d(12), nn.Hardswish(),
        SqueezeExcitation(12, 4, nn.Hardsigmoid()), nn.Conv2d(12, 8, 1, bias=False), nn.BatchNorm2d(8),
        nn.Conv2d(8, 8, 3, 1, 1, groups=8), nn.SiLU(), SqueezeExcitation(8, 2, nn.Sigmoid()),
        nn.Conv2d(8, 7, 1), nn.LeakyReLU(0.1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(7, 4),
    )  # fmt: skip


def mlp() -> nn.Module:
    """Of vectors."""
    return nn.Sequential(nn.Linear(9, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.25), nn.Linear(16, 4))


def signals() -> nn.Module:
    """Convolutions of one axis."""
    return nn.Sequential(
        nn.Conv1d(2, 6, 5, padding=2), nn.BatchNorm1d(6), nn.ReLU(), nn.MaxPool1d(3, 2, 1),
        nn.Conv1d(6, 8, 4, dilation=2), nn.GELU(), nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Linear(8, 3),
    )  # fmt: skip


ELSEWHERE: dict[str, tuple[Callable[[], nn.Module], Shape]] = {
    "fashion-mnist": (fashion_mnist, (1, 28, 28)),
    "digits": (digits, (1, 8, 8)),
    "resnet18": (ResNet18, (3, 40, 36)),
    "vgg": (Vgg, (3, 16, 16)),
    "dense": (Dense, (1, 6, 6)),
    "mobile": (mobile, (3, 12, 12)),
    "gated": (gated, (3, 12, 12)),
    "mlp": (mlp, (9,)),
    "signals": (signals, (2, 20)),
}


@pytest.fixture
def elsewhere() -> Callable[[str], tuple[nn.Module, Shape]]:
    """Makes a network of a name in evaluation, with statistics and biases as after a training, and its input shape."""

    def make(name: str) -> tuple[nn.Module, Shape]:
        kind, shape = ELSEWHERE[name]
        return _trained(kind()), shape

    return make


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run tests that want the name of a network once for each."""
    if "network_name" in metafunc.fixturenames:
        metafunc.parametrize("network_name", ELSEWHERE)


def _trained(network: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        for name, tensor in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
            if name in ("bias", "running_mean"):
                tensor.data.copy_(torch.randn(tensor.shape, generator=generator) / 4)
            elif name == "running_var":
                tensor.data.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
    return network.eval()
