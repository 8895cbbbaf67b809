"""Everything OKX sends over its candle connections, understood strictly: pushes, replies, notices, and nonsense.

The slow way, for all but plain single rows. It parses with the standard library, which can refuse duplicate keys.

Replies and error codes: https://www.okx.com/docs-v5/en/#overview-websocket-subscribe and ``#error-code-websocket``

A request is acknowledged channel by channel. An error names no channel but in its text, and repeats the request's id
at best. ``Wrong URL or channel:candle1s,instId:BTC-USDT-SWAP doesn't exist.`` and ``Subscribe failed, wrong URL or
channel:…`` are about one channel; the others of the request get answers of their own.
"""

from __future__ import annotations

import re
from typing import Any, Final, TypeAlias

import msgspec
from attrs import frozen

from candleactors.errors import excerpt
from candleactors.venues.base import Acked, ClosingSoon, Refused, Reply
from candleactors.venues.okx_candle import Push
from candleactors.venues.okx_rules import CHANNELS, SYMBOL
from candleactors.venues.strict_json import strict_json

_CLOSING_SOON: Final = 64008
# Too many requests; errors inside the venue. All others are about what was asked for, or where.
_PASSING: Final = frozenset({50001, 50004, 50011, 50013, 50026, 60014, 63999, 64007})

_CULPRIT: Final = re.compile(r"channel:\s*([^\s,:\"]+)\s*,(?:[^\s,:\"]+:[^\s,\"]*,)*?\s*instId:\s*([^\s,\"]+)")
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,17}", re.ASCII)


@frozen
class Ignored:
    """A valid message that nobody asked for."""


Meaning: TypeAlias = Reply | ClosingSoon | Ignored | Push

_IGNORED: Final = Ignored()


def is_name(name: str) -> bool:
    """Whether `name` is one that we can have subscribed: ``<channel>:<instId>``."""
    channel, _, instrument = name.partition(":")
    return channel in CHANNELS and SYMBOL.fullmatch(instrument) is not None


def understand(raw: bytes) -> Meaning:
    """Return what one message means; raises `ValueError` with the problem where it means nothing."""
    if raw == b"pong":
        return _IGNORED
    message = strict_json(raw)
    if not isinstance(message, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - the caller knows one kind of failure
    if "event" in message:
        return _event(message)
    if "arg" in message:
        return _push(message)
    raise ValueError("neither an event nor a push")


def _push(message: dict[str, Any]) -> Push | Ignored:
    arg = message["arg"]
    if not isinstance(arg, dict) or not isinstance(arg.get("channel"), str) or "data" not in message:
        raise ValueError("a broken push")
    if not arg["channel"].startswith("candle"):
        return _IGNORED
    try:
        return msgspec.convert(message, Push)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from None


def _event(message: dict[str, Any]) -> Meaning:
    event = message["event"]
    if event in ("subscribe", "unsubscribe"):
        name = _name(message.get("arg"))
        # Asking for the same twice, or for what nobody here can want, is none of the caller's business.
        return Acked(_request_id(message), (name,)) if name is not None and is_name(name) else _IGNORED
    if event == "error":
        return _refusal(message)
    if event == "notice":
        return ClosingSoon() if _code(message) == _CLOSING_SOON else _IGNORED
    if isinstance(event, str):
        return _IGNORED
    raise ValueError("an event without a kind")


def _name(arg: Any) -> str | None:
    """Return the wire name in a reply's ``arg``, ``None`` for a channel that is not about one instrument."""
    if not isinstance(arg, dict) or not isinstance(arg.get("channel"), str):
        raise ValueError("a reply that names no channel")  # noqa: TRY004 - as above
    instrument = arg.get("instId")
    if instrument is None and not arg["channel"].startswith("candle"):
        return None
    if not isinstance(instrument, str):
        raise ValueError("a reply that names no instrument")  # noqa: TRY004 - as above
    return f"{arg['channel']}:{instrument}"


def _refusal(message: dict[str, Any]) -> Refused:
    code = _code(message)
    text = message.get("msg", "")
    if code is None or not isinstance(text, str):
        raise ValueError("an unknown kind of error")
    found = dict.fromkeys(f"{match[1]}:{match[2].rstrip('.;')}" for match in _CULPRIT.finditer(text))
    culprits = tuple(name for name in found if is_name(name))
    return Refused(
        _request_id(message),
        code,
        excerpt(text),
        names=culprits or None,
        voids=not culprits,
        passing=code in _PASSING,
    )


def _code(message: dict[str, Any]) -> int | None:
    return _whole(message.get("code"))


def _request_id(message: dict[str, Any]) -> int | None:
    """Return the id of a reply, ``None`` where it has none or one that cannot be ours."""
    return _whole(message.get("id"))


def _whole(value: Any) -> int | None:
    if type(value) is int:
        return value if 0 <= value < 10**18 else None
    return int(value) if isinstance(value, str) and _NUMBER.fullmatch(value) else None
