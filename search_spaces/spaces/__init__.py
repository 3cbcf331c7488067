"""The search spaces, one file each.

Start with `randwire.py`, which is one of the shortest, then `nago.py`, the default space. `cells.py` is shared by the
spaces of NAS-Bench-101 and 201, `two_input_cells.py` by those of DARTS and ENAS's micro cells. `design/registry.py`
lists the names of all spaces.
"""
