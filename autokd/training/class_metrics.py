"""Metrics of predictions that count every class alike, however many samples it has."""

import torch
from torch import Tensor

__all__ = ["class_metrics", "one_against_rest_auroc"]

MANY_CLASSES = 10  # beyond which the five most probable classes are worth a metric


def class_metrics(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Balanced accuracy, macro F1 and AUROC; beyond ten classes also the accuracy of the five most probable ones.

    * `balanced_accuracy` is the mean recall of the classes.
    * `macro_f1` is the mean over the classes of the harmonic mean of precision and recall.
    * `auroc` is the mean over the classes of `one_against_rest_auroc`; it is omitted if all samples are of one class.
    * `top5` is the share of samples whose label is among the five classes of highest logit.

    Classes without samples are left out of the means; `absent_classes` is their number.

    Args:
        logits: `n x classes`.
        labels: int64, `n`.
    """
    n_classes = logits.shape[1]
    predicted, probabilities = logits.argmax(1), logits.double().softmax(1)
    samples, guesses, hits = (
        chosen.bincount(minlength=n_classes) for chosen in (labels, predicted, labels[predicted == labels])
    )
    present = samples.nonzero()[:, 0]
    metrics = {
        "balanced_accuracy": _mean(hits[present] / samples[present].double()),
        "macro_f1": _mean(2 * hits[present] / (samples + guesses)[present].double()),
        "absent_classes": float(n_classes - len(present)),
    }
    if len(present) > 1:
        areas = [one_against_rest_auroc(probabilities[:, label], labels == label) for label in present.tolist()]
        metrics["auroc"] = sum(areas) / len(areas)
    if n_classes > MANY_CLASSES:
        best = logits.topk(5, dim=1).indices
        metrics["top5"] = _mean((best == labels[:, None]).any(1).double())
    return metrics


def one_against_rest_auroc(scores: Tensor, is_positive: Tensor) -> float:
    """Probability that a sample of the class has a higher score than one of the rest; equal scores count a half.

    With the sum `R` of the ranks of the `n` positive samples among all, equal scores having their mean rank, it is
    (R - n (n + 1) / 2) / (n m), with `m` the number of the others (Hanley and McNeil 1982,
    https://doi.org/10.1148/radiology.143.1.7063747).

    Args:
        scores: One for each sample.
        is_positive: bool, whether the sample is of the class; some must be, some not.
    """
    ordered, positive = scores.sort().values, scores[is_positive].contiguous()
    below = torch.searchsorted(ordered, positive)
    up_to = torch.searchsorted(ordered, positive, right=True)
    n, total = len(positive), len(scores)
    rank_sum = float((below + up_to + 1).sum()) / 2
    return (rank_sum - n * (n + 1) / 2) / (n * (total - n))


def _mean(values: Tensor) -> float:
    return float(values.mean())
