"""Every method of ours passes the conformance suite."""

from autokd.distillation import METHODS
from autokd.testing.methods import MethodConformance

for method in METHODS.values():
    globals()[f"Test{method.__name__}"] = type(f"Test{method.__name__}", (MethodConformance,), {"method": method})
