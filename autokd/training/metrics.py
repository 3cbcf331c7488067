"""Metrics of a trained network on labelled samples, and of its fidelity to the teacher."""

import math

import torch
import torch.nn.functional as F
from scipy.optimize import brentq
from torch import Tensor, nn

from autokd.data.dataset import Split
from autokd.data.stream import evaluation_batches
from autokd.errors import DivergedError
from autokd.training.class_metrics import class_metrics

__all__ = [
    "COLDEST",
    "HOTTEST",
    "calibration_error",
    "label_metrics",
    "predict",
    "scaling_temperature",
    "teacher_metrics",
    "validation_metrics",
]

EVALUATION_BATCH = 500
EVALUATION_BATCH_ON_CPU = 125
"""Small enough that a layer's output is still in the cache when the next layer reads it; 500 took 50 % longer."""
COLDEST, HOTTEST = 0.01, 1000.0  # range of scaling temperatures


def label_metrics(logits: Tensor, labels: Tensor, temperature: float | None = None) -> dict[str, float]:
    """Accuracy, mean negative log-likelihood (`loss`, in nats), expected calibration error (`ece`) and `class_metrics`.

    With a temperature also `ece_scaled`, the calibration error after temperature scaling. The temperature must be
    fitted to other samples, see `validation_metrics`; otherwise this error is too optimistic.

    Args:
        logits: `n x classes`, converted to float32.
        labels: int64, `n`.
        temperature: Temperature by which the logits are divided, from `scaling_temperature`.
    """
    logits = logits.float()
    metrics = class_metrics(logits, labels) | {
        "accuracy": float((logits.argmax(1) == labels).double().mean()),
        "loss": float(F.cross_entropy(logits, labels)),
        "ece": calibration_error(logits.softmax(1), labels),
    }
    if temperature is not None:
        metrics["ece_scaled"] = calibration_error((logits / temperature).softmax(1), labels)
    return metrics


def validation_metrics(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Results of `label_metrics`, with `scaling_temperature` fitted to these samples and `ece_scaled` at it.

    The test split is evaluated by `label_metrics` at the same temperature.

    Args:
        logits: `n x classes`.
        labels: int64, `n`.

    Raises:
        DivergedError: If a logit is not finite, as after a last step to which no loss belongs.
    """
    if not logits.isfinite().all():
        raise DivergedError("training diverged: the network's outputs are not finite.")
    temperature = scaling_temperature(logits, labels)
    return label_metrics(logits, labels, temperature) | {"scaling_temperature": temperature}


def teacher_metrics(student_logits: Tensor, teacher_logits: Tensor) -> dict[str, float]:
    """Fidelity of a student to its teacher on the same samples.

    `agreement` is the share of samples for which both predict the same class. `teacher_kl` is the mean Kullback-Leibler
    divergence KL(teacher || student) of their probabilities at temperature 1, in nats. These are the two measures of
    fidelity of Stanton et al. 2021, https://arxiv.org/abs/2106.05945. Classes to which the teacher assigns a
    probability of 0 contribute nothing.

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
    """Temperature that minimises the negative log-likelihood of logits divided by it, in `[0.01, 1000]`.

    Temperature scaling, Guo et al. 2017, https://arxiv.org/abs/1706.04599, section 4.2. The loss is convex in
    1 / temperature, so its derivative has one root, which is bracketed and found to ten digits in float64. [ours] The
    temperature is limited to 0.01 to 1000. It is 0.01 if all predictions are correct, since more confidence is always
    better then, and 1000 if the labels contradict the logits. It is 1 if all classes of each sample have equal logits,
    which no temperature changes.

    Args:
        logits: Finite, `n x classes`.
        labels: int64, `n`.
    """
    logits = logits.double()
    leads = logits - logits.gather(1, labels[:, None])  # over the logit of the label

    def slope(log_temperature: float) -> float:
        """Derivative of the mean negative log-likelihood with respect to 1 / temperature."""
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
    """Expected calibration error: difference of confidence and accuracy in bins of confidence, weighted by their size.

    Guo et al. 2017, https://arxiv.org/abs/1706.04599, equation 3.

    Args:
        probabilities: `n x classes`.
        labels: int64, `n`.
        n_bins: Number of bins, which have equal width and are closed on the right.
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
    """Logits of all samples of a split, float32, `n x classes`. The network is set to evaluation mode.

    Args:
        network: The network, on the device of the split's labels.
        split: The samples.
        normalisation: Mean and deviation of each channel, from `Dataset.normalisation`.
        batch: Batch size; by default one that is fast on the device.
    """
    network.eval()
    batch = batch or (EVALUATION_BATCH_ON_CPU if split.labels.device.type == "cpu" else EVALUATION_BATCH)
    return torch.cat([network(images).float() for images in evaluation_batches(split, normalisation, batch)])
