"""Prints the recipe that can run here: `python -m autokd.recipes.runnable fashion-mnist`.

Where the recipe's data can neither be found nor fetched it says so in one line on stderr and prints `digits`, whose
data come with scikit-learn.
"""

import sys

from autokd.data.registry import load_data
from autokd.errors import InputError
from autokd.recipes.catalogue import find_config

FALLBACK = "digits"


def runnable(recipe: str) -> str:
    """The recipe itself if its data are there, else the one that needs no files."""
    config = find_config(recipe, [])
    try:
        load_data(config.data)
    except InputError as error:
        print(f"{error} Running the {FALLBACK} recipe instead.", file=sys.stderr)
        return FALLBACK
    return recipe


if __name__ == "__main__":
    print(runnable(sys.argv[1]))
