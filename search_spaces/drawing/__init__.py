"""Drawings of architectures.

Start with `picture.py`, which writes a drawing to a file; `layout.py` computes where its nodes and lines go if Graphviz
is not installed.
"""
