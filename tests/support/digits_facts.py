"""What a search knows of digits and their teacher, without loading them."""

from autokd.searches.facts import Facts

__all__ = ["DIGITS"]

DIGITS = Facts(
    input_shape=(1, 8, 8),
    classes=10,
    data_digest="data",
    normalisation=((0.3,), (0.4,)),
    teacher_digest="teacher",
    teacher_params=77_754,
    teacher_macs=1_000_000,
    teacher_metrics={"accuracy": 0.99},
    device="cpu",
    precision="float32",
    versions={"python": "3"},
)
