"""The tables of chaos runs from results files.

    python tests/chaos/report.py FILE [FILE ...] [--write]

Prints them, or writes them into RESULTS.md.
"""

import argparse
from pathlib import Path

from chaos_records import read
from chaos_tables import markdown
from marked_pages import between_marks

RESULTS = Path(__file__).with_name("RESULTS.md")


def main() -> None:
    """Print the report of some files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+", help="results files")
    parser.add_argument("--write", action="store_true", help="write them into RESULTS.md")
    options = parser.parse_args()
    tables = markdown(read(*options.files))
    if options.write:
        RESULTS.write_text(between_marks(RESULTS.read_text(), tables))
    else:
        print(tables)


if __name__ == "__main__":
    main()
