"""Search spaces of small networks: what a student can be, what it costs, and its PyTorch module.

* `architecture`: the format in which every network is described, its operations, cost and execution order.
* `networks`: the PyTorch module of an architecture, its generated source, and kernels for training on a CPU.
* `design`: what a search space is made of, and how widths are solved from a budget.
* `spaces`: the search spaces, one file each.
* `drawing`: pictures of architectures.

Start with `architecture/format.py` and `design/space.py`. Import from the modules, as in
`from search_spaces.architecture.format import Architecture`: the package itself imports nothing.
"""

__distribution__ = "autokd"
