"""What can be a student: search spaces, the one architecture format, its cost, and its PyTorch module.

Import from the modules, such as `from search_spaces.architecture.format import Architecture`: the package itself loads
nothing.
"""

__distribution__ = "autokd"
