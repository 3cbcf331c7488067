from sklearn.datasets import load_digits

from autokd.data.digits import digits


def test_every_digit_is_in_one_split():
    dataset = digits(validation=300)
    assert {name: len(split) for name, split in dataset.splits.items()} == {
        "train": 1137,
        "validation": 300,
        "test": 360,
    }
    total = sum(split.labels.bincount(minlength=10) for split in dataset.splits.values())
    assert total.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]  # scikit-learn's own description
    assert dataset.input_shape == (1, 8, 8)


def test_pixels_are_scikit_learns_sixteenths_of_white():
    dataset = digits()
    images = {tuple(image.flatten().tolist()) for split in dataset.splits.values() for image in split.images}
    original = {tuple(round(value * 255 / 16) for value in image) for image in load_digits().data}
    assert images == original
