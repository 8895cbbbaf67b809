"""A simulator of Toy Exchange: its side of the same messages, over the simulated market."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from urllib.parse import parse_qsl

import trio
from attrs import frozen

from candleactors.model import Timeframe
from candleactors.sim import Counters, Market, Rules, Simulator, SymbolSpec
from candleactors.sim.candles import Row
from candleactors.sim.dialect import (
    Answer,
    Channel,
    Dialect,
    Granted,
    Keepalive,
    Refusal,
    Request,
    Session,
)
from candleactors.sim.wire import decimal_writer, dump


def numbers(spec: SymbolSpec, row: Row) -> dict[str, str | int]:
    """Return a candle as this exchange writes it: the market counts in ticks and steps."""
    price, quantity, bar = decimal_writer(spec.tick, spec.tick), decimal_writer(spec.step, spec.step), row.bar
    return {
        "at": row.open_ms,
        "open": price(bar.open),
        "high": price(bar.high),
        "low": price(bar.low),
        "close": price(bar.close),
        "volume": quantity(bar.volume),
        "trades": bar.trades,
    }


class ToySimSession(Session):
    """The venue's side of one connection."""

    def __init__(self, market: Market, symbols: Mapping[str, str], timeframes: Mapping[str, Timeframe]) -> None:
        super().__init__()
        self._market = market
        self._symbols = symbols
        self._timeframes = timeframes

    def parse(self, text: str, now_ms: int) -> Request | Refusal | Keepalive:
        try:
            message = json.loads(text)
            op = message["op"]
            if op == "ping":
                return Keepalive((dump({"pong": now_ms}),))
            return Request(op, message["id"], tuple(message["channels"]))
        except (ValueError, KeyError, TypeError):
            return Refusal("no request")

    def grant(self, request: Request) -> Granted:
        names = request.params
        if not request.subscribes:
            for name in names:
                self.names.pop(name, None)
            return Granted((dump({"id": request.id, "ok": True}),), unsubscribed=names)
        if unknown := [name for name in names if self.channel(name) is None]:
            no = {"id": request.id, "ok": False, "error": "no such channel", "culprits": unknown}
            return Granted((dump(no),), words="unknown channels")
        new = tuple(name for name in names if name not in self.names)
        self.names.update(dict.fromkeys(new))
        return Granted((dump({"id": request.id, "ok": True}),), subscribed=new)

    def refuse(self, request: Request) -> Refusal:
        return Refusal("refused", (dump({"id": request.id, "ok": False, "error": "not now"}),), request.id)

    def channel(self, name: str) -> Channel | None:
        symbol, _, text = name.partition("@")
        if symbol not in self._symbols or text not in self._timeframes:
            return None
        return Channel(name, symbol, self._market.series(self._symbols[symbol], self._timeframes[text]))

    def kline(self, channel: Channel, row: Row, event_ms: int, *, closed: bool) -> str:
        candle = numbers(channel.series.tape.spec, row)
        return dump({"channel": channel.name, "sent": event_ms, "candle": candle, "final": closed})

    def farewell(self, now_ms: int) -> str | None:
        return dump({"closing": True})


class ToyDialect(Dialect):
    """What the exchange says to all of its clients, over REST."""

    malformed = b'{"channel":"BTC-USDT@1m","candle":{"at":17,"open":}}'
    truncated = b'{"channel":"BTC-USDT@1m","sent":1709163030000,"cand'

    def __init__(self, market: Market, timeframes: tuple[Timeframe, ...]) -> None:
        self.symbols = {f"{spec.base}-{spec.quote}": name for name, spec in market.specs.items() if spec.base.isascii()}
        self._market = market
        self._timeframes = {str(timeframe): timeframe for timeframe in timeframes}

    def open(self, target: str, number: int) -> Session | None:
        return ToySimSession(self._market, self.symbols, self._timeframes) if target == "/v1" else None

    def answer(self, method: str, target: str, now_ms: int, *, lag_ms: int = 0) -> Answer:
        path, _, query = target.partition("?")
        params = dict(parse_qsl(query))
        if path == "/v1/time":
            return say(200, {"now": now_ms})
        if path == "/v1/markets":
            return say(200, {"markets": [self._listed(symbol, now_ms) for symbol in self.symbols]})
        if path == "/v1/candles":
            return self._candles(params, now_ms - lag_ms)
        return say(404, {"code": 1, "message": "no such page"})

    def limited(self, code: int, wait_s: float, now_ms: int) -> Answer:
        return say(code or 429, {"code": 2, "message": "too fast"}, ("Retry-After", str(round(wait_s))))

    def failed(self, code: int) -> Answer:
        return say(code or 503, {"code": 3, "message": "down"})

    def _listed(self, symbol: str, now_ms: int) -> dict[str, str | bool]:
        base, _, quote = symbol.partition("-")
        trades = self.symbols[symbol] in self._market.trading(now_ms)
        return {"symbol": symbol, "base": base, "quote": quote, "trades": trades}

    def _candles(self, params: Mapping[str, str], now_ms: int) -> Answer:
        name, timeframe = self.symbols.get(params["symbol"]), self._timeframes[params["timeframe"]]
        if name is None:
            return say(404, {"code": 7, "message": "no such symbol"})
        series, limit = self._market.series(name, timeframe), int(params["limit"])
        last_ms = int(params.get("end", now_ms))
        if "start" in params:
            rows = series.rows(int(params["start"]), last_ms, limit, now_ms, flat=False)
        else:
            rows = series.last_rows(last_ms, limit, now_ms, flat=False)
        return say(200, {"candles": [numbers(self._market.specs[name], row) for row in rows]})


def say(status: int, body: object, *headers: tuple[str, str]) -> Answer:
    """Return an answer in JSON."""
    return Answer(status, (("Content-Type", "application/json"), *headers), dump(body).encode())


@frozen(kw_only=True)
class ToyRules(Rules):
    """How the exchange behaves: what differs from the defaults."""

    name: str = "toy-exchange"
    timeframes: tuple[Timeframe, ...] = tuple(map(Timeframe, ("1m", "5m", "1h", "1d")))
    push_ms: int = 1_000
    flat_pushes: bool = False
    messages_per_s: int | None = 5
    max_streams: int | None = 100

    def serves(self, spec: SymbolSpec) -> bool:
        return spec.base.isascii()

    def dialect(self, market: Market, counters: Counters) -> Dialect:
        return ToyDialect(market, self.timeframes)


RULES = ToyRules()


async def serve(port: int = 8080, *, task_status: trio.TaskStatus[tuple[str, int]] = trio.TASK_STATUS_IGNORED) -> None:
    """Be the exchange on this machine, WebSocket and REST on one port, until cancelled."""
    simulator = Simulator(Market(seed=7, start_ms=now_ms()), RULES, now_ms)
    async with simulator.running():
        await simulator.serve_tcp(port=port, task_status=task_status)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


if __name__ == "__main__":
    trio.run(serve)
