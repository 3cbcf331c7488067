"""The tables of the headline from results files.

    python tests/benchmarks/headline/report.py FILE [FILE ...] [--write]

Prints them, or writes them into RESULTS.md.
"""

import argparse
import sys
from pathlib import Path

from records import read_all
from tables import markdown

sys.path.append(str(Path(__file__).resolve().parents[1]))  # where benchmarks keep what they share

from marked_pages import between_marks

__all__ = ["main"]

RESULTS = Path(__file__).with_name("RESULTS.md")


def main() -> None:
    """Print the report of some files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+", help="results files; the first record of a run counts")
    parser.add_argument("--write", action="store_true", help="write them into RESULTS.md")
    arguments = parser.parse_args()
    if missing := [str(file) for file in arguments.files if not file.exists()]:
        sys.exit(f"headline: there is no file {', '.join(missing)}.")
    tables = markdown(read_all(*arguments.files))
    if arguments.write:
        RESULTS.write_text(between_marks(RESULTS.read_text(), tables))
    else:
        print(tables)


if __name__ == "__main__":
    main()
