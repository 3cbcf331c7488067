from html_pages import Page

from autokd.analysis.inline_svg import inline_svg

SVG = (
    b'<?xml version="1.0"?><svg width="9"><metadata>who</metadata>'
    b'<defs><style type="text/css">*{stroke-linejoin: round; stroke-linecap: butt}</style></defs>'
    b'<g id="a"><path style="fill: #FFFFFF; stroke: #123456;fill: #222222"/></g><use href="#a"/></svg>'
)


def test_styles_become_attributes_which_no_policy_forbids() -> None:
    drawn = inline_svg(SVG, "p", 'a "b"', {"#222222": "var(--ink)"})
    assert drawn == (
        '<svg role="img" aria-label="a &#34;b&#34;" stroke-linejoin="round" stroke-linecap="butt" width="9">'
        '<defs></defs><g id="p-a"><path fill="var(--ink)" stroke="#123456"/></g><use href="#p-a"/></svg>'
    )
    assert Page(drawn).links == ["#p-a"]
