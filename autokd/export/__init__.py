"""Trained students as folders that do not need AutoKD, and the check that they still compute the same."""
