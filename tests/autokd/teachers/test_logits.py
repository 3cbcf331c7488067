from collections import namedtuple
from types import SimpleNamespace

import pytest
import torch

from autokd.errors import InputError
from autokd.teachers.logits import Reading, log_probabilities, look_like_probabilities

LOGITS = torch.tensor([[1.0, -2.0, 0.5], [0.0, 3.0, -1.0]])
FEATURES = torch.zeros(2, 7)


class WithProperty:
    @property
    def scores(self) -> torch.Tensor:
        return LOGITS


@pytest.mark.parametrize(
    ("returned", "output"),
    [
        (LOGITS, None),
        (LOGITS.double(), None),
        (LOGITS.numpy(), None),
        ((FEATURES, LOGITS), 1),
        ([LOGITS, FEATURES], 0),
        ({"logits": LOGITS, "features": FEATURES}, "logits"),
        (SimpleNamespace(logits=LOGITS, loss=None), "logits"),
        (namedtuple("Pair", "logits features")(LOGITS, FEATURES), "logits"),  # type: ignore[call-arg]
        (namedtuple("Pair", "logits features")(LOGITS, FEATURES), 0),  # type: ignore[call-arg]
        (WithProperty(), "scores"),
    ],
)
def test_the_logits_are_found_whatever_the_network_returns(returned: object, output: int | str | None) -> None:
    found = Reading(output)(returned)
    assert torch.equal(found, LOGITS)
    assert found.dtype == torch.float32


def test_an_array_that_may_not_be_written_is_read() -> None:
    array = LOGITS.numpy().copy()
    array.flags.writeable = False
    assert torch.equal(Reading("a")({"a": array}), LOGITS)


@pytest.mark.parametrize(
    ("returned", "output", "message"),
    [
        (
            (FEATURES, LOGITS),
            None,
            "the teacher returns a tuple of 0 (2 x 7), 1 (2 x 3): set teacher.output to the one",
        ),
        ((LOGITS,), 1, "a tuple of 0 (2 x 3): set teacher.output to the one that is the logits, but not to 1."),
        ({"logits": LOGITS, "hidden": None}, None, "a dict of 'logits' (2 x 3): set teacher.output"),
        ({"logits": LOGITS}, "keys", "a dict of 'logits' (2 x 3): set"),
        ({"logits": LOGITS}, 0, "but not to 0."),
        (SimpleNamespace(logits=LOGITS), "logit", "a SimpleNamespace of 'logits' (2 x 3)"),
        (None, None, "the teacher returns a NoneType of no tensors"),
        (LOGITS, "logits", "teacher.output is 'logits', but the teacher returns one tensor: omit it."),
        (LOGITS, 0, "teacher.output is 0, but the teacher returns one tensor"),
    ],
)
def test_what_there_is_is_listed_where_the_logits_are_not_found(returned: object, output, message: str) -> None:
    with pytest.raises(InputError) as caught:
        Reading(output)(returned)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_classes_come_in_the_tasks_order() -> None:
    assert Reading(classes=(2, 0))(LOGITS).tolist() == [[0.5, 1.0], [-1.0, 0.0]]


@pytest.mark.parametrize("returned", [LOGITS, LOGITS[0], LOGITS[None]])
def test_a_class_beyond_the_outputs_is_named(returned: torch.Tensor) -> None:
    with pytest.raises(
        InputError, match=r"names output 3, but the teacher gives \(.*\) outputs a sample, counted from 0"
    ):
        Reading(classes=(0, 3))(returned)


def test_logarithms_of_probabilities_are_logits_of_them() -> None:
    probabilities = LOGITS.softmax(1)
    torch.testing.assert_close(log_probabilities(probabilities).softmax(1), probabilities)
    torch.testing.assert_close(Reading(probabilities=True)(probabilities), LOGITS.log_softmax(1))


def test_chosen_probabilities_are_renormalised_by_the_softmax() -> None:
    chosen = Reading(classes=(2, 1), probabilities=True)(LOGITS.softmax(1)).softmax(1)
    torch.testing.assert_close(chosen, LOGITS[:, [2, 1]].softmax(1))


def test_an_impossible_class_has_a_finite_logarithm() -> None:
    logits = log_probabilities(torch.tensor([[1.0, 0.0, 0.0], [1.0005, 1e-30, 0.0]]))
    assert logits.isfinite().all()
    assert logits[0].tolist() == pytest.approx([0, -15.9424, -15.9424], abs=1e-4)
    assert logits[1, 0] == 0


@pytest.mark.parametrize("wrong", [LOGITS, LOGITS.softmax(1) - 0.5, torch.full((2, 3), torch.nan)])
def test_what_cannot_be_probabilities_is_refused(wrong: torch.Tensor) -> None:
    with pytest.raises(InputError, match=r"teacher.probabilities is set, but the teacher's outputs are "):
        log_probabilities(wrong)


def test_rows_that_sum_to_one_look_like_probabilities() -> None:
    probabilities = LOGITS.softmax(1)
    assert look_like_probabilities(probabilities, all_classes=True)
    assert look_like_probabilities(probabilities[:, :2], all_classes=False)
    assert not look_like_probabilities(probabilities[:, :2], all_classes=True)
    assert not look_like_probabilities(LOGITS, all_classes=False)
    assert not look_like_probabilities(LOGITS.sigmoid() + 0.5, all_classes=True)
    assert not look_like_probabilities(torch.cat([probabilities, LOGITS]), all_classes=True)
