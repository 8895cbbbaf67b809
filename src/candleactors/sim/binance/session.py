"""One WebSocket connection in Binance's language: SUBSCRIBE and its siblings. Error texts are the venue's."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from candleactors.sim.binance.streams import Streams
from candleactors.sim.binance.wire import combined, kline, server_shutdown
from candleactors.sim.candles import Row
from candleactors.sim.dialect import Channel, Close, Granted, Refusal, Request, Session
from candleactors.sim.wire import dump

if TYPE_CHECKING:
    from candleactors.sim.binance.rules import BinanceRules

_METHODS: Final = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")
_TEXT_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,36}", re.ASCII)
_ID_ERROR: Final = "Invalid request: request ID must be an unsigned integer"
_STREAM_ERROR: Final = "Invalid request: invalid stream"

RequestId = int | str | None


class ErrorShape(StrEnum):
    """How a refused control message is answered: ``{"error":{...},"id":1}`` or ``{"code":...,"msg":...,"id":1}``."""

    NESTED = "nested"
    FLAT = "flat"


class BinanceSession(Session):
    """Subscriptions and properties of one connection. Without `klines`, all is acknowledged and nothing is pushed."""

    def __init__(
        self, rules: BinanceRules, streams: Streams, names: Iterable[str] = (), *, combined: bool, klines: bool = True
    ) -> None:
        super().__init__(names)
        self.combined = combined
        self._rules = rules
        self._streams = streams
        self._klines = klines

    def parse(self, text: str, now_ms: int) -> Request | Refusal:
        try:
            message = json.loads(text)
        except ValueError as problem:
            line, column = getattr(problem, "lineno", 1), getattr(problem, "colno", 1)
            return self._no_json(f"Invalid JSON: expected value at line {line} column {column}")
        except RecursionError:
            return self._no_json("Invalid JSON: recursion limit exceeded at line 1 column 128")
        if not isinstance(message, dict):
            return self._refusal(2, "Invalid request: expected an object at line 1 column 1")
        request_id = message.get("id")
        if not self._is_id(request_id):
            return self._refusal(2, _ID_ERROR)
        if "method" not in message:
            return self._refusal(2, f"Invalid request: missing field `method` at line 1 column {len(text)}", request_id)
        method, params = message["method"], message.get("params", [])
        if method not in _METHODS:
            known = ", ".join(f"`{name}`" for name in _METHODS)
            at = text.find(str(method)) + len(str(method)) + 1
            problem_text = f"Invalid request: unknown variant `{method}`, expected one of {known} at line 1 column {at}"
            return self._refusal(2, problem_text, request_id)
        if not isinstance(params, list):
            return self._refusal(2, "Invalid request: expected a sequence", request_id)
        problem_found = self._problem(method, params)
        if problem_found is not None:
            return self._refusal(*problem_found, request_id)
        return Request(method, request_id, tuple(params))

    def grant(self, request: Request) -> Granted:
        match request.method:
            case "SUBSCRIBE":
                new = tuple(dict.fromkeys(name for name in request.params if name not in self.names))
                self.names.update(dict.fromkeys(new))
                return Granted((_reply(request),), subscribed=new)
            case "UNSUBSCRIBE":
                gone = tuple(dict.fromkeys(name for name in request.params if name in self.names))
                for name in gone:
                    del self.names[name]
                return Granted((_reply(request),), unsubscribed=gone)
            case "LIST_SUBSCRIPTIONS":
                return Granted((_reply(request, list(self.names)),))
            case "SET_PROPERTY":
                self.combined = request.params[1]
                return Granted((_reply(request),))
            case _:
                return Granted((_reply(request, self.combined),))

    def refuse(self, request: Request) -> Refusal:
        return self._refusal(2, _STREAM_ERROR, request.id)

    def channel(self, name: str) -> Channel | None:
        return self._streams.channel(name) if self._klines else None

    def kline(self, channel: Channel, row: Row, event_ms: int, *, closed: bool) -> str:
        decimals, interval = self._streams.decimals[channel.symbol], channel.series.timeframe.text
        payload = kline(channel.symbol, interval, row, decimals, event_ms, closed=closed)
        return combined(channel.name, payload) if self.combined else payload

    def framing(self, name: str) -> bool:
        return self.combined

    def farewell(self, now_ms: int) -> str | None:
        if not self._rules.shutdown_notice:
            return None
        payload = server_shutdown(now_ms)
        return combined("!serverShutdown", payload) if self.combined else payload

    def _no_json(self, message: str) -> Refusal:
        close = Close(1008, "Invalid JSON") if self._rules.invalid_json_closes else None
        return self._refusal(3, message, close=close)

    def _refusal(self, code: int, message: str, request_id: RequestId = None, *, close: Close | None = None) -> Refusal:
        """Return the refusal of a request; its reply has no id where none could be read."""
        problem: dict[str, object] = {"code": code, "msg": message}
        if self._rules.error_shape is ErrorShape.NESTED:
            problem = {"error": problem}
        if request_id is not None:
            problem["id"] = request_id
        return Refusal(f"error {code} {message}", (dump(problem),), request_id, close)

    def _is_id(self, value: object) -> bool:
        if isinstance(value, bool):
            return False
        if self._rules.integer_ids_only:
            return isinstance(value, int) and 0 <= value < 1 << 64
        if isinstance(value, str):
            return _TEXT_ID.fullmatch(value) is not None
        return value is None or (isinstance(value, int) and -(1 << 63) <= value < 1 << 63)

    def _problem(self, method: str, params: list[Any]) -> tuple[int, str] | None:
        if method in ("SUBSCRIBE", "UNSUBSCRIBE"):
            most = self._rules.max_names_per_request
            if most is not None and len(params) > most:
                return 2, "Invalid request: too many parameters"
            if not params or not all(isinstance(name, str) and self._streams.well_formed(name) for name in params):
                return 2, _STREAM_ERROR
        elif method != "LIST_SUBSCRIPTIONS":
            wanted = 2 if method == "SET_PROPERTY" else 1
            if len(params) > wanted:
                return 2, "Invalid request: too many parameters"
            if not params or not isinstance(params[0], str):
                return 2, "Invalid request: property name must be a string"
            if params[0] != "combined":
                return 0, "Unknown property"
            if wanted == 2 and (len(params) < 2 or not isinstance(params[1], bool)):
                return 1, "Invalid value type: expected Boolean"
        return None


def _reply(request: Request, result: object = None) -> str:
    return dump({"result": result, "id": request.id})
