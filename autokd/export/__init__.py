"""A trained student as a folder that needs nothing of AutoKD, and the check that it computes the same."""
