"""Pages whose tables are written by a program, between two marks."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

__all__ = ["between_marks", "report"]

BEGIN, END = "<!-- report -->\n", "<!-- end of report -->\n"


def report(description: str | None, page: Path, tables: Callable[[Sequence[Path]], str]) -> None:
    """The program that prints the tables of results files, or writes them into a page.

    Args:
        description: Its help.
        page: The page.
        tables: Makes the tables of some files.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+", help="results files")
    parser.add_argument("--write", action="store_true", help=f"write them into {page.name}")
    options = parser.parse_args()
    if missing := [str(file) for file in options.files if not file.exists()]:
        sys.exit(f"there is no file {', '.join(missing)}")
    if options.write:
        page.write_text(between_marks(page.read_text(), tables(options.files)))
    else:
        print(tables(options.files))


def between_marks(page: str, tables: str) -> str:
    """The page with these tables in place of those that it has between its marks."""
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n{tables}\n\n{END}{rest.partition(END)[2]}"
