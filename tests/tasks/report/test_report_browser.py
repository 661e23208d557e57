"""The page in a real browser: it is drawn, asks for nothing, and complains of nothing."""

import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from pilotline.tasks.report.pages.page import write_report
from tests.support.servers.programs import require
from tests.support.tasks.reported import report_of


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Return Debian's chromium; skip where there is none, fail where CI promised it."""
    chromium = require("chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox"] if os.geteuid() == 0 else []
        )
        yield started
        started.close()


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_is_drawn_in_a_real_browser(
    browser: Browser, tmp_path: Path, width: int, scheme: str
) -> None:
    path = write_report(report_of(30, "<script>console.log(1)</script>"), tmp_path / "report.html")
    context = browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme="dark" if scheme == "dark" else "light",
    )
    page = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    picture = page.screenshot()
    wide = page.evaluate("document.documentElement.scrollWidth")
    drawn = page.evaluate(
        "[...document.querySelectorAll('svg')].map(e => e.getBoundingClientRect().height)"
    )
    back = page.evaluate("getComputedStyle(document.body).backgroundColor")
    context.close()
    assert said == []
    assert asked == [path.as_uri()]
    assert wide <= width  # nothing but the tables and the map scrolls sideways
    assert len(drawn) >= 9
    assert min(drawn) > 10
    assert back == {"light": "rgb(246, 247, 249)", "dark": "rgb(15, 19, 24)"}[scheme]
    assert len(set(pixels_of(picture))) > 50  # not blank: of one colour it would be a few


def pixels_of(png: bytes) -> bytes:
    """Return the filtered bytes of a PNG's pixels (its specification, section 11.2.4)."""
    at, found = 8, b""
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        if png[at + 4 : at + 8] == b"IDAT":
            found += png[at + 8 : at + 8 + length]
        at += length + 12
    return zlib.decompress(found)
