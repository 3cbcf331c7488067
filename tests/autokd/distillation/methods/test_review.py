import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from autokd.distillation import BatchContext, Outputs
from autokd.distillation.methods.review import AttentionFusion, ReviewKD, ReviewPath, context_loss
from autokd.errors import InputError

CONTEXT = BatchContext(torch.tensor([0, 2, 1, 0]), torch.arange(4), epoch=100.0)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def outputs(seed: int, width: int, *shapes: tuple[int, ...]) -> Outputs:
    features = tuple(drawn(4, *shape, seed=seed) for shape in shapes)
    return Outputs(drawn(4, 3, seed=seed), drawn(4, width, seed=seed), features)


STUDENT = outputs(0, 6, (4, 8, 8), (5, 4, 4))
TEACHER = outputs(1, 9, (2, 16, 16), (3, 8, 8), (7, 4, 4))


def prepared(student: Outputs, teacher: Outputs, **settings: float) -> ReviewKD:
    method = ReviewKD(**settings)
    method.prepare(student, teacher, CONTEXT.labels)
    return method.double()


def nearest_slowly(maps: Tensor, height: int, width: int) -> Tensor:
    rows = [k * maps.shape[2] // height for k in range(height)]
    columns = [k * maps.shape[3] // width for k in range(width)]
    return maps[:, :, rows][:, :, :, columns]


def mean_square(student: Tensor, teacher: Tensor, size: int) -> Tensor:
    """Mean squared difference of square maps averaged to side `size`, which divides theirs."""
    window = student.shape[2] // size
    parts = (student - teacher).reshape(*student.shape[:2], size, window, size, window)
    return parts.mean((3, 5)).square().mean()


@pytest.mark.parametrize(
    ("side", "weights"),
    [
        (8, {8: 1, 4: 1 / 2, 2: 1 / 4, 1: 1 / 8}),
        (4, {4: 1, 2: 1 / 2, 1: 1 / 4}),
        (2, {2: 1, 1: 1 / 2}),
        (1, {1: 1}),
    ],
)
def test_the_context_loss_is_a_weighted_mean_over_resolutions(side: int, weights: dict[int, float]) -> None:
    student, teacher = drawn(2, 3, side, side), drawn(2, 3, side, side, seed=1)
    expected = sum(weight * mean_square(student, teacher, size) for size, weight in weights.items())
    torch.testing.assert_close(context_loss(student, teacher), expected / sum(weights.values()), rtol=0, atol=1e-12)


def test_the_context_loss_of_vectors_is_the_mean_squared_difference() -> None:
    student, teacher = drawn(2, 3), drawn(2, 3, seed=1)
    torch.testing.assert_close(context_loss(student, teacher), (student - teacher).square().mean())


def test_a_signal_has_the_context_loss_of_an_image_that_repeats_it() -> None:
    student, teacher = drawn(2, 3, 6), drawn(2, 3, 6, seed=1)
    images = (signal.unsqueeze(2).expand(-1, -1, 6, -1) for signal in (student, teacher))
    torch.testing.assert_close(context_loss(student, teacher), context_loss(*images))


def test_a_long_and_narrow_image_is_not_widened() -> None:
    student, teacher = drawn(2, 3, 1, 6), drawn(2, 3, 1, 6, seed=1)
    torch.testing.assert_close(
        context_loss(student, teacher), context_loss(student.squeeze(2), teacher.squeeze(2)), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 5), (2, 3, 5, 5)])
def test_the_gradient_of_the_context_loss_passes_gradcheck(shape: tuple[int, ...]) -> None:
    teacher = drawn(*shape, seed=1)
    assert torch.autograd.gradcheck(lambda s: context_loss(s, teacher), drawn(*shape).requires_grad_())


def test_the_loss_of_equal_maps_is_zero() -> None:
    student = drawn(2, 3, 8, 8).requires_grad_()
    loss = context_loss(student, student)
    assert loss.item() == 0
    assert float(torch.autograd.grad(loss, student)[0].abs().max()) == 0


@pytest.mark.parametrize("size", [(), (4,), (4, 3)])
def test_fusion_weights_both_maps_at_each_position(size: tuple[int, ...]) -> None:
    fusion = AttentionFusion(3, len(size)).double()
    own, deeper = drawn(2, 3, *size), drawn(2, 3, *size, seed=1)
    kernel, bias = fusion.attention.weight.flatten(1), fusion.attention.bias
    found = fusion(own, deeper).reshape(2, 3, -1)
    flat = [maps.reshape(2, 3, -1) for maps in (own, deeper)]
    for b in range(2):
        for p in range(found.shape[2]):
            stacked = torch.cat([maps[b, :, p] for maps in flat])
            weights = [1 / (1 + math.exp(-(kernel[k] @ stacked + bias[k]).item())) for k in range(2)]
            expected = weights[0] * flat[0][b, :, p] + weights[1] * flat[1][b, :, p]
            torch.testing.assert_close(found[b, :, p], expected, rtol=0, atol=1e-12)


def test_the_path_goes_from_the_deepest_level_to_the_shallowest() -> None:
    student = [drawn(4, 4, 8, 8), drawn(4, 5, 4, 4), drawn(4, 6, 1, 1)]
    teacher = [drawn(4, 3, 12, 12), drawn(4, 7, 4, 4), drawn(4, 9, 1, 1)]
    path = ReviewPath(student, teacher).double().eval()
    entered = [enter(maps) for enter, maps in zip(path.entrances, student, strict=True)]
    middle = path.fusions[1](entered[1], nearest_slowly(entered[2], 4, 4))
    shallow = nearest_slowly(path.fusions[0](entered[0], nearest_slowly(middle, 8, 8)), 12, 12)
    expected = [leave(maps) for leave, maps in zip(path.exits, (shallow, middle, entered[2]), strict=True)]
    for found, wanted in zip(path(student, [maps.shape[2:] for maps in teacher]), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


def test_a_level_gets_gradients_from_all_shallower_levels_and_no_deeper_one() -> None:
    student = [drawn(4, 4, 8, 8).requires_grad_(), drawn(4, 5, 4, 4).requires_grad_()]
    path = ReviewPath(student, student).double()
    shallow, deep = path(student, [maps.shape[2:] for maps in student])
    of_shallow = torch.autograd.grad(shallow.square().sum(), student, retain_graph=True)
    assert all(float(gradient.abs().max()) > 0 for gradient in of_shallow)
    assert torch.autograd.grad(deep.square().sum(), student, allow_unused=True)[0] is None


def test_the_path_is_as_wide_as_the_students_embedding_and_at_most_512() -> None:
    for width, expected in ((6, 6), (700, 512)):
        method = prepared(outputs(0, width, (4, 4, 4)), outputs(1, 9, (7, 4, 4)))
        assert method.path.entrances[0].convolution.out_channels == expected


def test_the_embedding_is_the_deepest_level() -> None:
    method = prepared(STUDENT, TEACHER)
    inputs = [enter.convolution.in_channels for enter in method.path.entrances]
    results = [leave.convolution.out_channels for leave in method.path.exits]
    assert inputs == [4, 5, 6]
    assert results == [3, 7, 9]


def test_the_loss_is_the_weighted_sum_over_levels() -> None:
    method = prepared(STUDENT, TEACHER, weight=3.0, warmup=0).eval()
    student = [*STUDENT.features, STUDENT.embedding[..., None, None]]
    teacher = [*TEACHER.features[1:], TEACHER.embedding[..., None, None]]
    reviewed = method.path(student, [maps.shape[2:] for maps in teacher])
    expected = 3 * sum(context_loss(own, other) for own, other in zip(reviewed, teacher, strict=True))
    torch.testing.assert_close(method.teacher_loss(STUDENT, TEACHER, CONTEXT), expected)


@pytest.mark.parametrize("shape", [(), (5,), (5, 3)])
def test_the_gradient_passes_gradcheck(shape: tuple[int, ...]) -> None:
    student, teacher = outputs(0, 3, (2, *shape)), outputs(1, 4, (2, *shape))
    method = prepared(student, teacher)

    def loss(features: Tensor, embedding: Tensor) -> Tensor:
        return method.teacher_loss(replace(student, features=(features,), embedding=embedding), teacher, CONTEXT)

    assert torch.autograd.gradcheck(loss, (student.features[0].requires_grad_(), student.embedding.requires_grad_()))


def test_all_parts_of_the_path_learn() -> None:
    student, teacher = (
        Outputs(o.logits.float(), o.embedding.bfloat16(), tuple(maps.bfloat16() for maps in o.features))
        for o in (STUDENT, TEACHER)
    )
    method = ReviewKD()
    method.prepare(student, teacher, CONTEXT.labels)
    method.loss(student, teacher, CONTEXT).backward()
    for name, parameter in method.named_parameters():
        assert parameter.dtype == torch.float32
        assert float(parameter.grad.abs().max()) > 0, name


@pytest.mark.parametrize(("epoch", "part"), [(0.0, 1 / 20), (9.5, 1 / 2), (18.9, 19 / 20), (19.0, 1), (50.0, 1)])
def test_the_weight_grows_with_the_running_epoch(epoch: float, part: float) -> None:
    method = prepared(STUDENT, TEACHER).eval()
    full = method.teacher_loss(STUDENT, TEACHER, CONTEXT)
    torch.testing.assert_close(method.teacher_loss(STUDENT, TEACHER, replace(CONTEXT, epoch=epoch)), part * full)


def test_a_batch_of_one_has_a_finite_loss() -> None:
    student, teacher = STUDENT.first(1), TEACHER.first(1)
    assert prepared(student, teacher).teacher_loss(student, teacher, CONTEXT).isfinite()


@pytest.mark.parametrize("name", ["weight", "warmup"])
@pytest.mark.parametrize("value", [-1.0, math.inf, math.nan])
def test_weight_and_warmup_must_not_be_negative(name: str, value: float) -> None:
    with pytest.raises(InputError, match=f"`0 <= {name} < inf` must hold"):
        ReviewKD(**{name: value})


def test_a_teacher_without_an_embedding_is_rejected() -> None:
    with pytest.raises(InputError, match="the teacher has none"):
        ReviewKD().prepare(STUDENT, replace(TEACHER, embedding=None), CONTEXT.labels)
