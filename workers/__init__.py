"""Executors, which run tasks in this process or in local processes and return `concurrent.futures.Future`s.

Start with `base.py`, which states what every executor guarantees. `registry.py` makes executors by name; `inline.py`
runs tasks in this process, and `local.py` in processes that it starts and replaces, with the code of
`worker_process.py`.
`simulated.py` is a cluster in simulated time for benchmarks. The package itself imports nothing.
"""

# `workers` is a common name: autokd checks this mark to distinguish the package from another one that shadows it.
__distribution__ = "autokd"
