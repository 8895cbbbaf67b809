"""Control messages of one WebSocket session: SUBSCRIBE and its siblings. Sans-IO; error texts are the venue's."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from attrs import define, field, frozen

from candleactors.sim.rules import ErrorShape, Rules
from candleactors.sim.wire import dump

_METHODS: Final = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")
_TEXT_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,36}", re.ASCII)
_KINDS: Final = re.compile(
    r"kline_(?P<interval>\d{1,2}[smhdwM])(@\+08:00)?|continuousKline_\w+|trade|aggTrade|blockTrade|miniTicker|ticker(_(1h|4h|1d))?|bookTicker"
    r"|avgPrice|referencePrice|markPrice(@1s)?|forceOrder|depth(5|10|20)?(@(100|250|500)ms)?",
    re.ASCII,
)
_ALL_MARKET: Final = re.compile(
    r"!(miniTicker|ticker(_(1h|4h|1d))?|markPrice|forceOrder)@arr(@1s)?|!bookTicker|!contractInfo"
)
_ID_ERROR: Final = "Invalid request: request ID must be an unsigned integer"

RequestId = int | str | None


@frozen
class Request:
    """A well-formed control message."""

    method: str
    id: RequestId
    params: tuple[Any, ...] = ()


@frozen
class Refusal:
    """What is wrong with a control message. `closes`: the venue ends the connection after saying so."""

    code: int
    message: str
    id: RequestId = None
    closes: bool = False


@frozen
class Granted:
    """What a request changed: names newly subscribed and unsubscribed, and the result to reply with."""

    result: object = None
    subscribed: tuple[str, ...] = ()
    unsubscribed: tuple[str, ...] = ()


@define
class Session:
    """Subscriptions and properties of one connection. Names keep the order in which they were subscribed."""

    rules: Rules
    combined: bool
    names: dict[str, None] = field(factory=dict)

    def parse(self, text: str) -> Request | Refusal:
        """Return the request in `text`, or why the venue refuses it. Changes nothing."""
        try:
            message = json.loads(text)
        except ValueError as problem:
            line, column = getattr(problem, "lineno", 1), getattr(problem, "colno", 1)
            where = f"Invalid JSON: expected value at line {line} column {column}"
            return Refusal(3, where, closes=self.rules.invalid_json_closes)
        except RecursionError:
            return Refusal(
                3, "Invalid JSON: recursion limit exceeded at line 1 column 128", closes=self.rules.invalid_json_closes
            )
        if not isinstance(message, dict):
            return Refusal(2, "Invalid request: expected an object at line 1 column 1")
        request_id = message.get("id")
        if not self._is_id(request_id):
            return Refusal(2, _ID_ERROR)
        if "method" not in message:
            return Refusal(2, f"Invalid request: missing field `method` at line 1 column {len(text)}", request_id)
        method, params = message["method"], message.get("params", [])
        if method not in _METHODS:
            known = ", ".join(f"`{name}`" for name in _METHODS)
            at = text.find(str(method)) + len(str(method)) + 1
            problem_text = f"Invalid request: unknown variant `{method}`, expected one of {known} at line 1 column {at}"
            return Refusal(2, problem_text, request_id)
        if not isinstance(params, list):
            return Refusal(2, "Invalid request: expected a sequence", request_id)
        problem_found = self._problem(method, params)
        if problem_found is not None:
            return Refusal(*problem_found, request_id)
        return Request(method, request_id, tuple(params))

    def grant(self, request: Request) -> Granted:
        """Carry `request` out and return what changed."""
        match request.method:
            case "SUBSCRIBE":
                new = tuple(dict.fromkeys(name for name in request.params if name not in self.names))
                self.names.update(dict.fromkeys(new))
                return Granted(subscribed=new)
            case "UNSUBSCRIBE":
                gone = tuple(dict.fromkeys(name for name in request.params if name in self.names))
                for name in gone:
                    del self.names[name]
                return Granted(unsubscribed=gone)
            case "LIST_SUBSCRIPTIONS":
                return Granted(result=list(self.names))
            case "SET_PROPERTY":
                self.combined = request.params[1]
                return Granted()
            case _:
                return Granted(result=self.combined)

    def reply(self, request: Request, granted: Granted) -> str:
        """Return the reply to a granted request."""
        return dump({"result": granted.result, "id": request.id})

    def error(self, refusal: Refusal) -> str:
        """Return the reply to a refused one; without an id where none could be read."""
        problem: dict[str, object] = {"code": refusal.code, "msg": refusal.message}
        if self.rules.error_shape is ErrorShape.NESTED:
            problem = {"error": problem}
        if refusal.id is not None:
            problem["id"] = refusal.id
        return dump(problem)

    def _is_id(self, value: object) -> bool:
        if isinstance(value, bool):
            return False
        if self.rules.integer_ids_only:
            return isinstance(value, int) and 0 <= value < 1 << 64
        if isinstance(value, str):
            return _TEXT_ID.fullmatch(value) is not None
        return value is None or (isinstance(value, int) and -(1 << 63) <= value < 1 << 63)

    def _problem(self, method: str, params: list[Any]) -> tuple[int, str] | None:
        if method in ("SUBSCRIBE", "UNSUBSCRIBE"):
            most = self.rules.max_names_per_request
            if most is not None and len(params) > most:
                return 2, "Invalid request: too many parameters"
            if not params or not all(isinstance(name, str) and self._is_stream(name) for name in params):
                return 2, "Invalid request: invalid stream"
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

    def _is_stream(self, name: str) -> bool:
        """Whether `name` is well-formed; the symbol need not exist."""
        if _ALL_MARKET.fullmatch(name):
            return True
        symbol, _, kind = name.partition("@")
        shape = _KINDS.fullmatch(kind)
        if not symbol or shape is None:
            return False
        interval = shape["interval"]
        return interval is None or any(interval == timeframe.text for timeframe in self.rules.timeframes)
