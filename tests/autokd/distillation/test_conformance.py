"""Every method of ours passes the conformance suite."""

from autokd.distillation import KD
from autokd.testing.methods import MethodConformance


class TestKD(MethodConformance):
    method = KD
