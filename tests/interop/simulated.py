"""Simulators in a thread of their own whose clock runs fast: a minute lasts three seconds.

The clients keep to the real clock, which is where the simulators start.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import TypeVar
from urllib.parse import urlencode

import trio
import trio.testing
from attrs import evolve, frozen

from candleactors.model import MINUTE_MS, Timeframe
from candleactors.sim import Market, Rules, Simulator, SymbolSpec, TruthCandle, default_symbols
from candleactors.venues import codec
from candleactors.venues.base import Instrument

SYMBOLS = (
    *default_symbols(8),
    *default_symbols()[19:],  # not in letters of ASCII, on the spot market only
    SymbolSpec("BTC", "USDC", "67250.00", 2, 5, 30.0, 0.00005, "0.02"),
    SymbolSpec("ALGO", "USDT", "0.1820", 4, 1, 20.0, 0.0002, "900"),  # whose name is shorter at Bitfinex
    SymbolSpec("QUIET", "USDT", "1.0310", 4, 1, 4.0, 0.0005, "120"),  # now and then a minute without trades
)
PACE = 20
DEADLINE_S = 60
SEED = 3
MINUTE = Timeframe("1m")

T = TypeVar("T")

Columns = tuple[int, Decimal, Decimal, Decimal, Decimal, Decimal]
"""Open time in UTC milliseconds; open, high, low, close, volume."""


@frozen
class Simulated:
    """A simulator that listens at `address`, host and port. Its methods may be called from any thread but its own."""

    simulator: Simulator
    address: str
    token: trio.lowlevel.TrioToken

    def now_ms(self) -> int:
        """Return the venue's clock."""
        return self._call(self.simulator.now_ms)

    def truth(self, symbol: str, first_open_ms: int, timeframe: Timeframe = MINUTE) -> list[TruthCandle]:
        """Return all candles that opened at or after `first_open_ms` and are over, ascending."""
        simulator = self.simulator
        return self._call(lambda: simulator.truth(symbol, timeframe, first_open_ms, simulator.now_ms()))

    def violations(self) -> dict[str, int]:
        """Return how often clients broke each of the venue's rules."""
        return dict(self.simulator.counters.violations)

    def connections(self) -> int:
        """Return how many WebSocket connections there were."""
        return self.simulator.counters.connections

    def names(self) -> list[str]:
        """Return what is subscribed, as the venue names it."""
        simulator = self.simulator
        return self._call(lambda: [name for connection in simulator.connections for name in connection.names])

    def instruments(self) -> list[Instrument]:
        """Return what our codec makes of the venue's own list, all pages of it."""
        ours = codec(self.simulator.rules.name)
        found: list[Instrument] = []
        page: str | None = None
        while True:
            request = ours.instruments(page)
            got = ours.parse_instruments(self._get(f"{request.path}?{urlencode(request.params)}"), page)
            found += got.instruments
            page = got.next
            if page is None:
                return found

    def _get(self, target: str) -> bytes:
        simulator = self.simulator
        return self._call(lambda: simulator.dialect.answer("GET", target, simulator.now_ms()).body)

    def _call(self, ask: Callable[[], T]) -> T:
        return trio.from_thread.run_sync(ask, trio_token=self.token)


@contextmanager
def simulated(*venues: Rules) -> Iterator[dict[str, Simulated]]:
    """Run simulators of `venues` while the block lasts. All start eight of their seconds before a minute begins."""
    ready: queue.Queue[dict[str, Simulated] | BaseException] = queue.Queue()
    ending = trio.CancelScope()
    start_ms = time.time_ns() // (1_000_000 * MINUTE_MS) * MINUTE_MS - 8_000

    async def serve() -> None:
        began_s, token = trio.current_time(), trio.lowlevel.current_trio_token()

        def now_ms() -> int:
            return start_ms + int((trio.current_time() - began_s) * 1000)

        found: dict[str, Simulated] = {}
        with ending:
            async with trio.open_nursery() as nursery:
                for index, rules in enumerate(venues):
                    # Clients keep connections of HTTP for later by the real clock.
                    rules = evolve(rules, http_idle_s=rules.http_idle_s * PACE)
                    simulator = Simulator(Market(SEED + index, start_ms, SYMBOLS), rules, now_ms, seed=SEED)
                    await nursery.start(simulator.run)
                    host, port = await nursery.start(simulator.serve_tcp)
                    found[rules.name] = Simulated(simulator, f"{host}:{port}", token)
                ready.put(found)

    def run() -> None:
        try:
            trio.run(serve, clock=trio.testing.MockClock(rate=PACE))
        except BaseException as problem:
            ready.put(problem)
            raise

    thread = threading.Thread(target=run, name="simulators", daemon=True)
    thread.start()
    running = ready.get(timeout=30)
    if isinstance(running, BaseException):
        raise running
    try:
        yield running
    finally:
        next(iter(running.values())).token.run_sync_soon(ending.cancel)
        thread.join(timeout=30)
        assert not thread.is_alive()


def within_deadline(body: Callable[[], Awaitable[None]]) -> None:
    """Run `body` on asyncio; raises `TimeoutError` where it takes longer than `DEADLINE_S`."""
    asyncio.run(asyncio.wait_for(body(), DEADLINE_S))


def columns(truth: TruthCandle) -> Columns:
    """Return what every client keeps of a candle."""
    return truth.open_time_ms, truth.open, truth.high, truth.low, truth.close, truth.volume


def exact(row: list[float | str]) -> Columns:
    """Return a client's row in decimals: its floats are those that are written the same way."""
    first, *rest = row[:6]
    open_, high, low, close, volume = (Decimal(str(value)) for value in rest)
    return int(first), open_, high, low, close, volume
