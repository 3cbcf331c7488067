"""The surrogate model: a Gaussian process, transforms of the objective's values, and the posterior at tried points."""
