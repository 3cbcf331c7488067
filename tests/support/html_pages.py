"""HTML pages as a browser reads them, as far as tests look at them."""

import re
from html.parser import HTMLParser

__all__ = ["Page"]

VOID = {"meta", "br", "img", "link", "hr", "input"}
LOADING = ("src", "href", "xlink:href", "data", "action", "poster", "srcset")  # attributes that may name a file


class Page(HTMLParser):
    """A page, which must be well-formed.

    Attributes:
        text: All its text.
        ids: Of its elements.
        links: What its attributes and styles refer to.
        tags: The names of its elements.
        tables: Of each table, by its id, the rows: the words of a row's heading, and the values of its `data` elements.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.ids, self.links, self.tags = "", list[str](), list[str](), set[str]()
        self.tables: dict[str, dict[str, list[float]]] = {}
        self._open: list[str] = []
        self._rows: dict[str, list[float]] = {}
        self._heading = ""
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.tags.add(tag)
        self.ids += [values["id"]] if "id" in values else []
        self.links += [values[name] for name in LOADING if name in values]
        self.links += re.findall(r"url\(([^)]*)\)", " ".join(values.values()))
        if tag == "table":
            self._rows = self.tables[values.get("id", "")] = {}
        elif tag == "tr":
            self._heading = ""
        elif tag == "data":
            value = values["value"]
            self._rows.setdefault(self._heading, []).append(float(value))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        self.text += data
        if "th" in self._open:
            self._heading += data
        if self._open and self._open[-1] == "style":
            self.links += re.findall(r"url\(([^)]*)\)|@import", data)
