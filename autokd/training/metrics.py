"""What a trained network is worth on labelled samples."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autokd.data.dataset import Split
from autokd.data.stream import evaluation_batches

__all__ = ["calibration_error", "label_metrics", "predict"]

EVALUATION_BATCH = 500


def label_metrics(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Accuracy, mean negative log-likelihood (`loss`, nats) and expected calibration error (`ece`), all of floats.

    Args:
        logits: `n x classes`.
        labels: int64, `n`.
    """
    logits = logits.float()
    return {
        "accuracy": float((logits.argmax(1) == labels).double().mean()),
        "loss": float(F.cross_entropy(logits, labels)),
        "ece": calibration_error(logits.softmax(1), labels),
    }


def calibration_error(probabilities: Tensor, labels: Tensor, n_bins: int = 15) -> float:
    """Expected calibration error: mean gap between confidence and accuracy over bins of confidence, weighted by size.

    Guo et al. 2017, https://arxiv.org/abs/1706.04599, equation 3, with `n_bins` bins of equal width, closed on the
    right.

    Args:
        probabilities: `n x classes`.
        labels: int64, `n`.
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
    batch: int = EVALUATION_BATCH,
) -> Tensor:
    """Logits of every sample of a split in float32, `n x classes`; the network is left in evaluation mode."""
    network.eval()
    return torch.cat([network(images).float() for images in evaluation_batches(split, normalisation, batch)])
