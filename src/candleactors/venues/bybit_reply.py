"""Everything Bybit sends on a public connection, understood strictly: klines, replies, other pushes, and nonsense.

The slow way, for all but plain kline pushes. It parses with the standard library, which can refuse duplicate keys.

Requests and answers: https://bybit-exchange.github.io/docs/v5/ws/connect

The texts of errors are not documented. Those seen: ``error:handler not found,topic:…``, ``error:already
subscribed,topic:…``, ``error:invalid op`` (linear), ``Invalid symbol :[…]``, ``args size >10`` (spot),
``Invalid topic: …``. A refused request is refused as a whole, although the error names a single topic.
"""

from __future__ import annotations

import re
from typing import Any, Final, TypeAlias

import msgspec

from candleactors.errors import excerpt
from candleactors.venues.base import Acked, Refused, Reply
from candleactors.venues.bybit_kline import KlinePush
from candleactors.venues.strict_json import strict_json

Meaning: TypeAlias = KlinePush | tuple[Reply, ...]
"""A kline push, or replies: none for a valid message that nobody asked for."""

_NO_CODE: Final = 0  # errors of public connections have only a text
_REQUEST_ID: Final = re.compile(r"0|[1-9][0-9]{0,17}", re.ASCII)
_TOPIC: Final = re.compile(r"[A-Za-z]+(?:\.[A-Za-z0-9_]+){0,2}\.[A-Z0-9-]+", re.ASCII)
_BETWEEN_WORDS: Final = re.compile(r"""[\s,;:\[\](){}"']+""", re.ASCII)
_ALREADY_SUBSCRIBED: Final = re.compile(r"already subscribed", re.IGNORECASE)
_PASSING: Final = re.compile(
    r"args (?:size|length)|>\s*[0-9]|too (?:many|often|long)|limit|frequen|exceed|busy|overload|timeout|try again"
    r"|internal|system",
    re.IGNORECASE,
)


def understand(raw: bytes) -> Meaning:
    """Return what one message means; raises `ValueError` with the problem where it means nothing."""
    message = strict_json(raw)
    if not isinstance(message, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - the caller knows one kind of failure
    if "topic" in message:
        return _push(message)
    if message.get("op") in ("ping", "pong"):
        return ()  # a public pong repeats the op of the ping and says success, as an acknowledgement would
    success = message.get("success")
    if success is False:
        return _refusal(message)
    if success is not None and not isinstance(success, bool):
        raise ValueError("an unknown kind of reply")
    if success and message.get("op") in ("subscribe", "unsubscribe"):
        known, request_id = _request_id(message)
        return (Acked(request_id),) if known else ()
    if success is None and not isinstance(message.get("op"), str):
        raise ValueError("a message without topic, op and success")
    return ()


def _push(message: dict[str, Any]) -> Meaning:
    name = message["topic"]
    if not isinstance(name, str):
        raise ValueError("a topic that is no text")  # noqa: TRY004 - as above
    if not name.startswith("kline."):
        return ()
    try:
        push = msgspec.convert(message, KlinePush)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from None
    if not push.klines:
        raise ValueError("a push without a kline")
    return push


def _refusal(message: dict[str, Any]) -> tuple[Reply, ...]:
    known, request_id = _request_id(message)
    reason = message.get("ret_msg", message.get("retMsg", ""))
    code = message.get("retCode", _NO_CODE)
    if not isinstance(reason, str) or type(code) is not int:
        raise ValueError("an unknown kind of error reply")
    if not known:
        return ()
    named = tuple(dict.fromkeys(word for word in _BETWEEN_WORDS.split(reason) if _TOPIC.fullmatch(word)))
    text = excerpt(reason)
    if named and _ALREADY_SUBSCRIBED.search(reason):
        # What it names is as it should be. The others were refused with it, without being at fault.
        return Acked(None, named), Refused(request_id, code, text, names=())
    if _PASSING.search(reason):
        return (Refused(request_id, code, text, names=(), passing=True),)
    if named:
        return (Refused(request_id, code, text, named),)
    return (Refused(request_id, code, text),)


def _request_id(message: dict[str, Any]) -> tuple[bool, int | None]:
    """Return whether the answer may be to a request of ours, and its number, ``None`` where it does not say."""
    text = message.get("req_id", "")
    if text == "" or text is None:
        return True, None
    if not isinstance(text, str):
        raise ValueError("a reply with an impossible req_id")  # noqa: TRY004 - as above
    return (True, int(text)) if _REQUEST_ID.fullmatch(text) else (False, None)
