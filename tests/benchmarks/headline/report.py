"""The tables of the headline from results files.

    python tests/benchmarks/headline/report.py FILE [FILE ...] [--write]

Prints them, or writes them into RESULTS.md.
"""

import sys
from pathlib import Path

import optuna
from records import read_all
from tables import markdown

sys.path.append(str(Path(__file__).resolve().parents[1]))  # where benchmarks keep what they share

from marked_pages import report

if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it draws the settings of arm H
    report(__doc__, Path(__file__).with_name("RESULTS.md"), lambda files: markdown(read_all(*files)))
