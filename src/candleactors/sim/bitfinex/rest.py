"""REST of Bitfinex: requests in, answers out. Sans-IO. Errors are arrays, most of them with HTTP 500.

https://docs.bitfinex.com/reference/rest-public-candles
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from email.utils import formatdate
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, unquote

from attrs import define, field

from candleactors.model import DAY_MS, MINUTE_MS
from candleactors.sim.bitfinex.listings import CURRENCIES, Listing
from candleactors.sim.bitfinex.wire import candle, number, wire_timeframe
from candleactors.sim.counters import Counters
from candleactors.sim.dialect import Answer
from candleactors.sim.market import Market
from candleactors.sim.tape import merge
from candleactors.sim.wire import dump

if TYPE_CHECKING:
    from candleactors.sim.bitfinex.rules import BitfinexRules

_NUMBER: Final = re.compile(r"[0-9]{1,15}", re.ASCII)
_CANDLES: Final = re.compile(r"trade:([0-9]{1,2}[mhDWM]):([^/]{1,60})/(hist|last)", re.ASCII)
_FOREVER_MS: Final = 1 << 53
_FUNDING: Final = (
    '["fUST",0.00028313972602739723,0.00030136986301369865,120,20745655.56191528,0.000189,2,31161.03854597,'
    "0.00003248,0.1794,0.00021356,44274941.22836571,0.000233,7.1e-7,null,null,21978170.88340614]"
)
_LISTS: Final = {
    "pub:list:pair:exchange": (False, False),
    "pub:list:pair:futures": (True, False),
    "pub:info:pair": (False, True),
    "pub:info:pair:futures": (True, True),
}
"""Lists of pairs: whether of perpetuals, and whether with what is told of each."""
_SPOT: Final = (None, None, None, "0.02", "5000.0", None, None, None, None, None, None, None)
_PERPETUAL: Final = (None, None, None, "0.02", "5000.0", None, None, None, 0.01, 0.005)
"""Smallest and largest order, initial and minimum margin, among places that are reserved."""
_BAD_PARAMETERS: Final = 10020
_TOO_OFTEN: Final = 11010


class _Bad(Exception):
    """A request whose parameters the venue refuses."""


@define
class _Endpoint:
    served: deque[int] = field(factory=deque)
    blocked_until_ms: int = 0


class Rest:
    """The public endpoints. Each has a limit of its own. Synchronous; told the time."""

    def __init__(self, market: Market, rules: BitfinexRules, listed: Mapping[str, Listing], counters: Counters) -> None:
        self._market = market
        self._rules = rules
        self._listed = listed
        self._counters = counters
        self._timeframes = {wire_timeframe(timeframe): timeframe for timeframe in rules.timeframes}
        self._endpoints = {name: _Endpoint() for name in ("candles", "platform", "conf", "tickers")}

    def answer(self, method: str, target: str, now_ms: int, *, lag_ms: int = 0) -> Answer:
        """Return the answer to one request. Candles are told as they were `lag_ms` ago."""
        path, _, query = unquote(target).partition("?")
        version, _, rest = path.removeprefix("/").partition("/")
        name, _, detail = rest.partition("/")
        endpoint = self._endpoints.get(name)
        if version != "v2" or endpoint is None or method != "GET":
            return Answer(404, (("Content-Type", "text/html"),), b"Cannot find what you asked for")
        if now_ms < endpoint.blocked_until_ms:
            self._counters.violation("told_to_wait", name)
            return self._limited(429, now_ms)
        if not self._within_rate(name, endpoint, now_ms):
            self._counters.violation("rest_rate", name)
            endpoint.blocked_until_ms = now_ms + round(1000 * self._rules.block_s)
            return self._limited(429, now_ms)
        try:
            params = dict(parse_qsl(query, keep_blank_values=True))
            return _say(200, self._serve(name, detail, params, now_ms, lag_ms), now_ms)
        except _Bad as problem:
            return self.error(500, _BAD_PARAMETERS, f"{problem}: invalid", now_ms)

    def error(self, status: int, code: int, text: str, now_ms: int) -> Answer:
        """Return an error in the venue's form."""
        return _say(status, dump(["error", code, text]), now_ms)

    def refuse(self, status: int, wait_s: float, now_ms: int) -> Answer:
        """Refuse a request for no reason, and close all endpoints for `wait_s`, at most as long as the venue ever does.

        How long, nobody is told.
        """
        if any(now_ms < endpoint.blocked_until_ms for endpoint in self._endpoints.values()):
            self._counters.violation("told_to_wait")
        until_ms = now_ms + round(1000 * min(wait_s, self._rules.block_s))
        for endpoint in self._endpoints.values():
            endpoint.blocked_until_ms = max(endpoint.blocked_until_ms, until_ms)
        return self._limited(status, now_ms)

    def _limited(self, status: int, now_ms: int) -> Answer:
        return self.error(status, _TOO_OFTEN, "ratelimit: error", now_ms)

    def _within_rate(self, name: str, endpoint: _Endpoint, now_ms: int) -> bool:
        served, window_ms = endpoint.served, round(1000 * self._rules.rest_window_s)
        while served and not now_ms - window_ms < served[0] <= now_ms:  # later ones: the clock was set back
            served.popleft()
        most = self._rules.candle_requests if name == "candles" else self._rules.other_requests
        if len(served) >= most:
            return False
        served.append(now_ms)
        return True

    def _serve(self, name: str, detail: str, params: dict[str, str], now_ms: int, lag_ms: int) -> str:
        match name:
            case "platform" if detail == "status":
                return "[1]"
            case "conf":
                return f"[{','.join(self._conf(key, now_ms) for key in detail.split(','))}]"
            case "tickers":
                return self._tickers(params, now_ms)
            case "candles":
                return self._candles(detail, params, now_ms - lag_ms)
            case _:
                raise _Bad("path")

    def _conf(self, key: str, now_ms: int) -> str:
        if key == "pub:map:currency:sym":
            return dump([list(names) for names in CURRENCIES.values()])
        wanted = _LISTS.get(key)
        if wanted is None:
            return "[]"
        perpetual, described = wanted
        pairs = [each.pair for each in self._trading(now_ms) if each.perpetual == perpetual]
        return dump([[pair, _PERPETUAL if perpetual else _SPOT] for pair in pairs] if described else pairs)

    def _trading(self, now_ms: int) -> list[Listing]:
        return [listing for listing in self._listed.values() if listing.trades(self._market, now_ms)]

    def _candles(self, detail: str, params: dict[str, str], now_ms: int) -> str:
        shape = _CANDLES.fullmatch(detail)
        timeframe = None if shape is None else self._timeframes.get(shape[1].replace("7D", "1W"))
        if shape is None or timeframe is None:
            raise _Bad("time_interval")
        start_ms, end_ms = _integer(params, "start"), _integer(params, "end")
        limit = _integer(params, "limit")
        limit = 100 if limit is None else limit
        sort = params.get("sort", "-1")
        if not 1 <= limit <= self._rules.klines_limit:
            raise _Bad("limit")
        if sort not in ("1", "-1"):
            raise _Bad("sort")
        listing = self._listed.get(shape[2])
        if listing is None or self._market.listed_ms(listing.spec.symbol) > now_ms:
            if self._rules.empty_if_unknown:
                return "[]"
            raise _Bad("symbol")
        series = self._market.series(listing.spec.symbol, timeframe)
        last_ms = _FOREVER_MS if end_ms is None else end_ms
        if shape[3] == "last":
            rows = series.last_rows(now_ms, 1, now_ms, flat=False)
            return candle(rows[0], listing.numbers) if rows else "[]"
        if sort == "1":
            rows = series.rows(start_ms or 0, last_ms, limit, now_ms, flat=False)
        else:
            rows = series.last_rows(last_ms, limit, now_ms, flat=False)
            rows = [row for row in reversed(rows) if start_ms is None or row.open_ms >= start_ms]
        return f"[{','.join(candle(row, listing.numbers) for row in rows)}]"

    def _tickers(self, params: dict[str, str], now_ms: int) -> str:
        wanted = params.get("symbols", "")
        if not wanted:
            raise _Bad("symbols")
        chosen = self._trading(now_ms)
        if wanted == "ALL":
            return f"[{','.join([*(self._ticker(each, now_ms) for each in chosen), _FUNDING])}]"
        names = wanted.split(",")
        return f"[{','.join(self._ticker(each, now_ms) for each in chosen if each.symbol in names)}]"

    def _ticker(self, listing: Listing, now_ms: int) -> str:
        """Return symbol, bid, its size, ask, its size, change, relative change, last, volume, high, low."""
        tape, price = self._market.tape(listing.spec.symbol), listing.numbers.price
        minute = now_ms // MINUTE_MS
        bar = tape.span(max(minute * MINUTE_MS, tape.listed_ms), now_ms + 1)
        for earlier in range(minute - 1, max(minute - DAY_MS // MINUTE_MS + 1, tape.first_minute) - 1, -1):
            bar = merge(tape.bar(earlier), bar)
        change = bar.close - bar.open
        values = (
            price(bar.close - 1),
            "43.23174788",
            price(bar.close + 1),
            "44.36048532",
            price(change),
            number(round(change / bar.open * 10**8), 8),
            price(bar.close),
            listing.numbers.quantity(bar.volume),
            price(bar.high),
            price(bar.low),
            "null",
        )
        return f'["{listing.symbol}",{",".join(values)}]'


def _say(status: int, body: str, now_ms: int) -> Answer:
    date = formatdate(now_ms // 1000, usegmt=True)
    return Answer(status, (("Content-Type", "application/json; charset=utf-8"), ("Date", date)), body.encode())


def _integer(params: dict[str, str], name: str) -> int | None:
    value = params.get(name)
    if value is None:
        return None
    if _NUMBER.fullmatch(value) is None:
        raise _Bad(name)
    return int(value)
