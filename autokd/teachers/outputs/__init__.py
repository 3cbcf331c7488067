"""The teacher's outputs on disk: computed once, read by every worker."""
