"""The page around an executed notebook: whole in one file, loading and running nothing."""

import html
import re
from html.parser import HTMLParser
from importlib.resources import files as package_files

# Whatever an output holds, a browser runs no script of it and fetches nothing: policies that a
# page states later can only narrow this one. Content Security Policy Level 3, section 3.3.
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; "
    "base-uri 'none'; form-action 'none'"
)
LOADING = {"src", "srcset", "data", "poster", "background", "href", "xlink:href"}
ELSEWHERE = re.compile(r"\s*(https?:|ftp:|//)", re.IGNORECASE)
STYLE_LOADS = re.compile(r"(?:url\(|@import)\s*['\"]?\s*((?:https?:)?//[^'\")\s]*)", re.IGNORECASE)


def lay_out_page(title: str, body: str) -> bytes:
    """Return the page that shows ``body``, the cells as HTML."""
    style = package_files(__package__).joinpath("notebook.css").read_text("utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>\n{style}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    ).encode()


def list_loaded(body: str) -> list[str]:
    """Return the addresses a browser would fetch to show ``body``; a link to click is none."""
    parser = _Loads()
    parser.feed(body)
    parser.close()
    return parser.found


class _Loads(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._in_style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_style = tag == "style"
        for name, value in attrs:
            if value is None:
                continue
            if name in LOADING and tag not in ("a", "area") and ELSEWHERE.match(value):
                self.found.append(value.strip())
            elif name == "style":
                self.found += STYLE_LOADS.findall(value)

    def handle_data(self, data: str) -> None:
        if self._in_style:
            self.found += STYLE_LOADS.findall(data)

    def handle_endtag(self, tag: str) -> None:
        self._in_style = False
