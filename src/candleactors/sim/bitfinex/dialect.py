"""Bitfinex's language."""

from __future__ import annotations

from typing import TYPE_CHECKING

from candleactors.sim.bitfinex.listings import listings
from candleactors.sim.bitfinex.rest import Rest
from candleactors.sim.bitfinex.session import BitfinexSession
from candleactors.sim.counters import Counters
from candleactors.sim.dialect import Answer, Dialect
from candleactors.sim.market import Market

if TYPE_CHECKING:
    from candleactors.sim.bitfinex.rules import BitfinexRules


class BitfinexDialect(Dialect):
    """Candle channels on one WebSocket path, and REST with a limit for each endpoint."""

    malformed = b"[343351,[1574698260000,7379.785503,,7388.3,7379.785503,1.68829482],1574698265000]"
    truncated = b"[343351,[1574698260000,7379.785503,7383.8,738"

    def __init__(self, market: Market, rules: BitfinexRules, counters: Counters) -> None:
        self._market = market
        self._rules = rules
        self._counters = counters
        self._listed = listings(market)
        self.symbols = {symbol: listing.spec.symbol for symbol, listing in self._listed.items()}
        self._rest = Rest(market, rules, self._listed, counters)

    def open(self, target: str, number: int) -> BitfinexSession | None:
        if target.partition("?")[0] != "/ws/2":
            return None
        return BitfinexSession(self._market, self._rules, self._listed, self._counters, number)

    def answer(self, method: str, target: str, now_ms: int, *, lag_ms: int = 0) -> Answer:
        return self._rest.answer(method, target, now_ms, lag_ms=lag_ms)

    def limited(self, code: int, wait_s: float, now_ms: int) -> Answer:
        return self._rest.refuse(code or 429, wait_s, now_ms)

    def failed(self, code: int) -> Answer:
        """Return the word of a maintenance, or an empty answer with HTTP `code`."""
        if code:
            return Answer(code, (("Content-Type", "text/html"),), b"")
        return self._rest.error(500, 20060, "maintenance", 0)
