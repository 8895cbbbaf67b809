"""The dashboard in a real browser, beside a real feed of a simulated venue. Run these with ``nox -s browser``."""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from feed_process import FeedProcess, running_feed, running_simulator
from tab import Tab, running_chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Route

pytestmark = [pytest.mark.browser, pytest.mark.timeout(90)]

DAY_MS = 86_400_000
TOKEN = "0123456789abcdef"
PHONE = {"width": 360, "height": 740}
NewTab = Callable[..., Tab]
FIELDS = ("open_time_ms", "open", "high", "low", "close", "volume", "revision")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_chromium() as chromium:
        yield chromium


@pytest.fixture(scope="module")
def simulator(browser: Browser) -> Iterator[str]:
    with running_simulator() as address:
        yield address


@pytest.fixture(scope="module")
def embedder(browser: Browser) -> Iterator[int]:
    """The port of a web server whose pages embed the address behind their question mark."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(f'<link rel="icon" href="data:,"><iframe src="{urlsplit(self.path).query}">'.encode())

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def feed(simulator: str, embedder: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FeedProcess]:
    web = f'frame_ancestors = ["http://127.0.0.1:{embedder}"]'
    with running_feed(tmp_path_factory.mktemp("feed"), simulator, web) as process:
        yield process


@pytest.fixture
def mortal(simulator: str, tmp_path: Path) -> Iterator[FeedProcess]:
    """A feed of one's own, which may be killed."""
    with running_feed(tmp_path, simulator) as process:
        yield process


@pytest.fixture
def new_tab(browser: Browser) -> Iterator[NewTab]:
    """Opens tabs, none of which may have a problem; where the test makes trouble, no error of the page's own."""
    tabs: list[Tab] = []

    def make(feed: FeedProcess, troubled: bool = False, elsewhere: bool = False, **options: Any) -> Tab:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        tabs.append(Tab(context.new_page(), feed.origin, troubled=troubled, elsewhere=elsewhere))
        return tabs[-1]

    yield make
    problems = [problem for tab in tabs for problem in tab.problems]
    for tab in tabs:
        tab.page.unroute_all(behavior="wait")
        tab.page.context.close()
    assert not problems


def whole(candles: list[dict[str, Any]], step_ms: int) -> bool:
    """Whether each interval is there once, in order; they begin anew every day."""
    opens = [candle["open_time_ms"] for candle in candles]
    return all(other == min(one + step_ms, one - one % DAY_MS + DAY_MS) for one, other in pairwise(opens))


def stored(feed: FeedProcess, candles: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what the feed has of the intervals of `candles`."""
    first, *_, last = candles
    page = feed.get(
        "api/candles",
        **{name: first[name] for name in ("venue", "symbol", "timeframe")},
        start=first["open_time_ms"],
        end=last["open_time_ms"],
        limit=5000,
    )
    found: list[dict[str, Any]] = page["candles"]
    return found


def told(candles: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [tuple(candle[name] for name in FIELDS) for candle in candles]


def test_closed_candles_are_there_within_a_second(feed: FeedProcess, new_tab: NewTab) -> None:
    tab = new_tab(feed)
    tab.show("1s")
    before = tab.ask("candleactors.candles().length")
    tab.until(f"candleactors.candles().length > {before + 8}")
    live = tab.closed()[-5:]  # the first ones had closed while the page was loaded
    # The page's clock is the simulator's: both are this machine's.
    late_ms = [tab.ask(f"candleactors.takenMs({one['open_time_ms']})") - one["close_time_ms"] - 1 for one in live]
    assert all(0 <= late < 1000 for late in late_ms), late_ms
    assert whole(tab.closed(), 1000)
    assert tab.state == "live"


def test_forming_candles_move(feed: FeedProcess, new_tab: NewTab) -> None:
    tab = new_tab(feed)
    tab.show("1m")
    tab.until("!candleactors.candles().at(-1).closed")
    first = tab.candles()[-1]
    tab.until(f"candleactors.candles().at(-1).volume !== '{first['volume']}'")
    assert tab.ask("document.querySelector('#figures').textContent").startswith("BTCUSDT 1m binance-spot")


def test_nothing_is_missing_after_a_restart(mortal: FeedProcess, new_tab: NewTab) -> None:
    tab = new_tab(mortal, troubled=True)
    tab.show("1s", grace_s=0.5, retry_s=0.5)
    tab.until("candleactors.candles().filter((one) => one.source === 'ws').length > 2")
    mortal.end(signal.SIGKILL)
    tab.until("candleactors.state === 'reconnecting'")
    was = tab.closed()[-1]["open_time_ms"]
    mortal.start()
    tab.until("candleactors.state === 'live'")
    tab.until(f"candleactors.candles().filter((one) => one.closed).at(-1).open_time_ms > {was + 5000}")
    candles = tab.closed()
    assert whole(candles, 1000)
    assert told(candles) == told(stored(mortal, candles))
    tab.until("candleactors.drawn().join() === candleactors.candles().map((one) => one.open_time_ms).join()")
    # What closed while the feed was away came over REST, which the chart shows.
    tab.until("Number(document.querySelector('#marks [data-kind=fetched] b').textContent) > 0")


def test_without_events_the_page_polls_and_returns(mortal: FeedProcess, new_tab: NewTab) -> None:
    tab = new_tab(mortal, troubled=True)
    tab.show("1s", poll_s=0.5, grace_s=0.2, retry_s=0.2)
    live = re.compile(r"/api/candles/stream\?")
    tab.page.route(live, lambda route: route.abort())
    mortal.end(signal.SIGTERM)
    tab.until("candleactors.state === 'reconnecting'")
    mortal.start()
    tab.until("candleactors.state === 'polling'")
    polled = tab.closed()[-1]["open_time_ms"]
    tab.until(f"candleactors.candles().at(-1).open_time_ms >= {polled + 3000}")
    assert tab.state == "polling"
    tab.page.unroute(live)
    tab.until("candleactors.state === 'live'")
    back = tab.closed()[-1]["open_time_ms"]
    tab.until(f"candleactors.candles().at(-1).open_time_ms >= {back + 3000}")
    candles = tab.closed()
    assert whole(candles, 1000)
    assert told(candles) == told(stored(mortal, candles))


def test_events_that_are_refused_are_polled_for(feed: FeedProcess, new_tab: NewTab) -> None:
    tab = new_tab(feed, troubled=True)
    live = re.compile(r"/api/candles/stream\?")
    tab.page.route(live, lambda route: route.fulfill(status=503, body="no"))
    tab.open(venue="binance-spot", symbol="BTCUSDT", timeframe="1s", poll_s=0.5)
    tab.until("candleactors.state === 'polling'")
    before = tab.closed()[-1]["open_time_ms"]
    tab.until(f"candleactors.candles().at(-1).open_time_ms > {before}")
    tab.page.unroute(live)
    tab.until("candleactors.state === 'live'")
    assert whole(tab.closed(), 1000)


def test_a_connection_that_is_silently_dead_is_noticed(mortal: FeedProcess, new_tab: NewTab) -> None:
    tab = new_tab(mortal, troubled=True)
    tab.show("1s", grace_s=0.5, retry_s=0.5, stale_s=2)
    mortal.send(signal.SIGSTOP)
    tab.until("candleactors.state === 'reconnecting'")
    mortal.send(signal.SIGCONT)
    tab.until("candleactors.state === 'live'")
    was = tab.closed()[-1]["open_time_ms"]
    tab.until(f"candleactors.candles().at(-1).open_time_ms > {was + 1000}")
    assert whole(tab.closed(), 1000)


def test_what_is_old_says_so(mortal: FeedProcess, new_tab: NewTab) -> None:
    tab = new_tab(mortal, troubled=True)
    tab.show("1m", grace_s=0.2, retry_s=0.2, stale_s=1)
    mortal.end(signal.SIGKILL)
    tab.until("candleactors.state === 'stale'")
    mortal.start()
    tab.until("candleactors.state === 'live'")


def test_a_page_that_was_put_aside_catches_up(feed: FeedProcess, new_tab: NewTab) -> None:
    tab = new_tab(feed)
    tab.show("1s")
    tab.ask("dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true })) && null")
    last = tab.candles()[-1]["open_time_ms"]
    while stored(feed, [tab.candles()[0], {"open_time_ms": last + 60_000}])[-1]["open_time_ms"] < last + 3000:
        tab.page.wait_for_timeout(50)
    assert tab.candles()[-1]["open_time_ms"] == last
    tab.ask("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true })) && null")
    tab.until(f"candleactors.state === 'live' && candleactors.candles().at(-1).open_time_ms > {last + 3000}")
    assert whole(tab.closed(), 1000)


def test_any_timeframe(feed: FeedProcess, new_tab: NewTab) -> None:
    tab = new_tab(feed)
    tab.show("1m")
    tab.page.fill("#timeframe", "7m")
    tab.page.press("#timeframe", "Enter")
    tab.until("candleactors.state === 'live' && candleactors.candles()[0]?.timeframe === '7m'")
    assert whole(tab.closed(), 420_000)
    tab.page.fill("#timeframe", "90s")
    tab.page.press("#timeframe", "Enter")
    tab.until("candleactors.candles()[0]?.timeframe === '90s'")
    assert "timeframe=90s" in tab.page.url
    tab.page.go_back()
    tab.until("candleactors.candles()[0]?.timeframe === '7m' && candleactors.state === 'live'")


def test_older_candles_come_when_they_are_scrolled_to(feed: FeedProcess, new_tab: NewTab) -> None:
    tab = new_tab(feed)
    tab.show("1m")
    before = len(tab.candles())
    assert 500 <= before < 510
    chart = tab.page.locator("#chart").bounding_box()
    assert chart is not None
    y = chart["y"] + 200
    for _ in range(20):
        tab.page.mouse.move(chart["x"] + 60, y)
        tab.page.mouse.down()
        tab.page.mouse.move(chart["x"] + 760, y, steps=4)
        tab.page.mouse.up()
        if len(tab.candles()) > before + 100:
            break
    tab.until(f"candleactors.candles().length > {before + 100}")
    assert whole(tab.closed(), 60_000)


def test_what_the_feed_does_not_know(feed: FeedProcess, new_tab: NewTab) -> None:
    tab = new_tab(feed, troubled=True)
    tab.open(venue="binance-spot", symbol="NOPEUSDT", timeframe="1m")
    tab.until("candleactors.state === 'parked'")
    assert "does not know" in tab.page.locator("#notice").inner_text()
    for symbol, timeframe, message in (
        ("BTCUSDT", "7x", '"7x" is not a timeframe'),
        ("NOPE/USDT", "1m", '"NOPE/USDT" is not a symbol of binance-spot'),
    ):
        tab.page.fill("#symbol", symbol)
        tab.page.fill("#timeframe", timeframe)
        tab.page.click("text=Show")
        tab.until("candleactors.state === 'refused'")
        assert message in tab.page.locator("#notice").inner_text()
    tab.page.fill("#symbol", "BTC/USDT")
    tab.page.press("#symbol", "Enter")
    tab.until("candleactors.state === 'live' && candleactors.candles().length > 1")
    assert not tab.page.locator("#notice").is_visible()


def test_marks(feed: FeedProcess, new_tab: NewTab) -> None:
    """What happens rarely is put into the feed's own answer."""
    tab = new_tab(feed)
    gap: dict[str, int] = {}

    def candles(route: Route) -> None:
        answer = route.fetch().json()
        found = answer["candles"]
        if len(found) > 100:
            found[-90]["revision"] = 2
            found[-80] |= {"complete": False, "missing": 3}
            gap.update(first=found[-70]["open_time_ms"], last=found[-61]["open_time_ms"])
            del found[-70:-60]
        route.fulfill(json=answer)

    def gaps(route: Route) -> None:
        one = {"first_open_ms": gap["first"], "last_open_ms": gap["last"], "count": 10, "reason": "venue"}
        route.fulfill(json={"gaps": [one]})

    tab.page.route(re.compile(r"/api/candles\?.*&timeframe=1m&limit=500"), candles)
    tab.page.route(re.compile(r"/api/gaps\?"), gaps)
    tab.show("1m")
    for kind in ("gaps", "revised", "incomplete"):
        tab.until(f"document.querySelector('#marks [data-kind={kind}] b').textContent === '1'")
    assert tab.ask("candleactors.gaps()[0].count") == 10
    assert len(tab.ask("candleactors.drawn()")) == len(tab.candles()) >= 490


def test_market_watch(feed: FeedProcess, new_tab: NewTab) -> None:
    tab = new_tab(feed)
    tab.show("1m")
    prices = "[...document.querySelectorAll('#watch td:nth-child(3)')].map((one) => one.textContent)"
    tab.until(f"{prices}.length === 2 && {prices}.every((text) => Number(text) > 0)")
    before = tab.ask(prices)
    tab.until(f"{prices}.join() !== '{','.join(before)}'")
    tab.page.fill("#watch-symbol", "SOL/USDT")
    tab.page.click("text=Watch >> nth=-1")
    tab.until(f"{prices}.length === 3 && Number({prices}[2]) > 0")
    owners = {one["symbol"]: one["owners"] for one in feed.get("api/streams")["streams"]}
    assert "page" in owners["SOLUSDT"]
    tab.page.click("#watch a:has-text('SOLUSDT')")
    tab.until("candleactors.candles().length > 1 && candleactors.candles()[0].symbol === 'SOLUSDT'")
    tab.page.click("#watch a:has-text('BTCUSDT')")
    tab.page.click("button[aria-label='Stop watching SOLUSDT']")
    tab.until(f"{prices}.length === 2")


def test_health(feed: FeedProcess, new_tab: NewTab) -> None:
    tab = new_tab(feed)
    tab.show("1m")
    tab.until("document.querySelector('#health-overall').textContent === 'healthy'")
    text = tab.page.locator("#health").inner_text()
    for word in ("restarts", "repairs", "close to reader", "open gaps", "reconnects", "binance-spot", "#1", "/500"):
        assert word in text
    assert tab.ask("document.querySelector('#health meter').max") == 500


def test_phone(feed: FeedProcess, new_tab: NewTab) -> None:
    tab = new_tab(feed, viewport=PHONE, has_touch=True, is_mobile=True)
    tab.show("1m")
    wide = "document.documentElement.scrollWidth > innerWidth"
    assert not tab.ask(wide)
    assert tab.ask("[...document.querySelectorAll('details')].every((one) => !one.open)")
    tab.page.tap("summary:has-text('Market watch')")
    tab.page.tap("summary:has-text('Health')")
    tab.until("document.querySelectorAll('#watch a').length === 2 && document.querySelector('#health meter')")
    assert not tab.ask(wide)
    narrow = "(one) => one.clientWidth && one.clientWidth < 24"
    assert tab.ask(f"[...document.querySelectorAll('button, input, select')].filter({narrow}).length") == 0


def test_dark_and_light(feed: FeedProcess, new_tab: NewTab) -> None:
    tab = new_tab(feed, color_scheme="dark")
    tab.show("1m")
    background = "getComputedStyle(document.body).backgroundColor"
    dark = tab.ask(background)
    tab.page.emulate_media(color_scheme="light")
    tab.until(f"{background} !== '{dark}'")
    light = tab.ask(background)
    tab.page.click("#theme")
    assert tab.ask(background) == dark
    tab.page.reload()
    tab.until("candleactors.state === 'live'")
    assert tab.ask(background) == dark
    tab.page.click("#theme")
    assert tab.ask(background) == light


def test_chart_alone(feed: FeedProcess, new_tab: NewTab) -> None:
    tab = new_tab(feed)
    tab.show("1m", "chart", theme="light")
    assert tab.page.locator("header").count() == 0
    assert tab.ask("document.documentElement.dataset.theme") == "light"


def test_chart_in_another_page(feed: FeedProcess, embedder: int, new_tab: NewTab) -> None:
    chart = f"{feed.origin}/chart?venue=binance-spot&symbol=ETHUSDT&timeframe=1m"
    tab = new_tab(feed, elsewhere=True)
    tab.page.goto(f"http://127.0.0.1:{embedder}/?{chart}")
    tab.page.frame_locator("iframe").locator("#state[data-state=live]").wait_for()
    # The same page at an origin that the configuration does not name.
    tab = new_tab(feed, troubled=True, elsewhere=True)
    tab.page.goto(f"http://localhost:{embedder}/?{chart}")
    assert tab.page.frame_locator("iframe").locator("#state").count() == 0


def test_token(simulator: str, tmp_path: Path, new_tab: NewTab) -> None:
    with running_feed(tmp_path, simulator, token=TOKEN) as guarded:
        tab = new_tab(guarded, troubled=True)
        tab.open(venue="binance-spot", symbol="BTCUSDT", timeframe="1m")
        tab.page.fill("#login-token", "something else 123")
        tab.page.press("#login-token", "Enter")
        tab.page.locator("text=That is not the token.").wait_for()
        tab.page.fill("#login-token", TOKEN)
        with tab.page.expect_navigation():
            tab.page.press("#login-token", "Enter")
        tab.until("candleactors.state === 'live' && candleactors.candles().length > 1")
        tab.until("document.querySelectorAll('#watch a').length === 2")
        assert TOKEN not in tab.ask("document.cookie + JSON.stringify(localStorage)")


def test_description_of_the_api(feed: FeedProcess, new_tab: NewTab) -> None:
    tab = new_tab(feed)
    tab.open("docs")
    tab.page.locator("[data-path='/api/candles/stream']").first.wait_for()
    assert tab.ask("document.querySelectorAll('.opblock').length") >= 10
