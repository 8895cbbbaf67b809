"""A page in a real browser, and whatever it does that it should not."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Request, Response

DEADLINE_S = 20
VARIABLE = "CANDLEACTORS_CHROMIUM"
FLAGS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

Candles = list[dict[str, Any]]


class Tab:
    """A page of the feed at `origin`.

    `problems` has what should not be: errors, failed requests, requests to anywhere else. Where there is trouble on
    purpose (`troubled`), only errors of the page's own and requests elsewhere count; the latter do not where the page
    that is shown is not the feed's (`elsewhere`).
    """

    def __init__(self, page: Page, origin: str, *, troubled: bool = False, elsewhere: bool = False) -> None:
        self.page = page
        self.origin = origin
        self.problems: list[str] = []
        page.on("pageerror", lambda error: self._problem(True, str(error)))
        if not elsewhere:
            page.on("request", self._requested)
        if not troubled:
            page.on("console", lambda message: self._problem(message.type in ("error", "warning"), message.text))
            page.on("requestfailed", lambda one: self._problem(not self._dropped(one), f"failed: {one.url}"))
            page.on("response", self._responded)

    def open(self, path: str = "", **query: str | float) -> None:
        """Go to a page of the feed."""
        self.page.goto(f"{self.origin}/{path}?{urlencode(query)}" if query else f"{self.origin}/{path}")

    def show(self, timeframe: str, path: str = "", symbol: str = "BTCUSDT", **query: str | float) -> None:
        """Go to a chart, and wait until it is live."""
        self.open(path, venue="binance-spot", symbol=symbol, timeframe=timeframe, **query)
        self.until("candleactors.state === 'live' && candleactors.candles().length > 1")

    def ask(self, expression: str) -> Any:
        """Return the value of an expression in the page."""
        return self.page.evaluate(expression)

    def until(self, expression: str, deadline_s: float = DEADLINE_S) -> None:
        """Wait until an expression is true in the page. (Playwright's own way needs `eval`, which the page forbids.)"""
        give_up_s = time.monotonic() + deadline_s
        guarded = f"(() => {{ try {{ return Boolean({expression}) }} catch (error) {{ return false }} }})()"
        while not self.ask(guarded):
            state = self.ask("window.candleactors?.state")
            assert time.monotonic() < give_up_s, f"never: {expression}; it is {state}; {self.problems}"
            self.page.wait_for_timeout(20)

    @property
    def state(self) -> str:
        """What the badge says."""
        text: str = self.ask("document.querySelector('#state').textContent")
        return text

    def candles(self) -> Candles:
        """Return all candles that the page has."""
        found: Candles = self.ask("candleactors.candles()")
        return found

    def closed(self) -> Candles:
        """Return the closed ones."""
        return [candle for candle in self.candles() if candle["closed"]]

    def _problem(self, is_one: bool, text: str) -> None:
        if is_one:
            self.problems.append(text)

    def _requested(self, request: Request) -> None:
        parts = urlsplit(request.url)
        self._problem(parts.scheme != "data" and f"{parts.scheme}://{parts.netloc}" != self.origin, request.url)

    def _responded(self, response: Response) -> None:
        self._problem(response.status >= 400, f"{response.status}: {response.url}")

    def _dropped(self, request: Request) -> bool:
        """Whether the page itself let go of the request, as it does when another stream is chosen."""
        return request.failure == "net::ERR_ABORTED"


@contextmanager
def running_chromium() -> Iterator[Browser]:
    """Run the browser around the body; skips where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: nox -s browser")
    with playwright.sync_playwright() as engine:
        flags = [*FLAGS, "--no-sandbox"] if os.geteuid() == 0 else list(FLAGS)
        own = engine.chromium.executable_path
        path = os.environ.get(VARIABLE) or shutil.which("chromium") or own
        if not Path(path).exists():
            pytest.skip(f"there is no Chromium: install it, or name it in {VARIABLE}")
        browser = engine.chromium.launch(executable_path=path, args=flags)
        try:
            yield browser
        finally:
            browser.close()
