"""Teachers' outputs on disk, which are computed once and read by every worker."""
