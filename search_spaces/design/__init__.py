"""What a search space is made of: dimensions, blueprints, and widths that a budget decides.

Start with `space.py`, the base class of every space. Its parameters are dimensions (`dimensions.py`), and it draws a
`Blueprint` (`blueprint.py`), whose widths are solved from a budget (`budget.py`) with fast costs (`counting.py`).
`graphs.py` draws random graphs and `wiring.py` turns them into nodes; `open_graph.py` opens the widths of a finished
network again. `repair.py` makes parameters fit, `choice.py` makes one space of several, `envelope.py` tells what a
space offers under a budget, and `registry.py` finds spaces by name.
"""
