"""REST of Bybit: requests in, answers out. Sans-IO. Most refusals come with HTTP 200 and a code in the body."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, quote

from candleactors.model import DAY_MS, MINUTE_MS
from candleactors.sim.bybit.limits import Limits
from candleactors.sim.bybit.listings import Listing
from candleactors.sim.bybit.wire import interval, kline_row
from candleactors.sim.dialect import Answer
from candleactors.sim.market import Market
from candleactors.sim.tape import merge
from candleactors.sim.wire import dump

if TYPE_CHECKING:
    from candleactors.sim.bybit.rules import BybitRules

_NUMBER: Final = re.compile(r"[0-9]{1,15}", re.ASCII)
_CURSOR: Final = re.compile(r"first=([A-Z0-9-]+)&last=([A-Z0-9-]+)", re.ASCII)
_CATEGORIES: Final = ("spot", "linear", "inverse", "option")
_JSON: Final = ("Content-Type", "application/json; charset=utf-8")
_FOREVER_MS: Final = 1 << 53
_PARAMETERS: Final = 10001


class _Bad(Exception):
    """A request the venue refuses with a code."""

    def __init__(self, message: str, code: int = _PARAMETERS) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Rest:
    """The public endpoints of one market. Synchronous; told the time."""

    def __init__(self, market: Market, rules: BybitRules, limits: Limits, listed: dict[str, Listing]) -> None:
        self._market = market
        self._rules = rules
        self._limits = limits
        self._listed = listed
        self._timeframes = {interval(timeframe): timeframe for timeframe in rules.timeframes}
        self._endpoints: dict[str, Callable[[dict[str, str], int], Any]] = {
            "/v5/market/time": self._time,
            "/v5/market/kline": self._klines,
            "/v5/market/instruments-info": self._instruments,
            "/v5/market/tickers": self._tickers,
        }

    def answer(self, method: str, target: str, now_ms: int, *, lag_ms: int = 0) -> Answer:
        """Return the answer to one request. Klines are told as they were `lag_ms` ago."""
        if self._limits.banned(now_ms):
            return self.ban()
        path, _, query = target.partition("?")
        serve = self._endpoints.get(path)
        if serve is None or method != "GET":
            return Answer(404 if serve is None else 405, (("Content-Type", "text/plain"),), b"")
        wait_ms = self._limits.wait_ms(now_ms)
        if wait_ms:
            return self.limited(200, wait_ms, now_ms)
        try:
            params = dict(parse_qsl(query, keep_blank_values=True))
            result = serve(params, now_ms - lag_ms if serve == self._klines else now_ms)
        except _Bad as problem:
            return self.say(200, problem.code, problem.message, {}, now_ms)
        return self.say(200, 0, "OK", result, now_ms)

    def say(self, status: int, code: int, message: str, result: Any, now_ms: int, *headers: tuple[str, str]) -> Answer:
        """Return an answer with a body in the form of all of them."""
        body = {"retCode": code, "retMsg": message, "result": result, "retExtInfo": {}, "time": now_ms}
        return Answer(status, (_JSON, *headers), dump(body).encode())

    def ban(self) -> Answer:
        """Return what a banned address is told, whatever it asks."""
        return Answer(403, (("Content-Type", "text/plain"),), b"access too frequent")

    def limited(self, status: int, wait_ms: int, now_ms: int) -> Answer:
        """Return an answer that says that a limit is used up, and when it is counted anew."""
        headers = (
            ("X-Bapi-Limit", "50"),
            ("X-Bapi-Limit-Status", "0"),
            ("X-Bapi-Limit-Reset-Timestamp", str(now_ms + wait_ms)),
        )
        return self.say(status, 10006, "Too many visits. Exceeded the API Rate Limit.", {}, now_ms, *headers)

    def _time(self, params: dict[str, str], now_ms: int) -> dict[str, str]:
        return {"timeSecond": str(now_ms // 1000), "timeNano": f"{now_ms}000000"}

    def _klines(self, params: dict[str, str], now_ms: int) -> dict[str, Any]:
        self._category(params)
        listing = self._listing(params.get("symbol", ""), now_ms)
        timeframe = self._timeframes.get(params.get("interval", ""))
        if timeframe is None:
            raise _Bad("Invalid period!")
        start_ms, end_ms = _number(params, "start"), _number(params, "end")
        if start_ms is not None and end_ms is not None and end_ms < start_ms:
            raise _Bad("The end time must not be before the start time")
        limit = min(_limit(params, 200), self._rules.klines_limit)
        series = self._market.series(listing.spec.symbol, timeframe)
        last_ms = _FOREVER_MS if end_ms is None else end_ms - (not self._rules.end_included)
        if start_ms is not None and end_ms is None and self._rules.oldest_first_from_start:
            rows = series.rows(start_ms, last_ms, limit, now_ms)
        else:
            rows = series.last_rows(last_ms, limit, now_ms)
        found = [kline_row(row, listing.decimals) for row in rows if start_ms is None or row.open_ms >= start_ms]
        found.reverse()
        return {"symbol": listing.symbol, "category": self._rules.category, "list": found}

    def _instruments(self, params: dict[str, str], now_ms: int) -> dict[str, Any]:
        linear = self._rules.linear
        self._category(params)
        status = params.get("status") or "Trading"
        numbers = {symbol: number for number, symbol in enumerate(self._listed, 1)}
        chosen = [listing for listing in self._listed.values() if listing.status(self._market, now_ms) == status]
        if "symbol" in params:
            chosen = [listing for listing in chosen if listing.symbol == params["symbol"]]
            if not chosen:
                raise _Bad("params error: symbol invalid")
        page = chosen
        answer: dict[str, Any] = {"category": self._rules.category}
        if linear:
            limit = min(_limit(params, 500), self._rules.instruments_limit)
            cursor = params.get("cursor", "")
            if cursor:
                shape = _CURSOR.fullmatch(cursor)
                if shape is None:
                    raise _Bad("params error: cursor invalid")
                chosen = [listing for listing in chosen if listing.symbol > shape[2]]
            page = chosen[:limit]
        answer["list"] = [
            listing.describe(self._market, now_ms, linear=linear, number=numbers[listing.symbol]) for listing in page
        ]
        if linear:
            # Written as it would stand in a URL, which is how the venue does it.
            more = len(page) < len(chosen)
            answer["nextPageCursor"] = quote(f"first={page[0].symbol}&last={page[-1].symbol}") if more else ""
        return answer

    def _tickers(self, params: dict[str, str], now_ms: int) -> dict[str, Any]:
        self._category(params)
        if "symbol" in params:
            chosen = [self._listing(params["symbol"], now_ms)]
        else:
            chosen = [each for each in self._listed.values() if each.status(self._market, now_ms) == "Trading"]
        return {"category": self._rules.category, "list": [self._ticker(listing, now_ms) for listing in chosen]}

    def _ticker(self, listing: Listing, now_ms: int) -> dict[str, str]:
        tape, decimals = self._market.tape(listing.spec.symbol), listing.decimals
        minute = now_ms // MINUTE_MS
        bar = tape.span(max(minute * MINUTE_MS, tape.listed_ms), now_ms + 1)
        for earlier in range(minute - 1, max(minute - DAY_MS // MINUTE_MS + 1, tape.first_minute) - 1, -1):
            bar = merge(tape.bar(earlier), bar)
        price = decimals.price
        ticker = {
            "symbol": listing.symbol,
            "lastPrice": price(bar.close),
            "prevPrice24h": price(bar.open),
            "price24hPcnt": f"{(bar.close - bar.open) / bar.open:.6f}",
            "highPrice24h": price(bar.high),
            "lowPrice24h": price(bar.low),
            "turnover24h": decimals.quote(bar.quote_volume),
            "volume24h": decimals.quantity(bar.volume),
            "bid1Price": price(bar.close - 1),
            "ask1Price": price(bar.close + 1),
        }
        if self._rules.linear:
            ticker |= {"markPrice": price(bar.close), "indexPrice": price(bar.close), "preOpenPrice": ""}
            ticker |= {"deliveryTime": str(listing.delivery_ms)}
        return ticker

    def _category(self, params: dict[str, str]) -> None:
        """Refuse what is no category, and those of markets that are not simulated here."""
        category = params.get("category", "")
        if category != self._rules.category:
            raise _Bad("Illegal category" if category not in _CATEGORIES else f"{category} is not served here")

    def _listing(self, symbol: str, now_ms: int) -> Listing:
        listing = self._listed.get(symbol)
        if listing is None or self._market.listed_ms(listing.spec.symbol) > now_ms:
            raise _Bad("params error: symbol invalid")
        return listing


def _number(params: dict[str, str], name: str) -> int | None:
    value = params.get(name)
    if value is None:
        return None
    if not _NUMBER.fullmatch(value):
        raise _Bad(f"params error: {name} invalid")
    return int(value)


def _limit(params: dict[str, str], default: int) -> int:
    limit = _number(params, "limit")
    if limit == 0:
        raise _Bad("params error: limit invalid")
    return default if limit is None else limit
