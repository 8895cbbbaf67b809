"""REST of OKX: requests in, answers out. Sans-IO.

https://www.okx.com/docs-v5/en/#order-book-trading-market-data-get-candlesticks
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from candleactors.sim.counters import Counters
from candleactors.sim.dialect import Answer
from candleactors.sim.market import Market
from candleactors.sim.okx.bars import BARS, ONLY_OLD
from candleactors.sim.okx.instruments import Instrument
from candleactors.sim.wire import dump

if TYPE_CHECKING:
    from candleactors.sim.okx.rules import OkxRules

_NUMBER: Final = re.compile(r"[0-9]{1,15}", re.ASCII)
_KINDS: Final = ("SPOT", "MARGIN", "SWAP", "FUTURES", "OPTION")
_FOREVER_MS: Final = 1 << 53


class _Bad(Exception):
    """A request that the venue refuses."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


class Rest:
    """The public endpoints. Every path has a budget of its own."""

    def __init__(
        self, market: Market, rules: OkxRules, instruments: Mapping[str, Instrument], counters: Counters
    ) -> None:
        self._market = market
        self._rules = rules
        self._instruments = instruments
        self._counters = counters
        self._served: dict[str, deque[int]] = {}
        self._wait_until_ms = 0
        self._endpoints: dict[str, tuple[Callable[[dict[str, str], int], list[Any]], int]] = {
            "/api/v5/public/time": (self._time, 10),
            "/api/v5/public/instruments": (self._list, 20),
            "/api/v5/market/tickers": (self._tickers, 20),
            "/api/v5/market/candles": (self._recent, 40),
            "/api/v5/market/history-candles": (self._old, 20),
        }

    def answer(self, method: str, target: str, now_ms: int, *, lag_ms: int = 0) -> Answer:
        """Return the answer to one request. Candles are told as they were `lag_ms` ago."""
        path, _, query = target.partition("?")
        endpoint = self._endpoints.get(path)
        if endpoint is None or method != "GET":
            return _say(404 if endpoint is None else 405, "404", "Not Found")
        serve, most = endpoint
        if now_ms < self._wait_until_ms:
            self._counters.violation("told_to_wait")
        if not self._within_rate(path, most, now_ms):
            self._counters.violation("rest_rate", path)
            return self.limited(429)
        candles = serve in (self._recent, self._old)
        try:
            return _say(200, "0", "", serve(dict(parse_qsl(query)), now_ms - lag_ms if candles else now_ms))
        except _Bad as problem:
            return _say(problem.status, problem.code, problem.message)

    def limited(self, status: int) -> Answer:
        """Return the refusal of a request that came too soon. The venue does not say how long to wait."""
        return _say(status, "50011", "Too Many Requests")

    def refuse(self, status: int, wait_s: float, now_ms: int) -> Answer:
        """Refuse a request for no reason; others before the end of the venue's window are a violation."""
        if now_ms < self._wait_until_ms:
            self._counters.violation("told_to_wait")
        self._wait_until_ms = now_ms + round(1000 * min(wait_s, self._rules.rest_window_s))
        return self.limited(status)

    def failed(self, status: int) -> Answer:
        """Return an answer that says that the venue itself failed."""
        return _say(status, "50001", "Service temporarily unavailable. Try again later.")

    def _within_rate(self, path: str, most: int, now_ms: int) -> bool:
        served = self._served.setdefault(path, deque())
        while served and served[0] <= now_ms - 1000 * self._rules.rest_window_s:
            served.popleft()
        if len(served) >= most:
            return False
        served.append(now_ms)
        return True

    def _time(self, params: dict[str, str], now_ms: int) -> list[Any]:
        return [{"ts": str(now_ms)}]

    def _list(self, params: dict[str, str], now_ms: int) -> list[Any]:
        return [instrument.described(self._market, now_ms) for instrument in self._of_kind(params)]

    def _tickers(self, params: dict[str, str], now_ms: int) -> list[Any]:
        def trades(instrument: Instrument) -> bool:
            symbol = instrument.spec.symbol
            return self._market.listed_ms(symbol) <= now_ms and not self._market.delisted(symbol, now_ms)

        return [one.ticker(self._market, now_ms) for one in self._of_kind(params) if trades(one)]

    def _recent(self, params: dict[str, str], now_ms: int) -> list[Any]:
        return self._candles(params, now_ms, recent=True)

    def _old(self, params: dict[str, str], now_ms: int) -> list[Any]:
        return self._candles(params, now_ms, recent=False)

    def _candles(self, params: dict[str, str], now_ms: int, *, recent: bool) -> list[Any]:
        """Return the newest rows that are older than ``after`` and newer than ``before``, newest first."""
        symbol = params.get("instId")
        if not symbol:
            raise _Bad("50014", "Parameter instId can not be empty.")
        instrument = self._instruments.get(symbol)
        if instrument is None or self._market.listed_ms(instrument.spec.symbol) > now_ms:
            raise _Bad("51001", "Instrument ID, Instrument ID code, or Spread ID doesn't exist.", 200)
        bar = params.get("bar", "1m")
        if bar not in BARS or (recent and bar in ONLY_OLD):
            raise _Bad("51000", "Parameter bar error")
        series = self._market.series(instrument.spec.symbol, BARS[bar])
        limit = min(_number(params, "limit", 100), self._rules.klines_limit)
        last_ms = min(_number(params, "after", _FOREVER_MS) - 1, now_ms)
        first_ms = _number(params, "before", 0) + 1
        running_ms = series.floor(now_ms)
        duration_ms = series.timeframe.duration_ms
        if recent and duration_ms is not None:
            first_ms = max(first_ms, running_ms - (self._rules.recent_rows - 1) * duration_ms)
        if not (recent or self._rules.history_has_forming):
            last_ms = min(last_ms, running_ms - 1)
        rows = series.last_rows(last_ms, limit, now_ms) if first_ms <= last_ms else []
        return [
            instrument.columns(row, closed=series.next_open(row.open_ms) <= now_ms)
            for row in reversed(rows)
            if row.open_ms >= first_ms
        ]

    def _of_kind(self, params: dict[str, str]) -> list[Instrument]:
        kind = params.get("instType")
        if not kind:
            raise _Bad("50014", "Parameter instType can not be empty.")
        if kind not in _KINDS:
            raise _Bad("51000", "Parameter instType error")
        return [instrument for instrument in self._instruments.values() if instrument.kind == kind]


def _number(params: dict[str, str], name: str, default: int) -> int:
    value = params.get(name)
    if value is None:
        return default
    if not _NUMBER.fullmatch(value) or (name == "limit" and int(value) == 0):
        raise _Bad("51000", f"Parameter {name} error")
    return int(value)


def _say(status: int, code: str, message: str, data: list[Any] | None = None) -> Answer:
    body = dump({"code": code, "msg": message, "data": data or []})
    return Answer(status, (("Content-Type", "application/json"),), body.encode())
