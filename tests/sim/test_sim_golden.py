"""The generated market is the same for a given seed in every version: whoever makes it cheaper changes no byte of it.

Where one of the digests changes on purpose, seeds written down elsewhere no longer mean what they did.
"""

from __future__ import annotations

import hashlib

from sim_client import START_MS, SYMBOLS, session

from candleactors.model import HOUR_MS, MINUTE_MS, Timeframe
from candleactors.sim import SPOT_RULES, USDM_RULES, BinanceRules, Market, Outage, SymbolSpec, default_symbols
from candleactors.sim.dialect import Session
from candleactors.sim.pusher import Pusher

TIMEFRAMES = ("1m", "5m", "1h", "1d")


class Listener:
    """A subscriber that makes a digest of everything it is pushed."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.pushes = 0
        self._digest = hashlib.sha256()

    def push(self, stream: str, frame: bytes, *, closing: bool) -> None:
        self.pushes += 1
        self._digest.update(b"%s %d %s\n" % (stream.encode(), closing, frame))

    @property
    def digest(self) -> str:
        return self._digest.hexdigest()[:16]


def pushed(market: Market, rules: BinanceRules, for_ms: int, step_ms: int, *, trouble: bool) -> str:
    """Return a digest of all pushes of `market` and of the truth afterwards."""
    pusher, route = Pusher(rules), rules.kline_routes[0]
    raw = Listener(session(rules, market, f"{route}/ws"))
    wrapped = Listener(session(rules, market, f"{route}/stream"))
    for symbol in market.specs:
        for text in ("1s", *TIMEFRAMES) if symbol in ("BTCUSDT", "PERPUSDT") else TIMEFRAMES:
            pusher.add(raw, f"{symbol.lower()}@kline_{text}", START_MS)
    pusher.add(wrapped, "btcusdt@kline_1m", START_MS)
    for at_ms in range(START_MS, START_MS + for_ms, step_ms):
        pusher.push_due(at_ms)
        if trouble and at_ms == START_MS + 12 * MINUTE_MS + 17 * step_ms:
            market.halt("ETHUSDT", at_ms + 1, at_ms + 3 * MINUTE_MS)
            market.correct("BTCUSDT", at_ms - 2 * MINUTE_MS, at_ms)
            market.correct("PERPUSDT", at_ms - 3 * MINUTE_MS, at_ms)
    digest = hashlib.sha256(f"{raw.pushes} {raw.digest} {wrapped.pushes} {wrapped.digest}".encode())
    for symbol in market.specs:
        for text in TIMEFRAMES:
            for candle in market.truth(symbol, Timeframe(text), 0, START_MS + for_ms):
                facts = (symbol, text, candle.open_time_ms, candle.venue_close_ms, *candle.values())
                digest.update(" ".join(map(str, facts)).encode())
    return digest.hexdigest()[:16]


def test_the_default_market_is_pushed_byte_for_byte_as_ever() -> None:
    market = Market(3, START_MS, default_symbols(20))
    assert pushed(market, SPOT_RULES, HOUR_MS, 500, trouble=True) == "fb95afbe351f5781"


def test_outages_listings_and_futures_are_pushed_byte_for_byte_as_ever() -> None:
    outage = Outage(START_MS + 7 * MINUTE_MS + 1_234, START_MS + 11 * MINUTE_MS + 30_000)
    late = SymbolSpec("LATE", "USDT", "3.5", 3, 2, 12.0, listed_ms=START_MS - 21 * MINUTE_MS + 4_321)
    market = Market(4, START_MS, (*SYMBOLS, late), outages=[outage])
    assert pushed(market, USDM_RULES, 40 * MINUTE_MS, 250, trouble=False) == "c88bd78db7ebf151"
