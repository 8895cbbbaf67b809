"""OKX's language."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from candleactors.sim.counters import Counters
from candleactors.sim.dialect import Answer, Dialect
from candleactors.sim.market import Market
from candleactors.sim.okx.instruments import all_instruments
from candleactors.sim.okx.rest import Rest
from candleactors.sim.okx.session import OkxSession

if TYPE_CHECKING:
    from candleactors.sim.okx.rules import OkxRules

_ROUTE: Final = "/ws/v5/"
_PATHS: Final = ("business", "public", "private")


class OkxDialect(Dialect):
    """Three WebSocket paths, of which one has candles, and REST with a budget for each path."""

    malformed = b'{"arg":{"channel":"candle1m","instId":]}'
    truncated = b'{"arg":{"channel":"candle1m","instId":"BTC-USDT"},"data":[["1597026383085","8533.02","85'

    def __init__(self, market: Market, rules: OkxRules, counters: Counters) -> None:
        self._market = market
        self._rules = rules
        self._counters = counters
        self._instruments = all_instruments(market)
        self.symbols = {name: instrument.spec.symbol for name, instrument in self._instruments.items()}
        self._rest = Rest(market, rules, self._instruments, counters)

    def open(self, target: str, number: int) -> OkxSession | None:
        path = target.partition("?")[0]
        end = path.removeprefix(_ROUTE)
        if not path.startswith(_ROUTE) or end not in _PATHS:
            return None
        return OkxSession(end, number, self._market, self._rules, self._instruments, self._counters)

    def answer(self, method: str, target: str, now_ms: int, *, lag_ms: int = 0) -> Answer:
        return self._rest.answer(method, target, now_ms, lag_ms=lag_ms)

    def limited(self, code: int, wait_s: float, now_ms: int) -> Answer:
        return self._rest.refuse(code or 429, wait_s, now_ms)

    def failed(self, code: int) -> Answer:
        return self._rest.failed(code or 503)
