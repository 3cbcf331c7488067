"""Optuna's search spaces as coordinates in the unit cube."""
