"""The command line: a face without logic of its own."""

from autokd.cli.app import main

__all__ = ["main"]
