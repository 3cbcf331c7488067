import pytest
import torch

from autokd.core.device import pick_device, pick_precision
from autokd.errors import InputError

CPU = torch.device("cpu")


def test_auto_is_the_gpu_where_there_is_one():
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_a_named_device_is_taken():
    assert pick_device("cpu") == CPU


@pytest.mark.parametrize("name", ["nonsense", "cuda:99"])
def test_an_unusable_device_is_an_input_error_of_one_line(name: str):
    with pytest.raises(InputError, match=f"workers.device '{name}' is not usable here: ") as caught:
        pick_device(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["float32", "bfloat16"])
def test_a_named_precision_is_taken(name: str):
    assert pick_precision(name, CPU) == name
