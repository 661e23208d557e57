"""Pieces of a report's page that both of its parts use."""

from pilotline.tasks.report.plots.markup import Markup, join, tag


def figure(
    title: str, note: str, drawing: Markup, key: Markup | None, listed: Markup, wide: bool = False
) -> Markup:
    """Return a drawing with its heading, what its colours mean, and the same as a table."""
    return tag(
        "figure",
        tag("figcaption", tag("h3", title), tag("p", note, class_="note") if note else None),
        # What may scroll sideways must be reachable by keyboard.
        tag("div", drawing, class_="plot", tabindex="0" if wide else None),
        key,
        tag("details", tag("summary", "As a table"), listed),
        class_="whole" if wide else None,
    )


def grid(*figures: Markup) -> Markup:
    """Return figures side by side where the page is wide enough."""
    return tag("div", *figures, class_="grid") if figures else Markup()


def nothing(said: str) -> Markup:
    """Return a sentence in place of what there is nothing of."""
    return tag("p", said, class_="note")


def badge(text: str, kind: str) -> Markup:
    """Return a word on a coloured ground."""
    return tag("span", text, class_=f"badge {kind}")


def codes(text: str) -> Markup:
    """Return a command to copy."""
    return tag("code", text) if text else join()
