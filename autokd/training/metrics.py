"""What a trained network is worth on labelled samples, and how much of its teacher it has taken over."""

import math

import torch
import torch.nn.functional as F
from scipy.optimize import brentq
from torch import Tensor, nn

from autokd.data.dataset import Split
from autokd.data.stream import evaluation_batches

__all__ = [
    "calibration_error",
    "label_metrics",
    "predict",
    "scaling_temperature",
    "teacher_metrics",
    "validation_metrics",
]

EVALUATION_BATCH = 500
EVALUATION_BATCH_ON_CPU = 125
"""So that the cache still holds a layer's output when the next one reads it; 500 took half as long again."""
COLDEST, HOTTEST = 0.01, 1000.0  # scaling temperatures


def label_metrics(logits: Tensor, labels: Tensor, temperature: float | None = None) -> dict[str, float]:
    """Accuracy, mean negative log-likelihood (`loss`, nats) and expected calibration error (`ece`), all of floats.

    With a temperature also `ece_scaled`, the calibration error after temperature scaling. The temperature must come
    from other samples than these, see `validation_metrics`, or the error is too good.

    Args:
        logits: `n x classes`.
        labels: int64, `n`.
        temperature: What the logits are divided by, of `scaling_temperature`.
    """
    logits = logits.float()
    metrics = {
        "accuracy": float((logits.argmax(1) == labels).double().mean()),
        "loss": float(F.cross_entropy(logits, labels)),
        "ece": calibration_error(logits.softmax(1), labels),
    }
    if temperature is not None:
        metrics["ece_scaled"] = calibration_error((logits / temperature).softmax(1), labels)
    return metrics


def validation_metrics(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """`label_metrics` with `ece_scaled` at the temperature fitted to these very samples, their `scaling_temperature`.

    The test split is then measured by `label_metrics` at this temperature.

    Args:
        logits: `n x classes`.
        labels: int64, `n`.
    """
    temperature = scaling_temperature(logits, labels)
    return label_metrics(logits, labels, temperature) | {"scaling_temperature": temperature}


def teacher_metrics(student_logits: Tensor, teacher_logits: Tensor) -> dict[str, float]:
    """How near a student's answers are to its teacher's: both are of the same samples.

    `agreement` is the share of samples for which both name the same class, and `teacher_kl` the mean Kullback-Leibler
    divergence KL(teacher || student) of their probabilities at temperature 1, in nats: the two measures of fidelity of
    Stanton et al. 2021, https://arxiv.org/abs/2106.05945. A class that the teacher holds for impossible adds nothing.

    Args:
        student_logits: `n x classes`.
        teacher_logits: `n x classes`.
    """
    log_q, log_p = (logits.double().log_softmax(1) for logits in (student_logits, teacher_logits))
    p = log_p.exp()
    divergence = (p * (log_p - log_q).where(p > 0, 0.0)).sum(1)
    agrees = student_logits.argmax(1) == teacher_logits.argmax(1)
    return {"agreement": float(agrees.double().mean()), "teacher_kl": float(divergence.mean().clamp_min(0))}


def scaling_temperature(logits: Tensor, labels: Tensor) -> float:
    """The temperature by which logits must be divided to have the least negative log-likelihood.

    Temperature scaling, Guo et al. 2017, https://arxiv.org/abs/1706.04599, section 4.2. The loss is convex in
    1 / temperature, so its slope has one root, which is bracketed and found to ten digits in float64. [ours] The
    temperature is kept within 0.01 and 1000: it is 0.01 where every answer is right, since surer is always better, and
    1000 where the labels contradict the logits. It is 1 where the classes of each sample have equal logits, which no
    temperature changes.

    Args:
        logits: Finite, `n x classes`.
        labels: int64, `n`.
    """
    logits = logits.double()
    leads = logits - logits.gather(1, labels[:, None])  # over the right class

    def slope(log_temperature: float) -> float:
        """Of the mean negative log-likelihood by 1 / temperature: of one sign where all leads are."""
        probabilities = (logits / math.exp(log_temperature)).softmax(1)
        return float((probabilities * leads).sum(1).mean())

    if not leads.any():
        return 1.0
    if slope(math.log(COLDEST)) <= 0:
        return COLDEST
    if slope(math.log(HOTTEST)) >= 0:
        return HOTTEST
    return math.exp(brentq(slope, math.log(COLDEST), math.log(HOTTEST), xtol=1e-10))


def calibration_error(probabilities: Tensor, labels: Tensor, n_bins: int = 15) -> float:
    """Expected calibration error: mean gap between confidence and accuracy over bins of confidence, weighted by size.

    Guo et al. 2017, https://arxiv.org/abs/1706.04599, equation 3, with `n_bins` bins of equal width, closed on the
    right.

    Args:
        probabilities: `n x classes`.
        labels: int64, `n`.
        n_bins: Number of bins.
    """
    confidence, predicted = probabilities.double().max(1)
    correct = (predicted == labels).double()
    bins = (confidence * n_bins).ceil().long().clamp(1, n_bins) - 1
    gaps = torch.zeros(n_bins, dtype=torch.float64, device=labels.device).index_add_(0, bins, confidence - correct)
    return float(gaps.abs().sum() / len(labels))


@torch.inference_mode()
def predict(
    network: nn.Module,
    split: Split,
    normalisation: tuple[tuple[float, ...], tuple[float, ...]],
    batch: int | None = None,
) -> Tensor:
    """Logits of every sample of a split in float32, `n x classes`; the network is left in evaluation mode.

    Args:
        network: On the device of the split's labels.
        split: The samples.
        normalisation: Of the data set.
        batch: How many samples at once; None takes as many as the device is fast with.
    """
    network.eval()
    batch = batch or (EVALUATION_BATCH_ON_CPU if split.labels.device.type == "cpu" else EVALUATION_BATCH)
    return torch.cat([network(images).float() for images in evaluation_batches(split, normalisation, batch)])
