from collections import Counter

import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor

from autokd.config.schema import TrainingConfig
from autokd.data.augmentation import Augmentation, augment, check_augmentation, check_extent, counter_hash
from autokd.errors import InputError

WORD = 2**64
EVERYTHING = Augmentation(shift=2, flip=True, cutout=3)


@pytest.fixture
def images() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(1, 256, (20, 6, 5, 2), generator=generator, dtype=torch.uint8)


def splitmix64(index: int, seed: int, view: int, purpose: int) -> int:
    """The hash in Python's unbounded integers."""
    key = index + seed * 0x9E3779B97F4A7C15 + view * 0xD1342543DE82EF95 + purpose * 0x2545F4914F6CDD1D
    z = (key + 1) * 0x9E3779B97F4A7C15 % WORD
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % WORD
    z = (z ^ z >> 27) * 0x94D049BB133111EB % WORD
    return (z ^ z >> 31) % 2**63


def augmented_slowly(
    image: Tensor, index: int, augmentation: Augmentation, seed: int, view: int
) -> list[list[list[int]]]:
    """One view of one image, computed pixel by pixel."""
    height, width, channels = image.shape
    choices = 2 * augmentation.shift + 1
    down = splitmix64(index, seed, view, 0) % choices - augmentation.shift
    right = splitmix64(index, seed, view, 1) % choices - augmentation.shift
    mirrored = augmentation.flip and splitmix64(index, seed, view, 2) % 2 == 1
    top = splitmix64(index, seed, view, 3) % height - augmentation.cutout // 2
    left = splitmix64(index, seed, view, 4) % width - augmentation.cutout // 2
    result = [[[0] * channels for _ in range(width)] for _ in range(height)]
    for row in range(height):
        for column in range(width):
            source_row, source_column = row + down, (width - 1 - column if mirrored else column) + right
            cut = 0 <= row - top < augmentation.cutout and 0 <= column - left < augmentation.cutout
            if not cut and 0 <= source_row < height and 0 <= source_column < width:
                result[row][column] = image[source_row, source_column].tolist()
    return result


@pytest.mark.parametrize("seed", [0, 1, 2**63 - 1])
def test_counter_hash_is_splitmix64(seed: int) -> None:
    indices = torch.arange(1000)
    for view, purpose in ((0, 0), (3, 4), (1000, 1)):
        expected = [splitmix64(index, seed, view, purpose) for index in range(1000)]
        assert counter_hash(indices, seed, view, purpose).tolist() == expected


@pytest.mark.parametrize("below", [2, 9, 28])
def test_offsets_are_uniform(below: int) -> None:
    values = counter_hash(torch.arange(20_000), seed=5, view=1, purpose=0) % below
    assert chisquare(values.bincount(minlength=below).numpy()).pvalue > 0.001


def test_row_and_column_offsets_are_independent() -> None:
    indices = torch.arange(20_000)
    rows, columns = (counter_hash(indices, 5, 1, purpose) % 9 for purpose in (0, 1))
    assert chisquare((rows * 9 + columns).bincount(minlength=81).numpy()).pvalue > 0.001


def test_offsets_of_successive_views_are_independent() -> None:
    indices = torch.arange(20_000)
    first, second = (counter_hash(indices, 5, view, 0) % 9 for view in (0, 1))
    assert chisquare((first * 9 + second).bincount(minlength=81).numpy()).pvalue > 0.001


@pytest.mark.parametrize(
    "augmentation",
    [Augmentation(), Augmentation(shift=2), Augmentation(flip=True), Augmentation(cutout=4), EVERYTHING],
    ids=str,
)
def test_augment_equals_a_loop_over_pixels(images: Tensor, augmentation: Augmentation) -> None:
    for view in (0, 7):
        found = augment(images, torch.arange(20), augmentation, 11, view)
        expected = [augmented_slowly(image, index, augmentation, 11, view) for index, image in enumerate(images)]
        assert found.dtype == torch.uint8
        assert found.is_contiguous()
        assert found.tolist() == expected


def test_a_view_of_a_sample_does_not_depend_on_its_batch(images: Tensor) -> None:
    together = augment(images, torch.arange(20), EVERYTHING, 3, 1)
    shuffled = torch.tensor([7, 0, 19, 7])
    assert torch.equal(augment(images[shuffled], shuffled, EVERYTHING, 3, 1), together[shuffled])


@pytest.mark.parametrize(("seed", "view"), [(3, 2), (4, 1)])
def test_another_view_or_seed_gives_other_images(images: Tensor, seed: int, view: int) -> None:
    first, other = (augment(images, torch.arange(20), EVERYTHING, *draw) for draw in ((3, 1), (seed, view)))
    assert sum(not torch.equal(a, b) for a, b in zip(first, other, strict=True)) >= 15


def test_without_augmentation_the_images_are_unchanged(images: Tensor) -> None:
    assert torch.equal(augment(images, torch.arange(20), Augmentation(), 0, 0), images)


@pytest.mark.parametrize("augmentation", [Augmentation(), EVERYTHING], ids=str)
def test_views_are_contiguous_whatever_the_layout_of_the_samples(images: Tensor, augmentation: Augmentation) -> None:
    strided = images.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)
    found = augment(strided, torch.arange(20), augmentation, 11, 3)
    assert found.is_contiguous()
    assert torch.equal(found, augment(images, torch.arange(20), augmentation, 11, 3))


@pytest.mark.parametrize("shape", [(20, 6, 2), (20, 6)], ids=["signals", "vectors"])
def test_signals_and_vectors_are_unchanged(shape: tuple[int, ...]) -> None:
    samples, indices = torch.randn(shape, generator=torch.Generator().manual_seed(0)), torch.tensor([3, 0, 3])
    assert torch.equal(augment(samples[indices], indices, Augmentation(), 0, 1), samples[indices])


@pytest.mark.parametrize("augmentation", [EVERYTHING, Augmentation(flip=True)], ids=str)
def test_only_images_can_be_augmented(augmentation: Augmentation) -> None:
    check_augmentation(augmentation, (1, 8, 8))
    for shape, words in {(3, 20): "3 x 20 signals", (64,): "vectors of 64"}.items():
        check_augmentation(Augmentation(), shape)
        with pytest.raises(
            InputError, match=f"is for images, but the data are {words}, which allow none of it: omit the"
        ):
            check_augmentation(augmentation, shape)


def test_half_of_the_views_are_flipped() -> None:
    image = torch.arange(4, dtype=torch.uint8).reshape(1, 1, 4, 1)
    flip = Augmentation(flip=True)
    counts = Counter(tuple(augment(image, torch.tensor([0]), flip, 0, view).flatten().tolist()) for view in range(400))
    assert set(counts) == {(0, 1, 2, 3), (3, 2, 1, 0)}
    assert chisquare(list(counts.values())).pvalue > 0.001


def test_digests_do_not_contain_mixup_that_is_off() -> None:
    assert EVERYTHING.identity == {"shift": 2, "flip": True, "cutout": 3}
    assert TrainingConfig().decisive["augmentation"] == {"shift": 0, "flip": False, "cutout": 0}
    assert Augmentation(mixup=0.2).identity == {"shift": 0, "flip": False, "cutout": 0, "mixup": 0.2}


def test_what_leaves_nothing_of_an_image_is_refused() -> None:
    check_extent(Augmentation(shift=6, cutout=10), (1, 6, 6))
    check_extent(Augmentation(), (5,))
    with pytest.raises(InputError, match="shift must be at most 6"):
        check_extent(Augmentation(shift=7), (1, 6, 6))
    with pytest.raises(InputError, match="cutout must be less than 11"):
        check_extent(Augmentation(cutout=12), (1, 6, 6))
