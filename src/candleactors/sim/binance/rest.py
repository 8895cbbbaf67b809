"""REST of Binance: requests in, answers out. Sans-IO; the weight header is on every answer."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from candleactors.model import DAY_MS, MINUTE_MS
from candleactors.sim.binance.exchange_info import exchange_info
from candleactors.sim.binance.weights import Verdict, Weights
from candleactors.sim.binance.wire import Decimals, kline_row
from candleactors.sim.dialect import Answer
from candleactors.sim.market import Market
from candleactors.sim.tape import SymbolSpec, merge
from candleactors.sim.wire import dump

if TYPE_CHECKING:
    from candleactors.sim.binance.rules import BinanceRules

_SYMBOL: Final = re.compile(r"(?:(?![a-z])[\w.-]){1,50}")
_NUMBER: Final = re.compile(r"[0-9]{1,20}", re.ASCII)
_FOREVER_MS: Final = 1 << 53


class _Bad(Exception):
    """A request the venue refuses with HTTP 400 and a code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Rest:
    """The public endpoints of one venue, for the symbols that have `decimals`. Synchronous; told the time."""

    def __init__(self, market: Market, rules: BinanceRules, weights: Weights, decimals: Mapping[str, Decimals]) -> None:
        self._market = market
        self._rules = rules
        self._weights = weights
        self._specs = {symbol: market.specs[symbol] for symbol in decimals}
        self._decimals = decimals
        self._timeframes = {timeframe.text: timeframe for timeframe in rules.timeframes}
        self._endpoints: dict[str, tuple[Callable[[dict[str, str], int], Any], Callable[[dict[str, str]], int]]] = {
            "/ping": (lambda params, now_ms: {}, lambda params: 1),
            "/time": (lambda params, now_ms: {"serverTime": now_ms}, lambda params: 1),
            "/klines": (self._klines, self._klines_weight),
            "/exchangeInfo": (self._exchange_info, lambda params: rules.exchange_info_weight),
            "/ticker/24hr": (self._tickers, self._tickers_weight),
        }
        if not rules.futures:
            self._endpoints["/uiKlines"] = self._endpoints["/klines"]

    def answer(self, method: str, target: str, now_ms: int, *, lag_ms: int = 0) -> Answer:
        """Return the answer to one request. Klines are told as they were `lag_ms` ago."""
        path, _, query = target.partition("?")
        endpoint = self._endpoints.get(path.removeprefix(self._rules.api)) if path.startswith(self._rules.api) else None
        if endpoint is None or method != "GET":
            status = 404 if endpoint is None else 405
            return self._say(status, {"code": -1000, "msg": f"No such endpoint: {method} {path}"}, self._weights.used)
        serve, weigh = endpoint
        params = dict(parse_qsl(query, keep_blank_values=True))
        verdict = self._weights.charge(weigh(params), now_ms)
        if verdict.status != 200:
            return self.limited(verdict)
        try:
            at_ms = now_ms - lag_ms if serve == self._klines else now_ms
            return self._say(200, serve(params, at_ms), verdict.used)
        except _Bad as problem:
            return self._say(400, {"code": problem.code, "msg": problem.message}, verdict.used)

    def limited(self, verdict: Verdict) -> Answer:
        """Return the 429 or 418 of `verdict`."""
        if verdict.status == 418:
            text = (
                f"Way too much request weight used; IP banned until {verdict.banned_until_ms}. "
                "Please use WebSocket Streams for live updates to avoid bans."
            )
        else:
            text = (
                f"Too much request weight used; current limit is {self._rules.weight_per_minute} request weight per "
                "1 MINUTE. Please use WebSocket Streams for live updates to avoid polling the API."
            )
        retry = ("Retry-After", str(verdict.retry_after_s))
        return self._say(verdict.status, {"code": -1003, "msg": text}, verdict.used, retry)

    def error(self, status: int) -> Answer:
        """Return an answer that says that the venue itself failed."""
        text = "An unknown error occurred while processing the request."
        return self._say(status, {"code": -1000, "msg": text}, self._weights.used)

    def _say(self, status: int, body: Any, used: int, *headers: tuple[str, str]) -> Answer:
        common = (("Content-Type", "application/json;charset=UTF-8"), ("X-MBX-USED-WEIGHT-1M", str(used)))
        return Answer(status, (*common, *headers), dump(body).encode())

    def _klines_weight(self, params: dict[str, str]) -> int:
        limit = params.get("limit", "500")
        wanted = int(limit) if _NUMBER.fullmatch(limit) else 500
        return next(weight for most, weight in self._rules.klines_weights if min(wanted, 1 << 31) <= most)

    def _klines(self, params: dict[str, str], now_ms: int) -> list[list[int | str]]:
        symbol = self._symbol(params, now_ms).symbol
        interval = _mandatory(params, "interval")
        timeframe = self._timeframes.get(interval)
        if timeframe is None:
            raise _Bad(-1120, "Invalid interval.")
        start_ms, end_ms = _number(params, "startTime"), _number(params, "endTime")
        limit = _number(params, "limit")
        if limit == 0:
            raise _Bad(-1130, "Data sent for parameter 'limit' is not valid.")
        if params.get("timeZone", "0") not in ("0", "00:00", "+00:00"):
            raise _Bad(-1130, "Data sent for parameter 'timeZone' is not valid.")
        limit = min(500 if limit is None else limit, self._rules.klines_limit)
        series, decimals = self._market.series(symbol, timeframe), self._decimals[symbol]
        last_ms = _FOREVER_MS if end_ms is None else end_ms
        if start_ms is None:
            rows = series.last_rows(last_ms, limit, now_ms)
        else:
            rows = series.rows(start_ms, last_ms, limit, now_ms)
        return [kline_row(row, decimals) for row in rows]

    def _exchange_info(self, params: dict[str, str], now_ms: int) -> dict[str, Any]:
        return exchange_info(self._market, self._rules, self._chosen(params, now_ms), now_ms)

    def _tickers_weight(self, params: dict[str, str]) -> int:
        if "symbol" in params:
            return 1 if self._rules.futures else 2
        chosen = params.get("symbols", "").count(",") + 1 if "symbols" in params else len(self._specs) + 1000
        return 2 if chosen <= 20 else 40 if chosen <= 100 else self._rules.all_tickers_weight

    def _tickers(self, params: dict[str, str], now_ms: int) -> Any:
        kind = params.get("type", "FULL")
        if kind not in ("FULL", "MINI"):
            raise _Bad(-1130, "Data sent for parameter 'type' is not valid.")
        tickers = [self._ticker(spec, now_ms, full=kind == "FULL") for spec in self._chosen(params, now_ms)]
        return tickers[0] if "symbol" in params else tickers

    def _ticker(self, spec: SymbolSpec, now_ms: int, *, full: bool) -> dict[str, Any]:
        decimals = self._decimals[spec.symbol]
        tape = self._market.tape(spec.symbol)
        minute = now_ms // MINUTE_MS
        first = max(minute - DAY_MS // MINUTE_MS + 1, tape.first_minute)
        bar = tape.span(max(minute * MINUTE_MS, tape.listed_ms), now_ms + 1)
        for earlier in range(minute - 1, first - 1, -1):
            bar = merge(tape.bar(earlier), bar)
        price, quantity = decimals.price, decimals.quantity
        change, one = bar.close - bar.open, 10**spec.step
        weighted = bar.quote_volume // bar.volume if bar.volume else bar.close
        ticker: dict[str, Any] = {"symbol": spec.symbol}
        if full:
            ticker |= {
                "priceChange": f"-{price(-change)}" if change < 0 else price(change),
                "priceChangePercent": f"{change * 100 / bar.open:.3f}",
                "weightedAvgPrice": price(weighted),
                "lastPrice": price(bar.close),
                "lastQty": quantity(one),
            }
            if not self._rules.futures:
                ticker |= {
                    "prevClosePrice": price(bar.open),
                    "bidPrice": price(bar.close - 1),
                    "bidQty": quantity(one),
                    "askPrice": price(bar.close + 1),
                    "askQty": quantity(one),
                }
        return ticker | {
            "openPrice": price(bar.open),
            "highPrice": price(bar.high),
            "lowPrice": price(bar.low),
            "lastPrice": price(bar.close),
            "volume": quantity(bar.volume),
            "quoteVolume": decimals.quote(bar.quote_volume),
            "openTime": now_ms - DAY_MS,
            "closeTime": now_ms,
            "firstId": bar.first_id,
            "lastId": bar.last_id,
            "count": bar.trades,
        }

    def _chosen(self, params: dict[str, str], now_ms: int) -> list[SymbolSpec]:
        """Return the symbols a request names, or all that are listed."""
        if "symbol" in params:
            return [self._symbol(params, now_ms)]
        if "symbols" in params and not self._rules.futures:
            try:
                names = json.loads(params["symbols"])
            except ValueError:
                names = None
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise _Bad(-1100, "Illegal characters found in parameter 'symbols'.")
            return [self._symbol({"symbol": name}, now_ms) for name in names]
        return [spec for spec in self._specs.values() if self._market.listed_ms(spec.symbol) <= now_ms]

    def _symbol(self, params: dict[str, str], now_ms: int) -> SymbolSpec:
        name = _mandatory(params, "symbol")
        if not _SYMBOL.fullmatch(name):
            legal = "^[\\w\\-._&&[^a-z]]{1,50}$"
            raise _Bad(-1100, f"Illegal characters found in parameter 'symbol'; legal range is '{legal}'.")
        spec = self._specs.get(name)
        if spec is None or self._market.listed_ms(name) > now_ms:
            raise _Bad(-1121, "Invalid symbol.")
        return spec


def _mandatory(params: dict[str, str], name: str) -> str:
    value = params.get(name)
    if not value:
        raise _Bad(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
    return value


def _number(params: dict[str, str], name: str) -> int | None:
    value = params.get(name)
    if value is None:
        return None
    if not _NUMBER.fullmatch(value):
        text = f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'."
        raise _Bad(-1100, text)
    return int(value)
