"""Optuna's search spaces as coordinates in the unit cube: `coordinates` encodes one parameter, `encoding` all."""
