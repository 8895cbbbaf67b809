"""Binance's language, and Aster's."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote

from candleactors.sim.binance.rest import Rest
from candleactors.sim.binance.session import BinanceSession
from candleactors.sim.binance.streams import Streams
from candleactors.sim.binance.weights import Weights
from candleactors.sim.binance.wire import Decimals
from candleactors.sim.counters import Counters
from candleactors.sim.dialect import Answer, Dialect
from candleactors.sim.market import Market

if TYPE_CHECKING:
    from candleactors.sim.binance.rules import BinanceRules


class BinanceDialect(Dialect):
    """Raw and combined streams under the routes of `rules`, and REST with request weights."""

    malformed = b'{"e":"kline","k":{]}'
    truncated = b'{"e":"kline","E":1672515782136,"s":"BTCUSDT","k":{"t":16725157'

    def __init__(self, market: Market, rules: BinanceRules, counters: Counters) -> None:
        self.weights = Weights(rules, counters)
        decimals = {s: Decimals(spec, futures=rules.futures) for s, spec in market.specs.items() if rules.serves(spec)}
        self.symbols = {symbol: symbol for symbol in decimals}
        self._rules = rules
        self._streams = Streams(market, rules, decimals)
        self._rest = Rest(market, rules, self.weights, decimals)

    def open(self, target: str, number: int) -> BinanceSession | None:
        path, _, query = target.partition("?")
        route = self._route(path)
        if route is None:
            return None
        prefix, endpoint, names = route
        combined = endpoint == "stream"
        if combined:
            names = "/".join(parse_qs(query).get("streams", []))
        subscribed = [name for name in map(unquote, names.split("/")) if name]
        klines = prefix in self._rules.kline_routes
        return BinanceSession(self._rules, self._streams, subscribed, combined=combined, klines=klines)

    def answer(self, method: str, target: str, now_ms: int, *, lag_ms: int = 0) -> Answer:
        return self._rest.answer(method, target, now_ms, lag_ms=lag_ms)

    def limited(self, code: int, wait_s: float, now_ms: int) -> Answer:
        return self._rest.limited(self.weights.refuse(code or 429, wait_s, now_ms))

    def failed(self, code: int) -> Answer:
        return self._rest.error(code or 500)

    def _route(self, path: str) -> tuple[str, str, str] | None:
        """Split a path into route prefix, ``ws`` or ``stream``, and the stream names after it."""
        for prefix in self._rules.routes:
            for endpoint in ("ws", "stream"):
                head = f"{prefix}/{endpoint}"
                if path == head or path.startswith(head + "/"):
                    return prefix, endpoint, path[len(head) + 1 :]
        return None
