"""The Gaussian process, the surrogate built on it, and its posterior."""
