"""The tables of the headline from results files.

    python tests/benchmarks/headline/report.py FILE [FILE ...] [--write]

Prints them, or writes them into RESULTS.md.
"""

import argparse
import sys
from pathlib import Path

from records import read_all
from tables import markdown

__all__ = ["between_marks", "main"]

RESULTS = Path(__file__).with_name("RESULTS.md")
BEGIN, END = "<!-- report -->\n", "<!-- end of report -->\n"


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


def between_marks(page: str, tables: str) -> str:
    """The page with these tables in place of those that it has between its marks."""
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n{tables}\n\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    main()
