"""A venue that is nothing like Binance: lists of words, a reply for each name, ids of its own for what it pushes.

A stream is called ``SYMBOL/TIMEFRAME``. Every symbol is there twice, as ``btc-usdt`` and as its swap ``btc-usdt!``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from attrs import field, frozen

from candleactors.model import Timeframe
from candleactors.sim import Counters, Market, Rules, SymbolSpec
from candleactors.sim.candles import Row
from candleactors.sim.dialect import (
    Answer,
    Channel,
    Close,
    Dialect,
    Granted,
    Keepalive,
    Refusal,
    Request,
    Session,
)
from candleactors.sim.wire import dump

MINUTE = Timeframe("1m")


class ToySession(Session):
    """One connection. Row messages are ``[id, open time, close, trades, closed]``."""

    def __init__(self, market: Market, symbols: Mapping[str, str], number: int) -> None:
        super().__init__()
        self._market = market
        self._symbols = symbols
        self._number = number

    def greeting(self, now_ms: int) -> tuple[str, ...]:
        return (dump(["hello", self._number]),)

    def parse(self, text: str, now_ms: int) -> Request | Refusal | Keepalive:
        try:
            method, *names = json.loads(text)
        except ValueError:
            return Refusal("ignored")
        if method == "ping":
            return Keepalive((dump(["pong", now_ms]),))
        if method not in ("subscribe", "unsubscribe"):
            return Refusal("nonsense", (dump(["what?", method]),), close=Close(4002, "nonsense"))
        return Request(method, None, tuple(names))

    def grant(self, request: Request) -> Granted:
        if request.subscribes:
            new = [name for name in request.params if name not in self.names and self.channel(name)]
            self.names.update(dict.fromkeys(new))
            replies = [["ok" if name in new else "no", name, self.framing(name)] for name in request.params]
            return Granted(tuple(map(dump, replies)), subscribed=tuple(new), words=f"{len(new)} ok")
        gone = tuple(name for name in request.params if name in self.names)
        for name in gone:
            del self.names[name]
        return Granted(tuple(dump(["bye", name]) for name in gone), unsubscribed=gone)

    def refuse(self, request: Request) -> Refusal:
        return Refusal("refused", tuple(dump(["no", name, None]) for name in request.params))

    def channel(self, name: str) -> Channel | None:
        symbol, _, timeframe = name.partition("/")
        if symbol not in self._symbols or timeframe != MINUTE.text:
            return None
        return Channel(name, symbol, self._market.series(self._symbols[symbol], MINUTE))

    def kline(self, channel: Channel, row: Row, event_ms: int, *, closed: bool) -> str:
        return dump([self.framing(channel.name), row.open_ms, row.bar.close, row.bar.trades, closed])

    def framing(self, name: str) -> str:
        return f"{self._number}:{name}"

    def snapshot(self, channel: Channel, now_ms: int) -> str | None:
        rows = channel.series.last_rows(now_ms, 3, now_ms, flat=False)
        return dump([self.framing(channel.name), [[row.open_ms, row.bar.trades] for row in rows]])

    def heartbeat(self, channel: Channel, now_ms: int) -> str | None:
        return dump([self.framing(channel.name), "beat"])

    def farewell(self, now_ms: int) -> str | None:
        return dump(["leave"])


class ToyDialect(Dialect):
    malformed = b'["x",'
    truncated = b'["x",17'

    def __init__(self, market: Market) -> None:
        names = {f"{spec.base}-{spec.quote}".lower(): symbol for symbol, spec in market.specs.items()}
        self.symbols = names | {f"{name}!": symbol for name, symbol in names.items()}
        self._market = market

    def open(self, target: str, number: int) -> ToySession | None:
        return ToySession(self._market, self.symbols, number) if target == "/toy" else None

    def answer(self, method: str, target: str, now_ms: int, *, lag_ms: int = 0) -> Answer:
        return Answer(200, (), dump([method, target, now_ms - lag_ms]).encode())

    def limited(self, code: int, wait_s: float, now_ms: int) -> Answer:
        return Answer(code or 403, (), dump(["too often", wait_s]).encode())

    def failed(self, code: int) -> Answer:
        return Answer(code or 502, (), b"")


@frozen(kw_only=True)
class ToyRules(Rules):
    name: str = "toy"
    timeframes: tuple[Timeframe, ...] = (MINUTE,)
    push_ms: int = field(default=1_000)

    def serves(self, spec: SymbolSpec) -> bool:
        return True

    def dialect(self, market: Market, counters: Counters) -> ToyDialect:
        return ToyDialect(market)


TOY_RULES = ToyRules()
