"""One WebSocket connection in OKX's language: subscribe, unsubscribe, ``ping``. Error texts are the venue's.

https://www.okx.com/docs-v5/en/#overview-websocket-subscribe and ``#error-code-websocket``
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from zlib import crc32

from candleactors.model import HOUR_MS
from candleactors.sim.candles import Row
from candleactors.sim.counters import Counters
from candleactors.sim.dialect import Channel, Granted, Keepalive, Refusal, Request, Session
from candleactors.sim.market import Market
from candleactors.sim.okx.bars import BARS
from candleactors.sim.okx.instruments import Instrument
from candleactors.sim.wire import dump

if TYPE_CHECKING:
    from candleactors.sim.okx.rules import OkxRules

_ID: Final = re.compile(r"[A-Za-z0-9]{1,32}", re.ASCII)
_SILENT: Final = ("tickers", "trades", "books", "books5", "bbo-tbt", "mark-price")
"""Public channels that can be subscribed on their own path. Nothing is simulated of what they say."""
_WORDINGS: Final = ("Subscribe failed, wrong URL or", "Wrong URL or")
_TOO_FREQUENT: Final = "Requests too frequent."


class OkxSession(Session):
    """Subscriptions of one connection at `path`; only ``business`` carries candles.

    The venue is not of one mind about its errors, so that connections differ by number: every other one words error
    60018 in the older way, and two of every four leave the request's id out of it.
    """

    def __init__(
        self,
        path: str,
        number: int,
        market: Market,
        rules: OkxRules,
        instruments: Mapping[str, Instrument],
        counters: Counters,
    ) -> None:
        super().__init__()
        self._path = path
        self._connection = f"connection {number}"
        self._conn_id = f"{crc32(b'%d' % number):08x}"
        self._wording = _WORDINGS[number % 2]
        self._names_requests = number % 4 < 2
        self._market = market
        self._rules = rules
        self._instruments = instruments
        self._counters = counters
        self._spent: deque[tuple[int, int]] = deque()
        self._now_ms = 0

    def parse(self, text: str, now_ms: int) -> Request | Refusal | Keepalive:
        self._now_ms = now_ms
        if text == "ping":
            return Keepalive(("pong",))
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            return self._refusal("60012", f"Illegal request: {text[:1000]}")
        if not isinstance(message, dict):
            return self._refusal("60012", f"Illegal request: {text[:1000]}")
        request_id = message.get("id")
        if request_id is not None and not (isinstance(request_id, str) and _ID.fullmatch(request_id)):
            return self._refusal("60033", "Parameter id error.")
        op, args = message.get("op"), message.get("args")
        if op == "login":
            return self._refusal("60009", "Login failed.", request_id)
        if op not in ("subscribe", "unsubscribe"):
            return self._refusal("60019", f"Invalid op: {op}", request_id)
        if not isinstance(args, list) or not args or not all(map(_is_arg, args)):
            return self._refusal("60012", f"Invalid request: {text[:1000]}", request_id)
        if not self._within_budget(len(args) if self._rules.each_channel_counts else 1, now_ms):
            self._counters.violation("subscription_rate", self._connection)
            why = self._refusal("60014", _TOO_FREQUENT, request_id)
            return Refusal(why.why, why.replies, why.id, self._rules.too_frequent_close)
        return Request(op, request_id, tuple(f"{arg['channel']}:{arg['instId']}" for arg in args))

    def grant(self, request: Request) -> Granted:
        replies, changed = [], []
        for name in request.params:
            refused = self._problem(name)
            if refused is not None:
                replies.append(self._no_such_channel(name, request.id) if refused == "60018" else self._log_in(request))
                continue
            replies.append(self._ack(request, name))
            if request.subscribes and name not in self.names:
                self.names[name] = None
                changed.append(name)
            elif not request.subscribes and name in self.names:
                del self.names[name]
                changed.append(name)
        subscribed = tuple(changed) if request.subscribes else ()
        gone = () if request.subscribes else tuple(changed)
        accepted = sum('"event":"error"' not in reply for reply in replies)
        return Granted(tuple(replies), subscribed, gone, f"{accepted} of {len(replies)} ok")

    def refuse(self, request: Request) -> Refusal:
        text = f"Operation {request.method} failed due to WebSocket internal error. Please try again later."
        return self._refusal("64007", text, request.id)

    def channel(self, name: str) -> Channel | None:
        channel, _, symbol = name.partition(":")
        timeframe = BARS.get(channel.removeprefix("candle")) if channel.startswith("candle") else None
        instrument = self._instruments.get(symbol)
        if self._path != "business" or timeframe is None or instrument is None:
            return None
        return Channel(name, symbol, self._market.series(instrument.spec.symbol, timeframe))

    def kline(self, channel: Channel, row: Row, event_ms: int, *, closed: bool) -> str:
        columns = '","'.join(self._instruments[channel.symbol].columns(row, closed=closed))
        arg = f'{{"channel":"{channel.name.partition(":")[0]}","instId":"{channel.symbol}"}}'
        return f'{{"arg":{arg},"data":[["{columns}"]]}}'

    def farewell(self, now_ms: int) -> str:
        text = "The connection will soon be closed for a service upgrade. Please reconnect."
        return dump({"event": "notice", "code": "64008", "msg": text, "connId": self._conn_id})

    def _within_budget(self, cost: int, now_ms: int) -> bool:
        spent = self._spent
        while spent and spent[0][0] <= now_ms - HOUR_MS:
            spent.popleft()
        if sum(one for _, one in spent) + cost > self._rules.subscriptions_per_hour:
            return False
        spent.append((now_ms, cost))
        return True

    def _problem(self, name: str) -> str | None:
        """Return the code with which the venue refuses a channel, if it does."""
        channel, _, symbol = name.partition(":")
        if self._path == "private" and not channel.startswith("candle"):
            return "60011"
        known = self.channel(name) is not None or (self._path == "public" and channel in _SILENT)
        instrument = self._instruments.get(symbol)
        if not known or instrument is None:
            return "60018"
        listed = instrument.spec.symbol
        if self._market.listed_ms(listed) > self._now_ms or self._market.delisted(listed, self._now_ms):
            return "60018"
        return None

    def _ack(self, request: Request, name: str) -> str:
        reply = {"event": request.method, "arg": _arg(name), "connId": self._conn_id}
        return dump(reply if request.id is None else {"id": request.id} | reply)

    def _no_such_channel(self, name: str, request_id: Any) -> str:
        arg = _arg(name)
        text = (
            f"{self._wording} channel:{arg['channel']},instId:{arg['instId']} doesn't exist. Please use the correct "
            "URL, channel and parameters referring to API document."
        )
        return self._error("60018", text, request_id if self._names_requests else None)

    def _log_in(self, request: Request) -> str:
        return self._error("60011", "Please log in", request.id)

    def _error(self, code: str, text: str, request_id: Any) -> str:
        error = {"event": "error", "msg": text, "code": code, "connId": self._conn_id}
        return dump(error if request_id is None else {"id": request_id} | error)

    def _refusal(self, code: str, text: str, request_id: Any = None) -> Refusal:
        return Refusal(f"error {code} {text[:80]}", (self._error(code, text, request_id),), request_id)


def _is_arg(arg: object) -> bool:
    return isinstance(arg, dict) and all(isinstance(arg.get(key), str) for key in ("channel", "instId"))


def _arg(name: str) -> dict[str, str]:
    channel, _, symbol = name.partition(":")
    return {"channel": channel, "instId": symbol}
