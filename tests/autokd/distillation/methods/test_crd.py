import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from autokd.distillation import BatchContext, Outputs
from autokd.distillation.methods.crd import CRD, contrastive_loss, log_partition, remembered, similarities
from autokd.errors import InputError

N, BATCH, K = 30, 4, 6
LABELS = torch.tensor([0, 1, 2] * 9 + [2, 2, 3])  # classes of 9, 9, 11 and 1
INDICES = torch.tensor([29, 3, 17, 8])


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def outputs(width: int, seed: int) -> Outputs:
    return Outputs(drawn(BATCH, 4, seed=seed), drawn(BATCH, width, seed=seed + 1))


STUDENT, OTHER_STUDENT, TEACHER = outputs(5, 0), outputs(5, 4), outputs(7, 2)
CONTEXT = BatchContext(LABELS[INDICES], INDICES)
EVERYTHING = BatchContext(LABELS, torch.arange(N))
OF_CLASS_1 = BatchContext(LABELS[1:2], torch.tensor([1]))


def prepared(**settings: Any) -> CRD:
    method = CRD(**{"negatives": K} | settings)
    torch.manual_seed(0)
    method.prepare(STUDENT, TEACHER, LABELS)
    return method.double()


def normalised_slowly(vector: list[float]) -> list[float]:
    length = math.sqrt(sum(x * x for x in vector))
    return [x / length for x in vector]


def projected_slowly(head: nn.Module, embedding: list[float]) -> list[float]:
    weight, bias = head.weight.tolist(), head.bias.tolist()
    return normalised_slowly(
        [sum(w * x for w, x in zip(row, embedding, strict=True)) + b for row, b in zip(weight, bias, strict=True)]
    )


def half_of_the_loss_slowly(vectors: list[list[float]], memory: list[list[float]], chosen: list[list[int]]) -> float:
    """h(o) as the paper writes it, with Z from this batch."""
    powers = [
        [math.exp(sum(m * x for m, x in zip(memory[j], v, strict=True)) / 0.07) for j in row]
        for v, row in zip(vectors, chosen, strict=True)
    ]
    z = sum(map(sum, powers)) / (BATCH * (K + 1)) * N
    total = 0.0
    for row in powers:
        o = [power / z for power in row]
        total -= math.log(o[0] / (o[0] + K / N)) + sum(math.log((K / N) / (x + K / N)) for x in o[1:])
    return total / BATCH


def loss_slowly(method: CRD, seed: int) -> float:
    torch.manual_seed(seed)
    negatives = method.draw_negatives(CONTEXT).tolist()
    chosen = [[i, *row] for i, row in zip(INDICES.tolist(), negatives, strict=True)]
    student = [projected_slowly(method.student_head, row) for row in STUDENT.embedding.tolist()]
    teacher = [projected_slowly(method.teacher_head, row) for row in TEACHER.embedding.tolist()]
    h_student = half_of_the_loss_slowly(student, method.teacher_memory.tolist(), chosen)
    return 0.8 * (h_student + half_of_the_loss_slowly(teacher, method.student_memory.tolist(), chosen))


def test_the_loss_equals_a_loop_over_samples_and_negatives() -> None:
    method = prepared()
    expected = loss_slowly(method, seed=1)
    torch.manual_seed(1)
    assert method.teacher_loss(STUDENT, TEACHER, CONTEXT).item() == pytest.approx(expected, abs=1e-9)


def test_the_gradient_passes_gradcheck() -> None:
    chosen = torch.randint(N, (BATCH, K + 1), generator=torch.Generator().manual_seed(0))
    memory = torch.nn.functional.normalize(drawn(N, 3), dim=1)
    anchors = drawn(BATCH, 3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: contrastive_loss(similarities(v, memory, chosen, 0.5), N), anchors)


def test_similarities_are_inner_products_over_the_temperature() -> None:
    memory, anchors = drawn(N, 3), drawn(2, 3, seed=1)
    chosen = torch.tensor([[4, 4, 29], [0, 7, 1]])
    expected = [[float(memory[j] @ v) / 0.2 for j in row] for v, row in zip(anchors, chosen.tolist(), strict=True)]
    torch.testing.assert_close(similarities(anchors, memory, chosen, 0.2), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("k", [1, 6, 1000])
def test_the_loss_of_equal_similarities_is_the_entropy_of_the_guess(k: int) -> None:
    guess = torch.full((3, k + 1), -math.log(N), dtype=torch.float64)
    expected = math.log(1 + k) + k * math.log(1 + 1 / k)
    assert float(contrastive_loss(guess, N)) == pytest.approx(expected, abs=1e-9)


def test_the_loss_of_perfect_discrimination_is_zero() -> None:
    log_o = torch.tensor([[30.0, -30.0, -30.0]], dtype=torch.float64)
    assert float(contrastive_loss(log_o, N)) < 1e-9


def test_the_gradient_attracts_the_sample_itself_and_repels_the_negatives() -> None:
    log_o = drawn(BATCH, K + 1).requires_grad_()
    (gradient,) = torch.autograd.grad(contrastive_loss(log_o, N), log_o)
    assert gradient[:, 0].max() < 0
    assert gradient[:, 1:].min() > 0


@pytest.mark.parametrize("scale", [0.0, 1e4])
def test_extreme_similarities_give_a_finite_loss_and_gradient(scale: float) -> None:
    scores = (scale * drawn(BATCH, K + 1).sign()).float().requires_grad_()
    loss = contrastive_loss(scores - log_partition(scores, N), N)
    (gradient,) = torch.autograd.grad(loss, scores)
    assert loss.isfinite()
    assert gradient.isfinite().all()


def test_the_partition_makes_the_mean_one_over_the_number_of_samples() -> None:
    scores = 5 * drawn(BATCH, K + 1)
    assert float((scores - log_partition(scores, N)).exp().mean()) == pytest.approx(1 / N)


def test_the_partition_is_fixed_by_the_first_batch() -> None:
    method = prepared()
    assert method.log_z.isinf().all()
    method.teacher_loss(STUDENT, TEACHER, CONTEXT)
    fixed = method.log_z.clone()
    assert fixed.isfinite().all()
    method.teacher_loss(OTHER_STUDENT, TEACHER, CONTEXT)
    assert torch.equal(method.log_z, fixed)


def test_a_restored_method_keeps_its_partition_and_its_memories() -> None:
    method, restored = prepared(), prepared()
    method.teacher_loss(STUDENT, TEACHER, CONTEXT)
    restored.load_state_dict(method.state_dict())
    losses = []
    for each in (method, restored):
        torch.manual_seed(5)
        losses.append(each.teacher_loss(OTHER_STUDENT, TEACHER, CONTEXT).item())
    assert losses[0] == losses[1]
    assert torch.equal(restored.student_memory, method.student_memory)


def test_memories_are_averaged_with_the_new_vectors() -> None:
    method = prepared()
    before = method.student_memory.clone(), method.teacher_memory.clone()
    method.teacher_loss(STUDENT, TEACHER, CONTEXT)
    after = method.student_memory, method.teacher_memory
    said = (method.student_head, STUDENT), (method.teacher_head, TEACHER)
    for old, new, (head, seen) in zip(before, after, said, strict=True):
        for i, embedding in zip(INDICES.tolist(), seen.embedding.tolist(), strict=True):
            vector = projected_slowly(head, embedding)
            mixed = [0.5 * m + 0.5 * v for m, v in zip(old[i].tolist(), vector, strict=True)]
            assert new[i].tolist() == pytest.approx(normalised_slowly(mixed), abs=1e-9)
        others = [i for i in range(N) if i not in INDICES.tolist()]
        assert torch.equal(new[others], old[others])
        assert not new.requires_grad


def test_an_update_does_not_modify_the_memory_that_the_backward_pass_needs() -> None:
    memory = drawn(N, 3)
    kept = memory.clone()
    remembered(memory, torch.tensor([2]), drawn(1, 3, seed=1))
    assert torch.equal(memory, kept)


def test_fresh_memories_have_rows_of_length_one_on_average() -> None:
    method = CRD()
    method.prepare(STUDENT, TEACHER, torch.arange(2000) % 4)
    assert float(method.student_memory.square().sum(1).mean()) == pytest.approx(1, abs=0.01)
    assert float(method.student_memory.abs().max()) <= math.sqrt(3 / 128)
    assert not torch.equal(method.student_memory, method.teacher_memory)


def test_both_heads_learn() -> None:
    method = prepared()
    method.teacher_loss(STUDENT, TEACHER, CONTEXT).backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in method.parameters())
    assert len(list(method.parameters())) == 4


def test_negatives_are_of_other_classes() -> None:
    method = prepared(negatives=16384)
    for _ in range(20):
        negatives = method.draw_negatives(EVERYTHING)
        assert (LABELS[negatives] != LABELS.unsqueeze(1)).all()


def test_negatives_are_uniform_over_the_samples_of_other_classes() -> None:
    method = prepared()
    torch.manual_seed(0)
    counts = torch.cat([method.draw_negatives(OF_CLASS_1) for _ in range(1000)]).flatten().bincount(minlength=N)
    others = counts[LABELS != 1]
    expected = 1000 * K / len(others)
    assert float(((others - expected) ** 2 / expected).sum()) < 45  # chi-square of 20 degrees: one in a thousand
    assert counts[LABELS == 1].sum() == 0


@pytest.mark.parametrize(("negatives", "found"), [(6, 6), (19, 19), (20, 19), (16384, 19)])
def test_the_number_of_negatives_is_limited_by_the_samples_outside_the_largest_class(
    negatives: int, found: int
) -> None:
    assert prepared(negatives=negatives).draw_negatives(CONTEXT).shape == (BATCH, found)


def test_without_labels_negatives_are_uniform_over_all_other_samples() -> None:
    method = prepared(mode="any")
    torch.manual_seed(0)
    counts = torch.cat([method.draw_negatives(OF_CLASS_1) for _ in range(1000)]).flatten().bincount(minlength=N)
    others = torch.cat([counts[:1], counts[2:]])
    expected = 1000 * K / (N - 1)
    assert float(((others - expected) ** 2 / expected).sum()) < 58  # chi-square of 28 degrees: one in a thousand
    assert counts[1] == 0


def test_without_labels_no_sample_is_its_own_negative() -> None:
    method = prepared(mode="any", negatives=16384)
    negatives = method.draw_negatives(EVERYTHING)
    assert negatives.shape == (N, N - 1)
    assert (negatives != torch.arange(N).unsqueeze(1)).all()
    assert (LABELS[negatives] == LABELS.unsqueeze(1)).any()


def test_without_labels_all_samples_may_be_of_one_class() -> None:
    CRD(mode="any").prepare(STUDENT, TEACHER, torch.zeros(5, dtype=torch.int64))
    with pytest.raises(InputError, match="needs several samples"):
        CRD(mode="any").prepare(STUDENT, TEACHER, torch.zeros(1, dtype=torch.int64))


def test_the_loss_without_labels_equals_a_loop_over_samples_and_negatives() -> None:
    method = prepared(mode="any")
    expected = loss_slowly(method, seed=1)
    torch.manual_seed(1)
    assert method.teacher_loss(STUDENT, TEACHER, CONTEXT).item() == pytest.approx(expected, abs=1e-9)


def test_training_lowers_the_loss() -> None:
    torch.manual_seed(0)
    method, student = prepared(negatives=16), nn.Linear(4, 5).double()
    seen = drawn(N, 4, seed=3)
    teacher = seen @ drawn(4, 7, seed=4)
    optimiser = torch.optim.SGD([*student.parameters(), *method.parameters()], 0.05, momentum=0.9)
    losses = []
    for _ in range(100):
        indices = torch.randperm(N)[:10]
        context = BatchContext(LABELS[indices], indices)
        said = Outputs(seen[indices], student(seen[indices])), Outputs(seen[indices], teacher[indices])
        loss = method.teacher_loss(*said, context)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-20:]) < 0.8 * sum(losses[:20])


def test_samples_of_one_class_are_rejected() -> None:
    with pytest.raises(InputError, match="needs samples of several classes, but all are of one class"):
        CRD().prepare(STUDENT, TEACHER, torch.zeros(5, dtype=torch.int64))


def test_a_network_without_embedding_is_rejected() -> None:
    with pytest.raises(InputError, match="the teacher has none"):
        CRD().prepare(STUDENT, Outputs(TEACHER.logits), LABELS)


@pytest.mark.parametrize("negatives", [0, -3, 1.5, math.nan, math.inf])
def test_the_number_of_negatives_must_be_whole_and_positive(negatives: Any) -> None:
    with pytest.raises(InputError, match="`negatives` must be a whole number of at least 1, but got negatives="):
        CRD(negatives=negatives)


@pytest.mark.parametrize(("name", "value"), [("weight", -1.0), ("temperature", 0.0), ("temperature", math.inf)])
def test_invalid_settings_are_rejected(name: str, value: Any) -> None:
    with pytest.raises(InputError, match=f"{name}="):
        CRD(**{name: value})
