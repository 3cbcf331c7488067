"""Images decoded once, into memory or into files that all processes map."""
