"""The tables of the headline from results files: `python tests/benchmarks/headline/report.py FILE [FILE ...]`."""

import argparse
import sys
from pathlib import Path

from records import read_all
from tables import markdown


def main() -> None:
    """Print the report of some files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", type=Path, nargs="+", help="results files; the first record of a run counts")
    arguments = parser.parse_args()
    if missing := [str(file) for file in arguments.files if not file.exists()]:
        sys.exit(f"headline: there is no file {', '.join(missing)}.")
    print(markdown(read_all(*arguments.files)))


if __name__ == "__main__":
    main()
