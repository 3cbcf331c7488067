"""Acquisition functions (`functions`) and their optimisation (`optimisation`) over the trust region (`candidates`)."""
