"""The teacher, and its outputs stored for all workers."""
