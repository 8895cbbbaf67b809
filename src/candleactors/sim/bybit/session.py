"""What one connection may ask of Bybit, and how the venue replies: a request is carried out as a whole or refused.

The texts of errors are those that were seen; they differ between the markets. Nobody has written down what is said
about too many characters, so that text is modelled on the one about too many names.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID
from zlib import crc32

from candleactors.sim.bybit.listings import Listing
from candleactors.sim.bybit.wire import interval, kline, push, reply
from candleactors.sim.candles import Row
from candleactors.sim.counters import Counters
from candleactors.sim.dialect import Channel, Granted, Keepalive, Refusal, Request, Session
from candleactors.sim.market import Market
from candleactors.sim.wire import dump, json_object

if TYPE_CHECKING:
    from candleactors.sim.bybit.rules import BybitRules

_OTHER_TOPIC: Final = re.compile(r"(?:tickers|publicTrade|allLiquidation|orderbook\.(?:1|50|200|1000))\.(.+)")
_INVALID_OP: Final = "error:invalid op"


class BybitSession(Session):
    """Subscriptions of one connection."""

    def __init__(
        self, market: Market, rules: BybitRules, listed: dict[str, Listing], counters: Counters, number: int
    ) -> None:
        super().__init__()
        self._market = market
        self._rules = rules
        self._listed = listed
        self._counters = counters
        self._timeframes = {interval(timeframe): timeframe for timeframe in rules.timeframes}
        self._id = _connection_id(number, linear=rules.linear)

    def parse(self, text: str, now_ms: int) -> Request | Refusal | Keepalive:
        message = json_object(text)
        if message is None:
            found = text.lstrip()[:1]
            undecoded = f"Failed to decode incoming data:readObjectStart: expect {{ or n, but found {found}"
            return Refusal(undecoded, (self._reply("", undecoded, None, success=False),))
        op, said_id = message.get("op", ""), message.get("req_id")
        # A number is repeated as text, as clients that number their requests recorded it.
        request_id = str(said_id) if type(said_id) is int or isinstance(said_id, str) else None
        if op == "ping":
            return Keepalive((self._reply("ping", "pong", request_id, success=True),))
        args = message.get("args")
        if op not in ("subscribe", "unsubscribe"):
            error = {"success": False, "ret_msg": _INVALID_OP, "conn_id": self._id, "request": {"op": op, "args": args}}
            return Refusal(_INVALID_OP, (dump(error),), request_id)
        problem = self._problem(op, args, now_ms)
        if problem is not None:
            return self._refusal(op, problem, request_id)
        return Request(op, request_id, tuple(args or ()))

    def grant(self, request: Request) -> Granted:
        names = tuple(dict.fromkeys(request.params))
        text = "" if self._rules.linear else request.method
        replies = (self._reply(request.method, text, request.id, success=True),)
        if request.subscribes:
            new = tuple(name for name in names if name not in self.names)
            self.names.update(dict.fromkeys(new))
            return Granted(replies, subscribed=new)
        gone = tuple(name for name in names if name in self.names)
        for name in gone:
            del self.names[name]
        return Granted(replies, unsubscribed=gone)

    def refuse(self, request: Request) -> Refusal:
        return self._refusal(request.method, self._unknown(request.params[0]), request.id)

    def channel(self, name: str) -> Channel | None:
        kind, _, rest = name.partition(".")
        spelled, _, symbol = rest.partition(".")
        timeframe, listing = self._timeframes.get(spelled), self._listed.get(symbol)
        if kind != "kline" or timeframe is None or listing is None:
            return None
        return Channel(name, symbol, self._market.series(listing.spec.symbol, timeframe))

    def kline(self, channel: Channel, row: Row, event_ms: int, *, closed: bool) -> str:
        klines = [self._kline(channel, row, event_ms, closed=closed)]
        if closed and self._rules.linear:
            begun = self._running(channel, event_ms)
            if begun is not None and begun.open_ms == channel.series.next_open(row.open_ms):
                klines.append(self._kline(channel, begun, event_ms, closed=False))
        return push(channel.name, klines, event_ms, linear=self._rules.linear)

    def snapshot(self, channel: Channel, now_ms: int) -> str | None:
        """Return the last push there was, or would have been: none while the candle before it is not closed."""
        pushed_ms = now_ms - now_ms % self._rules.push_ms
        row = self._running(channel, pushed_ms)
        if row is None or now_ms - row.open_ms < self._rules.close_lag_ms:
            return None
        return self.kline(channel, row, pushed_ms, closed=False)

    def _running(self, channel: Channel, now_ms: int) -> Row | None:
        tape = channel.series.tape
        if now_ms < tape.listed_ms or (tape.delisted_ms is not None and tape.delisted_ms <= now_ms):
            return None
        return channel.series.row(channel.series.floor(now_ms), now_ms)

    def _kline(self, channel: Channel, row: Row, event_ms: int, *, closed: bool) -> str:
        series, decimals = channel.series, self._listed[channel.symbol].decimals
        name, next_ms = interval(series.timeframe), series.next_open(row.open_ms)
        return kline(name, row, next_ms, decimals, event_ms, closed=closed)

    def _problem(self, op: str, args: Any, now_ms: int) -> str | None:
        """Return the first thing that is wrong with the `args` of a request, ``None`` where all is well."""
        if not isinstance(args, list) or not args or not all(isinstance(name, str) for name in args):
            return "Params Error"
        most = self._rules.max_names_per_request
        if most is not None and len(args) > most:
            self._counters.violation("names")
            return f"args size >{most}"
        if op == "unsubscribe":
            return None
        asked: set[str] = set()
        for name in args:
            if not self._known(name, now_ms):
                return self._unknown(name)
            if self._rules.linear and (name in self.names or name in asked):
                return f"error:already subscribed,topic:{name}"
            asked.add(name)
        if sum(len(dump([name])) for name in asked | set(self.names)) > self._rules.max_characters:
            self._counters.violation("characters")
            return f"args length >{self._rules.max_characters}"
        return None

    def _known(self, name: str, now_ms: int) -> bool:
        other = _OTHER_TOPIC.fullmatch(name)
        symbol = other[1] if other else name.rpartition(".")[2]
        listing = self._listed.get(symbol)
        if listing is None or listing.status(self._market, now_ms) != "Trading":
            return False
        return other is not None or self.channel(name) is not None

    def _unknown(self, name: str) -> str:
        return f"error:handler not found,topic:{name}" if self._rules.linear else f"Invalid symbol :[{name}]"

    def _refusal(self, op: str, text: str, request_id: str | None) -> Refusal:
        echoed = request_id if self._rules.echoes_errors else None
        return Refusal(text, (self._reply(op, text, echoed, success=False),), request_id)

    def _reply(self, op: str, text: str, request_id: str | None, *, success: bool) -> str:
        return reply(op, text, self._id, request_id, success=success, always_numbered=self._rules.linear)


def _connection_id(number: int, *, linear: bool) -> str:
    """Return an identifier that looks like the venue's and depends on nothing but `number`."""
    spread = crc32(str(number).encode())
    if linear:
        return f"cejreaspqfh6c4{number:06d}-{spread % 0xFFFFF:05x}"
    return str(UUID(int=(spread << 96) | (4 << 76) | (8 << 60) | number))
