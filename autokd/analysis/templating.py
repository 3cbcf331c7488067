"""Templates of HTML, and how values are written in them."""

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from autokd.searches.tables import count, counted, decimal, duration, moment, percent, tightest_limit

__all__ = ["environment"]


def environment(*packages: str) -> Environment:
    """What renders the templates of packages, and those of `autokd.analysis`, which they may include.

    Every value is escaped, and one that is missing is an error.
    """
    made = Environment(
        loader=ChoiceLoader([PackageLoader(package) for package in (*packages, "autokd.analysis")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    formats = (count, counted, decimal, duration, moment, percent, tightest_limit)
    made.filters.update({function.__name__: function for function in formats})
    return made
