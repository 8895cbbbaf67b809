"""What one connection may ask of Bitfinex, and how the venue replies.

Events: https://docs.bitfinex.com/docs/ws-general. Errors do not end a connection and repeat the fields of the request.
Text that is no JSON object gets no reply at all.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID
from zlib import crc32

from candleactors.sim.bitfinex.listings import Listing
from candleactors.sim.bitfinex.wire import candle, channel_frame, wire_timeframe
from candleactors.sim.candles import Row
from candleactors.sim.counters import Counters
from candleactors.sim.dialect import Channel, Granted, Keepalive, Refusal, Request, Session
from candleactors.sim.market import Market
from candleactors.sim.wire import dump, json_object

if TYPE_CHECKING:
    from candleactors.sim.bitfinex.rules import BitfinexRules

_KEY: Final = re.compile(r"trade:([0-9]{1,2}[mhDWM]):(t[A-Z0-9:]{1,40})", re.ASCII)
_TIMESTAMP: Final = 32_768
_WEEK, _SEVEN_DAYS = "1W", "7D"
_UNKNOWN_EVENT: Final = 10000
_BAD_CONF: Final = 10050
_FAILED: Final = 10300
_DUPLICATE: Final = 10301
_FULL: Final = 10305
_NOT_SUBSCRIBED: Final = 10400
_CHANNELS: Final = 900_000


class BitfinexSession(Session):
    """Channels of one connection. The wire name of a stream is its key, with ``1W`` for a week."""

    def __init__(
        self, market: Market, rules: BitfinexRules, listed: dict[str, Listing], counters: Counters, number: int
    ) -> None:
        super().__init__()
        self._market = market
        self._rules = rules
        self._listed = listed
        self._counters = counters
        self._number = number
        self._timeframes = {wire_timeframe(timeframe): timeframe for timeframe in rules.timeframes}
        self._stamped = False
        self._count = 0
        self._channels: dict[str, int] = {}
        self._asked: dict[str, Any] = {}

    def greeting(self, now_ms: int) -> tuple[str, ...]:
        server = str(UUID(int=(crc32(b"server") << 96) | (4 << 76) | (8 << 60) | self._number))
        return (dump({"event": "info", "version": 2, "serverId": server, "platform": {"status": 1}}),)

    def parse(self, text: str, now_ms: int) -> Request | Refusal | Keepalive:
        message = json_object(text)
        if message is None:
            return Refusal("no JSON object")
        self._asked = message
        match message.get("event"):
            case "ping":
                cid = {"cid": message["cid"]} if "cid" in message else {}
                return Keepalive((dump({"event": "pong", "ts": now_ms} | cid),))
            case "conf":
                return self._configure(message)
            case "subscribe":
                return self._subscribe(message, now_ms)
            case "unsubscribe":
                return self._unsubscribe(message)
            case event:
                return self._error(_UNKNOWN_EVENT, f"event: invalid ({event})", {})

    def grant(self, request: Request) -> Granted:
        (name,) = request.params
        if not request.subscribes:
            del self.names[name]
            reply = {"event": "unsubscribed", "status": "OK", "chanId": self._channels.pop(name)}
            return Granted((dump(reply),), unsubscribed=(name,))
        self.names[name] = None
        self._channels[name] = channel = self._new_channel()
        key = name.replace(f":{_WEEK}:", f":{self._rules.week}:")
        reply = {"event": "subscribed", "channel": "candles", "chanId": channel, "key": key}
        if self._rules.echoes_request and request.id is not None:
            reply["subId"] = request.id
        return Granted((dump(reply),), subscribed=(name,))

    def refuse(self, request: Request) -> Refusal:
        return self._error(_FAILED, "symbol: invalid", self._asked)

    def channel(self, name: str) -> Channel | None:
        shape = _KEY.fullmatch(name)
        timeframe = None if shape is None else self._timeframes.get(shape[1])
        listing = None if shape is None else self._listed.get(shape[2])
        if timeframe is None or listing is None:
            return None
        return Channel(name, listing.symbol, self._market.series(listing.spec.symbol, timeframe))

    def kline(self, channel: Channel, row: Row, event_ms: int, *, closed: bool) -> str:
        return self._frame(channel.name, candle(row, self._listed[channel.symbol].numbers), event_ms)

    def framing(self, name: str) -> Hashable:
        """Return the connection: no other one has the same number for the same channel."""
        return self._number

    def snapshot(self, channel: Channel, now_ms: int) -> str | None:
        rows = channel.series.last_rows(now_ms, self._rules.snapshot_rows, now_ms, flat=False)
        numbers = self._listed[channel.symbol].numbers
        return self._frame(channel.name, f"[{','.join(candle(row, numbers) for row in reversed(rows))}]", now_ms)

    def heartbeat(self, channel: Channel, now_ms: int) -> str | None:
        return self._frame(channel.name, '"hb"', now_ms)

    def maintenance(self) -> tuple[str, str]:
        return (
            dump({"event": "info", "code": 20060, "msg": "Entering in Maintenance mode. Please pause any activity"}),
            dump({"event": "info", "code": 20061, "msg": "Maintenance ended. You can resume normal activity."}),
        )

    def farewell(self, now_ms: int) -> str | None:
        return dump({"event": "info", "code": 20051, "msg": "Stop/Restart Websocket Server (please reconnect)"})

    def _frame(self, name: str, content: str, now_ms: int) -> str:
        return channel_frame(self._channels[name], content, now_ms if self._stamped else None)

    def _configure(self, message: dict[str, Any]) -> Keepalive | Refusal:
        flags = message.get("flags")
        if type(flags) is not int or flags < 0:
            return self._error(_BAD_CONF, "conf: invalid", {})
        self._stamped = bool(flags & _TIMESTAMP) and self._rules.stamps
        return Keepalive((dump({"event": "conf", "status": "OK", "flags": flags}),))

    def _subscribe(self, message: dict[str, Any], now_ms: int) -> Request | Refusal:
        if message.get("channel") != "candles":
            return self._error(_FAILED, "channel: unknown", message)
        key = message.get("key")
        shape = _KEY.fullmatch(key) if isinstance(key, str) else None
        if shape is None:
            return self._error(_FAILED, "key: invalid", message)
        name = f"trade:{_WEEK if shape[1] == _SEVEN_DAYS else shape[1]}:{shape[2]}"
        if name in self.names:
            known = {"chanId": self._channels[name]} if self._rules.names_duplicate else {}
            return self._error(_DUPLICATE, "subscribe: dup", message, known)
        listing = self._listed.get(shape[2])
        if listing is None or not listing.trades(self._market, now_ms):
            return self._error(_FAILED, "symbol: invalid", message)
        if self.channel(name) is None:
            return self._error(_FAILED, "key: invalid", message)
        if len(self.names) >= self._rules.max_channels:
            self._counters.violation("channels")
            return self._error(_FULL, "subscribe: limit", message)
        return Request("subscribe", message.get("subId"), (name,))

    def _unsubscribe(self, message: dict[str, Any]) -> Request | Refusal:
        channel = message.get("chanId")
        for name, number in self._channels.items():
            if number == channel and type(channel) is int:
                return Request("unsubscribe", None, (name,))
        return self._error(_NOT_SUBSCRIBED, "unsubscribe: invalid", message)

    def _error(self, code: int, text: str, request: dict[str, Any], more: dict[str, Any] | None = None) -> Refusal:
        echoed = {name: value for name, value in request.items() if name != "event"}
        if not self._rules.echoes_request:
            echoed = {}
        said = echoed | {"event": "error", "msg": text, "code": code} | (more or {})
        return Refusal(text, (dump(said),), request.get("subId"))

    def _new_channel(self) -> int:
        """Return a number that no channel of this connection ever had, and that looks like chance."""
        self._count += 1
        begin = crc32(str(self._number).encode()) % _CHANNELS
        return 1 + (begin + self._count * 7_919) % _CHANNELS
