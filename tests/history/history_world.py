"""Venues with a past: simulators, an empty store, and runs over their history in virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from e2e_world import EPOCH, World, open_world, other
from test_every_venue import spelled

from candleactors.core.holes import absent
from candleactors.core.stretches import Stretch
from candleactors.history import History, StreamReport
from candleactors.model import DAY_MS, HOUR_MS, MINUTE_MS, Candle, Gap, Source, Stream, Timeframe
from candleactors.settings import VenueSettings
from candleactors.sim import Market, SymbolSpec, default_symbols
from candleactors.sim.tape import Outage
from candleactors.stores.base import Archive
from candleactors.stores.sqlite import open_sqlite

M1, M7, H1 = Timeframe("1m"), Timeframe("7m"), Timeframe("1h")
RARE = SymbolSpec("RARE", "USDT", "10.000", 3, 2, 0.02)
"""Trades every fifty minutes or so."""
VENUES = ("binance-spot", "bybit-spot", "okx", "bitfinex")
OUTAGE = Outage(EPOCH - 20 * HOUR_MS - 17_000, EPOCH - 16 * HOUR_MS + 23_000)
"""Longer than a whole answer of some venues."""


class Requests:
    """What a simulator is asked over REST."""

    def __init__(self, world: World) -> None:
        self.asked: list[str] = []
        for sim in world.sims.values():
            sim.counters.observe = self._observe

    def _observe(self, kind: str, text: str) -> None:
        if kind == "rest":
            self.asked.append(text)

    def klines(self) -> list[str]:
        """Return the requests for candles since the last call."""
        asked, self.asked = self.asked, []
        return [text for text in asked if "candle" in text or "line" in text]


class Past:
    """A world with `markets` of venues, and a store."""

    def __init__(self, world: World, path: Path) -> None:
        self.world = world
        self.path = path
        self.requests = Requests(world)
        self.streams = [
            Stream(name, symbol, frame)
            for name, venue in world.settings.venues.items()
            for symbol in venue.symbols
            for frame in venue.timeframes
        ]

    def history(self, store: Archive) -> History:
        """Return a run over the world's venues."""
        return History(self.world.settings, store, network=self.world.network, clock=self.world.clock)

    @asynccontextmanager
    async def store(self) -> AsyncIterator[Archive]:
        """Open the store."""
        async with open_sqlite(self.path, threaded=False, guest=True) as store:
            yield store

    def truth(self, stream: Stream, first_ms: int, until_ms: int) -> dict[int, tuple[object, ...]]:
        """Return what the venue had, by open time."""
        found = self.world.sims[stream.venue].truth(stream.symbol, stream.timeframe, first_ms, until_ms)
        return {candle.open_time_ms: candle.values() for candle in found}


def values(candles: Iterable[Candle]) -> dict[int, tuple[object, ...]]:
    return {candle.open_time_ms: candle.values() for candle in candles}


@asynccontextmanager
async def open_past(
    tmp_path: Path,
    *names: str,
    hours: int = 48,
    symbols: tuple[SymbolSpec, ...] | None = None,
    outages: tuple[Outage, ...] = (OUTAGE,),
    derived: tuple[Timeframe, ...] = (),
    frames: tuple[str, ...] = ("1m",),
) -> AsyncIterator[Past]:
    """Run simulators of the venues `names`, whose market began `hours` ago, around the body."""
    market = Market(7, EPOCH, symbols or default_symbols(1), history_ms=hours * HOUR_MS, outages=outages)
    others: dict[str, VenueSettings] = {}
    for name in names:
        others |= other(name, *spelled(name, market), frames=frames, derived=derived)
    async with open_world(tmp_path, market=market, others=others) as world:
        yield Past(world, tmp_path / "candles.sqlite")
        assert world.violations() == {}


__all__ = [
    "DAY_MS", "EPOCH", "H1", "HOUR_MS", "M1", "M7", "MINUTE_MS", "OUTAGE", "RARE", "VENUES", "Gap", "Past", "Source",
    "StreamReport", "Stretch", "absent", "open_past", "values",
]  # fmt: skip
