"""A person at the Prefect UI: Debian's chromium, driven by Playwright."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Locator, Page, ViewportSize, sync_playwright

from pilotline.flows.server.api import BUSY
from tests.support.servers.programs import require
from tests.support.waiting import stretched

SHOTS = "PILOTLINE_SCREENSHOTS"  # the folder that pictures go to
STEP_LIMIT_S = 30  # the slowest step takes 3 s on two idle cores
# The page draws its graph of tasks by WebGL, without end, which is a core's work without a GPU.
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-3d-apis"]
TRIES = 5  # of somebody whom a busy server turns away
NOWHERE = "about:blank"  # between two steps nothing is drawn
SIZE = ViewportSize(width=1100, height=1200)


class Person:
    """Somebody who looks at the Prefect UI and decides there."""

    def __init__(self, page: Page, ui: str, shots: Path) -> None:
        self._page = page
        self._ui = ui
        self._shots = shots

    def decide(
        self,
        run: str,
        shot: str,
        decision: str,
        approver: str,
        code: Callable[[], str],
        comment: str,
    ) -> str:
        """Open the page of a suspended run, read its form, fill it in and send it.

        A server that is too busy to take it is asked again from the start.

        Args:
            run: the flow run.
            shot: what the picture of the form is called.
            decision: what is typed into the first field, and so on.
            approver: who decides.
            code: looks at the device, last of all: what it shows holds no longer than a minute.
            comment: why.

        Returns:
            What the form said above its fields.
        """
        for _ in range(TRIES):
            self._page.goto(f"{self._ui}/runs/flow-run/{run}")
            self._page.get_by_role("button", name="Resume").first.click()
            form = self._page.get_by_role("dialog")
            form.get_by_text("Not counted").or_(form.get_by_text("is decided by")).first.wait_for()
            said = form.inner_text()
            for label, text in (
                ("Decision", decision),
                ("Approver", approver),
                ("Comment", comment),
            ):
                self._type(form, label, text)
            self._type(form, "One-time code", code())
            card = form.locator(".p-modal__footer").locator("..")  # the form covers the whole page
            card.screenshot(path=self._shots / f"{shot}.png")
            with self._page.expect_response(lambda answer: answer.url.endswith("/resume")) as sent:
                # A click misses what moves.
                form.get_by_role("button", name="Submit").press("Enter")
            if sent.value.status != BUSY:
                break
        assert sent.value.status in (200, 201), sent.value.text()
        form.wait_for(state="hidden")
        self._page.goto(NOWHERE)
        return said

    def look(self, run: str, for_text: str, shot: str) -> None:
        """Open the page of a run and wait until it shows ``for_text``."""
        self._page.goto(f"{self._ui}/runs/flow-run/{run}")
        self._page.get_by_text(for_text).first.wait_for()
        self._page.screenshot(path=self._shots / f"{shot}.png")
        self._page.goto(NOWHERE)

    def _type(self, form: Locator, label: str, text: str) -> None:
        named = self._page.locator(".schema-form-property__label", has_text=label)
        field = form.locator(".schema-form-property", has=named).locator("textarea")
        field.click()
        field.press_sequentially(text)


@contextmanager
def at_browser(ui: str, shots: Path) -> Iterator[Person]:
    """Give somebody at a browser; skip where there is none, fail where CI promised it."""
    chromium = require("chromium")
    shots.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=OPTIONS)
        page = browser.new_page(viewport=SIZE, device_scale_factor=1)
        page.set_default_timeout(1000 * stretched(STEP_LIMIT_S))
        yield Person(page, ui, shots)
        browser.close()
