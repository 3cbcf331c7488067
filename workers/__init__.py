"""Where a task runs: this process or local processes, behind one `concurrent.futures`-shaped contract.

Importing this package imports nothing else: take `executor` from `workers.registry`, the contract from `workers.base`.
"""

# `workers` is a common name: autokd checks this mark to tell our package from one that shadows it.
__distribution__ = "autokd"
