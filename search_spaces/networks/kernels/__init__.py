"""C kernels that make training on one CPU thread faster, compiled when they are first used.

Start with `bindings.py`, which wraps the kernels as functions of tensors and tells where they can be used. `library.py`
compiles the C files. `batch_norm.py`, `convolution.py` and `pooling.py` are the modules of `torch.nn` with these
kernels; weighted sums use them in `networks/merging.py`.
"""
