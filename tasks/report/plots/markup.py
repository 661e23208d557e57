"""HTML and SVG as text that is well-formed, whatever the names and values in it hold."""

from html import escape


class Markup(str):
    """Text that is markup already; any other text is escaped when it is put into some."""

    __slots__ = ()


def tag(name: str, /, *children: str | None, **attributes: object) -> Markup:
    """Return an element, also well-formed as XML; a child or attribute that is None is left out.

    Args:
        name: of the element.
        children: markup is kept, other text escaped.
        attributes: a trailing underscore is dropped, the others are hyphens: ``class_``.
    """
    shown = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(plain(_number(value)))}"'
        for key, value in attributes.items()
        if value is not None
    )
    inner = join(*children)
    return Markup(f"<{name}{shown}>{inner}</{name}>" if inner else _empty(name, shown))


def join(*children: str | None) -> Markup:
    """Return the children one after the other."""
    return Markup("".join(_markup(child) for child in children if child is not None))


def plain(text: str) -> str:
    """Return ``text`` without characters that XML has no way to hold, or that turn its direction.

    Source:
        XML 1.0, section 2.2.
    """
    return "".join(
        c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text
    )


def table(columns: list[str], rows: list[list[str]], numbers: int = 1) -> Markup:
    """Return a table that scrolls sideways where it is too wide.

    Args:
        columns: the headings.
        rows: a cell for each; markup is kept.
        numbers: the first column that is set to the right.
    """
    sides = [None if index < numbers else "n" for index in range(len(columns))]
    head = join(*(tag("th", c, scope="col", class_=s) for c, s in zip(columns, sides, strict=True)))
    body = (
        tag("tr", *(tag("td", cell, class_=s) for cell, s in zip(row, sides, strict=True)))
        for row in rows
    )
    whole = tag("table", tag("thead", tag("tr", head)), tag("tbody", *body))
    return tag("div", whole, class_="wide", tabindex="0", role="region", aria_label="Table")


def _markup(child: str) -> str:
    return child if isinstance(child, Markup) else escape(plain(child))


def _empty(name: str, shown: str) -> str:
    # HTML closes only these by themselves: an empty <td/> would stay open.
    alone = name in ("meta", "br", "hr", "rect", "line", "path", "circle", "polyline", "polygon")
    return f"<{name}{shown}/>" if alone else f"<{name}{shown}></{name}>"


def _number(value: object) -> str:
    """Return coordinates to a tenth: more is not seen, and a page holds thousands."""
    if isinstance(value, float):
        return f"{value:.1f}".removesuffix(".0")
    return str(value)
