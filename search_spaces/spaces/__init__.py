"""The search spaces, one file each, and what cells share."""
