"""Pictures as parts of an HTML page."""

import re
from collections.abc import Mapping

from markupsafe import Markup, escape

__all__ = ["inline_svg"]

REFERENCES = re.compile(r'(\bid="|\burl\(#|\bhref="#)')
METADATA = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)
STYLE = re.compile(r' style="([^"]*)"')
STYLE_OF_ALL = re.compile(r'<style type="text/css">\*\{([^}]*)\}</style>')
COLOUR = re.compile(r"\b(fill|stroke): (#[0-9a-fA-F]{6})\b")


def inline_svg(svg: bytes, name: str, label: str, themed: Mapping[str, str] | None = None) -> Markup:
    """A picture as an element of a page that holds others, too.

    Its ids begin with its name, since the ids of a page must differ; what stands before the element, and who made the
    picture, is left out. Styles become attributes, which a page shows whose policy allows no styles but its own.

    Args:
        svg: The file.
        name: Letters that no other picture of the page has as its name.
        label: What it shows, for those who cannot see it.
        themed: Colours, in lower case, that follow the page, with their names there: variables of CSS.
    """
    text, themed = svg.decode(), themed or {}
    element = METADATA.sub("", text[text.index("<svg") :])
    element = REFERENCES.sub(lambda found: f"{found[1]}{name}-", element)
    element = COLOUR.sub(lambda found: f"{found[1]}: {themed.get(found[2].lower(), found[2])}", element)
    of_all = "".join(f" {_attributes(found[1])}" for found in STYLE_OF_ALL.finditer(element))
    element = STYLE.sub(lambda found: f" {_attributes(found[1])}", STYLE_OF_ALL.sub("", element))
    return Markup(element.replace("<svg", f'<svg role="img" aria-label="{escape(label)}"{of_all}', 1))


def _attributes(style: str) -> str:
    """The declarations of a style as attributes of SVG, the last of each property."""
    declared = dict(part.split(":", 1) for part in style.split(";") if ":" in part)
    return " ".join(f'{name.strip()}="{value.strip()}"' for name, value in declared.items())
