import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from autokd.data.stream import normalise
from autokd.errors import InputError
from autokd.export.module import StudentModule

FORMS = [
    ((6, 6, 3), torch.uint8),
    ((6, 2), torch.uint8),
    ((6, 2), torch.float32),
    ((6,), torch.uint8),
    ((6,), torch.float32),
]


def images_module() -> StudentModule:
    network = nn.Sequential(nn.Flatten(), nn.Linear(108, 3)).eval()
    return StudentModule(network, ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6)), n_dims=3, is_float=False)


@pytest.mark.parametrize(("shape", "dtype"), FORMS)
def test_a_module_normalises_as_training_did_bit_for_bit(
    make_dataset, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    dataset = make_dataset(shape=shape, dtype=dtype)
    module = StudentModule(nn.Identity(), dataset.normalisation, len(shape), dtype == torch.float32)
    found = module(dataset.train.images.movedim(-1, 1))
    assert torch.equal(found, normalise(dataset.train.images, dataset.normalisation))


def test_normalised_images_are_refused_where_bytes_are_meant() -> None:
    with pytest.raises(InputError, match=r"takes uint8 samples as in the data set, but got torch.float32"):
        images_module()(torch.randn(2, 3, 6, 6))


def test_a_module_can_be_copied_saved_and_exported(tmp_path: Path) -> None:
    module, images = images_module(), torch.randint(256, (2, 3, 6, 6), dtype=torch.uint8)
    torch.save(module.state_dict(), tmp_path / "state.pth")
    torch.save(module, tmp_path / "module.pth")
    again = copy.deepcopy(module)
    again.load_state_dict(torch.load(tmp_path / "state.pth"))
    unpickled = torch.load(tmp_path / "module.pth", weights_only=False)
    exported = torch.export.export(module, (images,)).module()
    for other in (again, unpickled, exported):
        assert torch.equal(other(images), module(images))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_module_of_another_precision_computes_in_it(dtype: torch.dtype) -> None:
    logits = images_module().to(dtype)(torch.randint(256, (2, 3, 6, 6), dtype=torch.uint8))
    assert logits.dtype == dtype


def test_a_module_moves_with_its_normalisation() -> None:
    logits = images_module().to("meta")(torch.empty(2, 3, 6, 6, dtype=torch.uint8, device="meta"))
    assert logits.device.type == "meta"
