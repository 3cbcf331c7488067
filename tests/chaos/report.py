"""The tables of chaos runs from results files.

    python tests/chaos/report.py FILE [FILE ...] [--write]

Prints them, or writes them into RESULTS.md.
"""

from pathlib import Path

from chaos_records import read  # which also finds what benchmarks share
from chaos_tables import markdown
from marked_pages import report

if __name__ == "__main__":
    report(__doc__, Path(__file__).with_name("RESULTS.md"), lambda files: markdown(read(*files)))
