import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import beta, binomtest, chisquare, kstest
from torch import Tensor

from autokd.data.augmentation import Augmentation, counter_hash
from autokd.data.dataset import Dataset, Split
from autokd.data.mixup import mix, partners_of
from autokd.data.stream import TrainingStream
from autokd.errors import InputError

CPU = torch.device("cpu")
MIXUP, CUTMIX, BOTH = Augmentation(mixup=0.4), Augmentation(cutmix=1.0), Augmentation(mixup=0.4, cutmix=1.0)
MOVED: dict[str, Any] = {"shift": 1, "flip": True}


def mixed(augmentation: Augmentation, n: int, height: int = 1, width: int = 1) -> tuple[Tensor, Tensor]:
    """Images of ones mixed with images of zeros, whose values are the own share, and the weights."""
    own = torch.ones(n, 1, height, width)
    return mix(own, torch.zeros_like(own), torch.arange(n), augmentation, 5, 1)


@pytest.mark.parametrize("alpha", [0.3, 1.0, 3.0])
def test_weights_of_mixup_follow_the_folded_beta_distribution(alpha: float) -> None:
    _, weight = mixed(Augmentation(mixup=alpha), 20_000)
    assert (weight >= 0.5).all()
    folded = kstest(weight.numpy(), lambda w: beta.cdf(w, alpha, alpha) - beta.cdf(1 - w, alpha, alpha))
    assert folded.pvalue > 0.001


def test_partners_are_uniform_and_independent_of_the_sample() -> None:
    partners = partners_of(torch.arange(20_000), 10, 5, 1)
    assert chisquare(partners.bincount(minlength=10).numpy()).pvalue > 0.001
    pairs = partners * 10 + torch.arange(20_000) % 10
    assert chisquare(pairs.bincount(minlength=100).numpy()).pvalue > 0.001


def boxed(index: int, height: int, width: int) -> list[list[int]]:
    """Own share of each pixel of a sample with CutMix and `Beta(1, 1)`, computed pixel by pixel."""
    row, column, level = (draw(index, purpose, below) for purpose, below in ((7, height), (8, width), (6, 2**16)))
    own = 0.5 + (level + 0.5) / 2**17  # uniform in [1/2, 1]
    tall, wide = (int(math.sqrt(1 - own) * length) for length in (height, width))
    return [
        [int(not (0 <= y - row + tall // 2 < tall and 0 <= x - column + wide // 2 < wide)) for x in range(width)]
        for y in range(height)
    ]


def draw(index: int, purpose: int, below: int) -> int:
    return int(counter_hash(torch.tensor([index]), 5, 1, purpose)) % below


def test_boxes_of_cutmix_equal_a_loop_over_pixels_and_their_area_is_the_labels() -> None:
    share, weight = mixed(CUTMIX, 200, 9, 12)
    expected = torch.tensor([boxed(index, 9, 12) for index in range(200)]).float()
    assert torch.equal(share[:, 0], expected)
    torch.testing.assert_close(weight, expected.mean((1, 2)))
    assert (weight >= 0.5).all()


def test_mixup_and_cutmix_together_each_get_half_of_the_samples() -> None:
    is_cut = torch.tensor([draw(index, 9, 2) for index in range(1000)]).bool()
    assert binomtest(int(is_cut.sum()), 1000).pvalue > 0.001
    for found, by_cutmix, by_mixup in zip(*(mixed(how, 1000, 8, 8) for how in (BOTH, CUTMIX, MIXUP)), strict=True):
        assert torch.equal(found[is_cut], by_cutmix[is_cut])
        assert torch.equal(found[~is_cut], by_mixup[~is_cut])


@pytest.mark.parametrize("augmentation", [MIXUP, CUTMIX, BOTH], ids=["mixup", "cutmix", "both"])
def test_images_and_labels_are_mixed_with_the_same_weights(
    make_dataset: Callable[..., Dataset], augmentation: Augmentation
) -> None:
    """With one constant grey for each sample, the own share of the pixels is the labels' weight."""
    dataset = make_dataset(channels=3)
    greys = torch.arange(60, dtype=torch.uint8)[:, None, None, None].expand_as(dataset.train.images).contiguous()
    dataset = replace(dataset, train=Split(greys, torch.arange(60)), class_names=tuple(map(str, range(60))))
    batch = TrainingStream(dataset, augmentation, 60, 2, 7, CPU).batch(torch.arange(60), 1)
    mean, deviation = (np.array(values).reshape(1, 3, 1, 1) for values in dataset.normalisation)
    found = (batch.images.double().numpy() * deviation + mean) * 255
    assert batch.mixture is not None
    own, other, weight = (x.double().numpy() for x in (batch.labels, batch.mixture.labels, batch.mixture.weight))
    np.testing.assert_allclose(found.mean((1, 2, 3)), weight * own + (1 - weight) * other, atol=1e-3)
    assert batch.mixture.labels.tolist() == [counter(index) for index in range(60)]


def counter(index: int) -> int:
    return int(counter_hash(torch.tensor([index]), 7, 1, 5)) % 60


@pytest.mark.parametrize("augmentation", [MIXUP, CUTMIX, BOTH], ids=["mixup", "cutmix", "both"])
def test_a_mixed_view_of_a_sample_does_not_depend_on_its_batch(dataset: Dataset, augmentation: Augmentation) -> None:
    stream = TrainingStream(dataset, replace(augmentation, **MOVED), 16, 2, 7, CPU)
    together, indices = stream.batch(torch.arange(60), 1), torch.tensor([7, 0, 59, 7])
    found = stream.batch(indices, 1)
    assert torch.equal(found.images, together.images[indices])
    assert found.mixture is not None
    assert together.mixture is not None
    assert torch.equal(found.mixture.weight, together.mixture.weight[indices])
    assert not torch.equal(stream.batch(torch.arange(60), 0).images, together.images)


def test_samples_and_partners_are_augmented_before_they_are_mixed(dataset: Dataset) -> None:
    plain, cut = (TrainingStream(dataset, Augmentation(**MOVED, cutmix=a), 16, 2, 7, CPU) for a in (0.0, 1.0))
    indices = torch.arange(60)
    own, found = plain.batch(indices, 1), cut.batch(indices, 1)
    other = plain.batch(partners_of(indices, 60, 7, 1), 1)
    assert torch.equal(torch.where(found.images == own.images, own.images, other.images), found.images)


def test_samples_that_are_not_images_are_not_mixed(make_dataset: Callable[..., Dataset]) -> None:
    with pytest.raises(InputError, match=r"training\.augmentation is for images"):
        TrainingStream(make_dataset(shape=(6, 2)), MIXUP, 16, 2, 0, CPU)
