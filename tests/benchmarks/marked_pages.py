"""Pages whose tables are written by a program, between two marks."""

__all__ = ["between_marks"]

BEGIN, END = "<!-- report -->\n", "<!-- end of report -->\n"


def between_marks(page: str, tables: str) -> str:
    """The page with these tables in place of those that it has between its marks."""
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n{tables}\n\n{END}{rest.partition(END)[2]}"
