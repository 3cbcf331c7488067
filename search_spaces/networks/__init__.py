"""PyTorch modules of architectures, and their generated source.

Start with `network.py`, which builds the module. `source.py` writes the same network as readable Python that needs only
torch, with the functions of `merging.py` and the classes of `modules.py` copied into it. `kernels` holds C code that
makes training on one CPU thread faster.
"""
