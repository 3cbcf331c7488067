"""Acquisition functions and their optimisation."""
