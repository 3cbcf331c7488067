"""Conformance suites: pytest classes that test what every implementation of an interface must satisfy.

Subclass one in your own tests: `spaces.SpaceConformance` for a search space, `methods.MethodConformance` for a
distillation method, `optimizers.SamplerConformance` for an optimiser, `executors.ExecutorConformance` for an executor.
"""
