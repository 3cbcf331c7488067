import pytest

from autokd.distillation import KD, method_class
from autokd.errors import InputError


def test_a_method_is_found_by_its_name():
    assert method_class("kd") is KD


def test_a_users_method_is_found_by_reference():
    assert method_class("autokd.distillation.kd:KD") is KD


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(
        InputError, match=r"must be one of .*kd.* or `module:Class`.*, but got 'kdd'; the nearest known is 'kd'"
    ):
        method_class("kdd")


@pytest.mark.parametrize("name", ["autokd.distillation.kd:kd_loss", "pathlib:Path"])
def test_a_reference_to_something_else_is_refused(name: str):
    with pytest.raises(InputError, match=r"must be a subclass of autokd.distillation.Method"):
        method_class(name)
