import numpy as np
import pytest
import torch
from torch import Tensor

from autokd.training.class_metrics import class_metrics, one_against_rest_auroc


def sample(n: int, classes: int, seed: int, present: int | None = None) -> tuple[Tensor, Tensor]:
    """Logits with ties that are right more often than not, and labels of the first `present` classes."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(present or classes, (n,), generator=generator)
    logits = torch.randn(n, classes, generator=generator).mul(2).round()
    logits[torch.arange(n), labels] += 1
    return logits, labels


@pytest.mark.parametrize(("n", "classes", "present"), [(300, 3, None), (500, 12, None), (400, 12, 5), (200, 2, None)])
def test_they_are_those_of_scikit_learn(n: int, classes: int, present: int | None) -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    logits, labels = sample(n, classes, seed=n, present=present)
    truth, predicted = labels.numpy(), logits.argmax(1).numpy()
    probabilities = logits.double().softmax(1).numpy()
    there = np.unique(truth)
    areas = [sklearn.roc_auc_score(truth == label, probabilities[:, label]) for label in there]
    expected = {
        "balanced_accuracy": sklearn.recall_score(truth, predicted, labels=there, average="macro"),
        "macro_f1": sklearn.f1_score(truth, predicted, labels=there, average="macro"),
        "auroc": np.mean(areas),
        "absent_classes": classes - len(there),
    }
    found = {name: value for name, value in class_metrics(logits, labels).items() if name != "top5"}
    assert found == pytest.approx(expected, rel=1e-12)


def test_the_mean_area_is_scikit_learns_where_every_class_is_present() -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    logits, labels = sample(500, 7, seed=1)
    probabilities = logits.double().softmax(1).numpy()
    expected = sklearn.roc_auc_score(labels.numpy(), probabilities, multi_class="ovr", average="macro")
    assert class_metrics(logits, labels)["auroc"] == pytest.approx(expected, rel=1e-12)


def test_beyond_ten_classes_the_five_most_probable_ones_count() -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(300, 20, generator=generator), torch.randint(20, (300,), generator=generator)
    expected = sklearn.top_k_accuracy_score(labels.numpy(), logits.numpy(), k=5, labels=range(20))
    assert class_metrics(logits, labels)["top5"] == pytest.approx(expected, rel=1e-12)
    assert "top5" not in class_metrics(logits[:, :10], labels % 10)


def test_the_area_counts_pairs_and_halves_ties() -> None:
    scores, positive = torch.tensor([0.1, 0.4, 0.4, 0.8, 0.3]), torch.tensor([False, True, False, True, True])
    pairs = [(a > b) + 0.5 * (a == b) for a in scores[positive] for b in scores[~positive]]
    assert one_against_rest_auroc(scores, positive) == pytest.approx(float(sum(pairs)) / len(pairs), rel=1e-12)


def test_samples_of_one_class_have_no_area() -> None:
    found = class_metrics(torch.eye(3), torch.tensor([1, 1, 1]))
    assert found == {"balanced_accuracy": pytest.approx(1 / 3), "macro_f1": 0.5, "absent_classes": 2.0}
