"""Bybit's language."""

from __future__ import annotations

from typing import TYPE_CHECKING

from candleactors.sim.bybit.limits import Limits
from candleactors.sim.bybit.listings import listings
from candleactors.sim.bybit.rest import Rest
from candleactors.sim.bybit.session import BybitSession
from candleactors.sim.counters import Counters
from candleactors.sim.dialect import Answer, Dialect
from candleactors.sim.market import Market

if TYPE_CHECKING:
    from candleactors.sim.bybit.rules import BybitRules


class BybitDialect(Dialect):
    """Public streams of one market under its own path, and REST with a limit on requests."""

    malformed = b'{"topic":"kline.1.BTCUSDT","data":[{"start":]}]}'
    truncated = b'{"topic":"kline.1.BTCUSDT","data":[{"start":1672324800000,"end":16723248'

    def __init__(self, market: Market, rules: BybitRules, counters: Counters) -> None:
        self.limits = Limits(rules, counters)
        self._market = market
        self._rules = rules
        self._counters = counters
        self._listed = listings(market, rules)
        self.symbols = {symbol: listing.spec.symbol for symbol, listing in self._listed.items()}
        self._rest = Rest(market, rules, self.limits, self._listed)

    def open(self, target: str, number: int) -> BybitSession | None:
        if target.partition("?")[0] != f"/v5/public/{self._rules.category}":
            return None
        return BybitSession(self._market, self._rules, self._listed, self._counters, number)

    def answer(self, method: str, target: str, now_ms: int, *, lag_ms: int = 0) -> Answer:
        return self._rest.answer(method, target, now_ms, lag_ms=lag_ms)

    def limited(self, code: int, wait_s: float, now_ms: int) -> Answer:
        """Return the answer with which a user's limit is enforced, or with `code` 403 the ban of an address."""
        if code == 403:
            if not self.limits.banned(now_ms):
                self.limits.ban(wait_s, now_ms)
            return self._rest.ban()
        self.limits.wait_ms(now_ms)
        self.limits.tell_to_wait(wait_s, now_ms)
        return self._rest.limited(code or 200, int(wait_s * 1000), now_ms)

    def failed(self, code: int) -> Answer:
        """Return an internal error in the venue's usual form, or an empty answer with HTTP `code`."""
        if code:
            return Answer(code, (("Content-Type", "text/html"),), b"")
        return self._rest.say(200, 10016, "Internal System Error.", {}, 0)
