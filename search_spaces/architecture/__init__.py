"""The format in which every network is described, and what can be computed from it without tensors.

Start with `format.py`, the `Architecture` itself. Its nodes run operations (`operations.py`), which are sequences of
layers (`layers.py`). `cost.py` computes what a network costs, `memory.py` what is alive while it runs, and
`schedule.py` an execution order with a low peak. `folding.py` folds batch norm into the convolution before it.
"""
