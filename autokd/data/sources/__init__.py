"""Sources of samples, one file each. Start with `arrays`, which reads a user's own samples."""
