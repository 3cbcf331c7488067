"""README.md and docs/ as text, and what is in it."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PAGES = {str(file.relative_to(ROOT / "docs")): file.read_text() for file in sorted((ROOT / "docs").rglob("*.md"))}
EVERYTHING = "\n".join([README, *PAGES.values()])


def blocks(language: str, text: str = EVERYTHING) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def block(language: str, words: str, text: str = EVERYTHING) -> str:
    """The one block of a language that has these words."""
    (found,) = [block for block in blocks(language, text) if words in block]
    return found
