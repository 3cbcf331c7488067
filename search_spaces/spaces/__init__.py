"""The search spaces, one file each.

Start with `random_stages.py` and `randwire.py`, which are among the shortest, then `nago.py`, the default space.
`random_stages.py` is shared by RandWire and the generators of networkx, `cells.py` by the spaces of NAS-Bench-101 and
201, `two_input_cells.py` by those of DARTS and ENAS's micro cells. `design/registry.py` lists the names of all spaces.
"""
