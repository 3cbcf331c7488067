"""The tables of runs of `make search` from files of their results.

    python tests/benchmarks/recipe/report.py FILE [FILE ...] [--write]

Prints them, or writes them into RESULTS.md.
"""

import sys
from pathlib import Path

from recipe_runs import read
from recipe_tables import markdown

sys.path.append(str(Path(__file__).resolve().parents[1]))  # where benchmarks keep what they share

from marked_pages import report

if __name__ == "__main__":
    report(__doc__, Path(__file__).with_name("RESULTS.md"), lambda files: markdown(read(*files)))
