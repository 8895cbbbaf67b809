"""Everything Binance sends, understood strictly: klines, replies, notices, other events, and nonsense.

The slow way, for all but plain forming candles. It parses with the standard library, which can refuse duplicate keys.

Control messages and their error codes:
https://github.com/binance/binance-spot-api-docs/blob/master/web-socket-streams.md#live-subscribingunsubscribing-to-streams

The documentation shows errors flat (``{"code":2,"msg":"...","id":1}``); servers send them nested
(``{"error":{"code":2,"msg":"..."},"id":1}``). Both are understood.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import msgspec
from attrs import frozen

from candleactors.errors import excerpt
from candleactors.venues.base import Acked, ClosingSoon, Listed, Refused, Reply
from candleactors.venues.binance_kline import KlineEvent
from candleactors.venues.strict_json import strict_json


@frozen
class Ignored:
    """A valid message that nobody asked for."""


@frozen
class KlineMessage:
    """A kline event; `name` is what the wrapper calls its stream, ``None`` without a wrapper."""

    name: str | None
    event: KlineEvent


Meaning: TypeAlias = Reply | ClosingSoon | Ignored | KlineMessage

_IGNORED: Final = Ignored()


def understand(raw: bytes) -> Meaning:
    """Return what one message means; raises `ValueError` with the problem where it means nothing."""
    message = strict_json(raw)
    if not isinstance(message, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - the caller knows one kind of failure
    if "stream" in message:
        name = message["stream"]
        if not isinstance(name, str) or "data" not in message:
            raise ValueError("a broken wrapper")
        return _event(message["data"], name)
    if "error" in message or "result" in message or "code" in message:
        return _reply(message)
    return _event(message, None)


def _event(event: Any, name: str | None) -> Meaning:
    if isinstance(event, list):
        return _other(name)
    if not isinstance(event, dict):
        raise ValueError("an event that is not an object")  # noqa: TRY004 - as above
    kind = event.get("e")
    if kind == "kline":
        try:
            return KlineMessage(name, msgspec.convert(event, KlineEvent))
        except msgspec.ValidationError as error:
            raise ValueError(str(error)) from None
    if kind == "serverShutdown":
        return ClosingSoon()
    if isinstance(kind, str) or (kind is None and name is not None):  # combined book tickers have no kind
        return _other(name)
    raise ValueError("an event without a kind")


def _other(name: str | None) -> Ignored:
    if name is not None and "@kline_" in name:
        raise ValueError("not a kline, on a kline stream")
    return _IGNORED


def _reply(message: dict[str, Any]) -> Reply | Ignored:
    request_id = message.get("id")
    if isinstance(request_id, str):
        return _IGNORED  # our own ids are numbers
    if request_id is not None and type(request_id) is not int:
        raise ValueError("a reply with an impossible id")
    error = message if "code" in message else message.get("error")
    if error is not None:
        return _refusal(error, request_id)
    result = message.get("result")
    if request_id is None or isinstance(result, bool):
        return _IGNORED
    if result is None and "result" in message:
        return Acked(request_id)
    if isinstance(result, list) and all(isinstance(name, str) for name in result):
        return Listed(request_id, tuple(result))
    raise ValueError("an unknown kind of reply")


def _refusal(error: Any, request_id: int | None) -> Refused:
    if isinstance(error, dict):
        code, reason = error.get("code"), error.get("msg")
        if type(code) is int and isinstance(reason, str):
            return Refused(request_id, code, excerpt(reason))
    raise ValueError("an unknown kind of error reply")
