"""Conformance suites: what every space, executor, optimiser and method must hold, as pytest classes to subclass."""
