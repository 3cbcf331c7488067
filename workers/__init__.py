"""Executors, which run tasks in this process, in local processes or on a cluster and return `Future`s.

Start with `base.py`, which states what every executor guarantees. `registry.py` makes executors by name; `inline.py`
runs tasks in this process, and `local.py` in processes that it starts and replaces, with the code of
`worker_process.py`. `dask.py` and `ray.py` send them to a cluster, whose workers let such processes run them:
`hosted.py`. What these three share is in `lanes.py`.
`simulated.py` is a cluster in simulated time for benchmarks. The package itself imports nothing.
"""

# `workers` is a common name: autokd checks this mark to distinguish the package from another one that shadows it.
__distribution__ = "autokd"
