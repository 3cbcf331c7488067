"""The command line: it parses, calls the public API, and prints the results."""

from autokd.cli.app import main

__all__ = ["main"]
