"""Names of searches and of what is in them, which folders have, too."""

import re

__all__ = ["NAME", "named_like"]

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
"""Pattern of a name."""


def named_like(text: str) -> str:
    """A name like a text, with hyphens for what no name contains; the text itself if nothing else is in it."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).lstrip("._-") or text
