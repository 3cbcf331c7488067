"""Prints a recipe that can run on this machine: `python -m autokd.recipes.runnable fashion-mnist`.

This is the given recipe, unless its data can neither be found nor downloaded. Then it prints a line about this to
stderr and `digits` to stdout, whose data are part of scikit-learn.
"""

import sys

from autokd.data.registry import load_data
from autokd.errors import InputError
from autokd.recipes.catalogue import find_config

FALLBACK = "digits"


def runnable(recipe: str) -> str:
    """The given recipe if its data can be loaded, else `digits`, which needs no files."""
    config = find_config(recipe, [])
    try:
        load_data(config.data)
    except InputError as error:
        print(f"{error} Running the {FALLBACK} recipe instead.", file=sys.stderr)
        return FALLBACK
    return recipe


if __name__ == "__main__":
    print(runnable(sys.argv[1]))
