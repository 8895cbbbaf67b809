"""The channels of one connection to Bitfinex, and the events that make and end them.

Events and error codes: https://docs.bitfinex.com/docs/ws-general and
https://docs.bitfinex.com/docs/abbreviations-glossary

A reply repeats the fields of its request, as far as is known, the ``subId`` among them; where it does not, the key of
the channel or its number tells which request is meant.
"""

from __future__ import annotations

from typing import Any, Final

from attrs import define

from candleactors.errors import excerpt
from candleactors.venues.base import Acked, Decoded, Refused
from candleactors.venues.bitfinex_closing import Closing

_DUPLICATE: Final = 10_301
_NOT_CARRIED: Final = (10_400, 10_401)
# About the moment, not about the name: an event refused as such, no more channels, not ready, too often, maintenance.
_PASSING: Final = (10_000, 10_001, 10_305, 11_000, 11_010, 20_051, 20_060)
_CLOSING_SOON: Final = (20_051, 20_061)  # about to stop; maintenance over, subscribe anew
_VERSION: Final = 2
_CANDLES: Final = "candles"
_MAX_ID: Final = 2**53


@define
class Channel:
    """What the server sends under one number. `closing` is ``None`` until the first frame that is listened to."""

    name: str
    closing: Closing | None = None


class Channels:
    """See the module's description."""

    def __init__(self) -> None:
        self.beats = False
        """Whether this server is known to send heartbeats in time."""
        self._channels: dict[int, Channel] = {}
        self._numbers: dict[str, int] = {}
        self._asked: dict[str, int] = {}  # names to the requests that ask to subscribe them
        self._leaving: dict[int, int] = {}  # channels to the requests that ask to unsubscribe them

    def get(self, number: int) -> Channel | None:
        """Return the channel with this number, ``None`` where there is none."""
        return self._channels.get(number)

    def on_beats(self) -> None:
        """Take in that heartbeats come in time: on one channel, so on all."""
        self.beats = True
        for channel in self._channels.values():
            if channel.closing is not None:
                channel.closing.beats = True

    def subscribe(self, request_id: int, name: str) -> dict[str, Any]:
        """Return the message that subscribes `name`."""
        self._asked[name] = request_id
        return {"event": "subscribe", "channel": _CANDLES, "key": name, "subId": str(request_id)}

    def unsubscribe(self, request_id: int, name: str) -> dict[str, Any] | None:
        """Return the message that unsubscribes `name`, ``None`` where it has no channel."""
        number = self._numbers.get(name)
        if number is None:
            return None
        self._leaving[number] = request_id
        return {"event": "unsubscribe", "chanId": number}

    def on_event(self, message: dict[str, Any], decoded: Decoded) -> None:
        """Add to `decoded` what an event means; raises `ValueError` where it is none."""
        match message.get("event"):
            case "info":
                self._on_info(message, decoded)
            case "subscribed":
                self._on_subscribed(message, decoded)
            case "unsubscribed":
                self._on_unsubscribed(message, decoded)
            case "error":
                self._on_error(message, decoded)
            case str():  # conf, pong, auth; whether our flag was taken shows in the frames
                decoded.ignored += 1
            case _:
                raise ValueError("an object that is no event")

    def _on_info(self, message: dict[str, Any], decoded: Decoded) -> None:
        version = message.get("version", _VERSION)
        if version != _VERSION or isinstance(version, bool):
            raise ValueError("another version of the protocol")
        if message.get("code") in _CLOSING_SOON:
            decoded.closing_soon = True
        else:
            decoded.ignored += 1

    def _on_subscribed(self, message: dict[str, Any], decoded: Decoded) -> None:
        if message.get("channel") != _CANDLES:
            decoded.ignored += 1
            return
        number = _number(message.get("chanId"))
        name, request_id = self._request(message)
        if number is None or name is None:
            raise ValueError("a channel without number or key")
        self._asked.pop(name, None)
        self._carry(name, number)
        decoded.replies.append(Acked(request_id, (name,)))

    def _on_unsubscribed(self, message: dict[str, Any], decoded: Decoded) -> None:
        number = _number(message.get("chanId"))
        if number is None:
            raise ValueError("unsubscribed from no channel")
        channel = self._channels.get(number)
        if channel is None:
            decoded.ignored += 1
            return
        request_id = self._leaving.pop(number, None)
        if message.get("status", "OK") != "OK":
            decoded.replies.append(Refused(request_id, 0, "not unsubscribed", (channel.name,)))
            return
        self._drop(number)
        decoded.replies.append(Acked(request_id, (channel.name,)))

    def _on_error(self, message: dict[str, Any], decoded: Decoded) -> None:
        code, reason = message.get("code"), message.get("msg", "")
        if type(code) is not int or not isinstance(reason, str):
            raise ValueError("an error without a code")
        number = _number(message.get("chanId"))
        if code in _NOT_CARRIED:
            if number is None and len(self._leaving) == 1:
                (number,) = self._leaving
            channel = self._channels.get(number) if number is not None else None
            request_id = self._leaving.pop(number, None) if number is not None else None
            if channel is not None and number is not None:
                self._drop(number)  # it cannot be ours, whatever it was
            names = None if channel is None else (channel.name,)
            decoded.replies.append(Refused(request_id, code, excerpt(reason), names))
            return
        name, request_id = self._request(message)
        if name is None and "key" not in message and len(self._asked) == 1 and not self._leaving:
            (name,) = self._asked  # nothing else can be meant
        if name is not None:
            self._asked.pop(name, None)
        if code == _DUPLICATE and name is not None:
            if number is not None:
                self._carry(name, number)
            decoded.replies.append(Acked(request_id, (name,)))
            return
        names = None if name is None else (name,)
        passing = code in _PASSING or code == _DUPLICATE  # of whom nobody knows, but it is no fault of theirs
        decoded.replies.append(Refused(request_id, code, excerpt(reason), names, passing=passing))

    def _request(self, message: dict[str, Any]) -> tuple[str | None, int | None]:
        """Return the name and the request that a reply is about, as far as it says so."""
        request_id = _number(message.get("subId"))
        key = message.get("key")
        name = None if not isinstance(key, str) or _is_odd(key) else key.replace(":7D:", ":1W:", 1)
        for asked, by in self._asked.items():
            if by == request_id:
                return asked, request_id
        return name, request_id

    def _carry(self, name: str, number: int) -> None:
        if self._numbers.get(name) == number:
            return
        self._drop(number)
        known = self._numbers.get(name)
        if known is not None:
            self._drop(known)
        self._channels[number] = Channel(name)
        self._numbers[name] = number

    def _drop(self, number: int) -> None:
        channel = self._channels.pop(number, None)
        self._leaving.pop(number, None)
        if channel is not None and self._numbers.get(channel.name) == number:
            del self._numbers[channel.name]


def _number(value: Any) -> int | None:
    """Return a number as the server writes it, or as it repeats our own text; ``None`` for anything else."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16:
        return int(value)
    return value if type(value) is int and 0 <= value <= _MAX_ID else None


def _is_odd(key: str) -> bool:
    """Whether no stream of ours can be called so."""
    return not (key.startswith("trade:") and len(key) < 128 and key.isprintable())
