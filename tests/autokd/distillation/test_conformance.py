"""Every method of ours passes the conformance suite."""

from autokd.distillation import METHODS
from autokd.testing.methods import MethodConformance

KINDS = {"at": ("images", "signals")}  # a vector has no map of attention

for name, method in METHODS.items():
    kinds = KINDS.get(name, MethodConformance.kinds)
    globals()[f"Test{method.__name__}"] = type(
        f"Test{method.__name__}", (MethodConformance,), {"method": method, "kinds": kinds}
    )
