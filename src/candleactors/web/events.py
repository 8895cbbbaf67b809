"""Events as they go over the wire to readers of live candles: encoded once, however many read them."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec
from attrs import asdict

from candleactors.actors.stream_status import StreamStatus
from candleactors.model import Candle, Event, Gap, Revision, Stream
from candleactors.records import candle_record

_MOST: Final = 8_192
_encode: Final = msgspec.json.Encoder().encode


class Encoded(NamedTuple):
    """An event as it goes to every reader, and where they stand after it: `stream` is ``None`` if where they stood."""

    body: bytes
    stream: Stream | None
    open_ms: int


class EventEncoder:
    """Encodes what subscriptions deliver as server-sent events, and remembers the last thousands.

    Subscriptions hand the same objects to all their readers, so that what is remembered is found by identity.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[Event, Encoded]] = {}

    def __call__(self, event: Event) -> Encoded:
        """Return `event` without its id, which is each reader's own."""
        known = self._known.get(id(event))
        if known is not None:
            return known[1]
        encoded = _encoded(event)
        self._known[id(event)] = (event, encoded)  # as long as the event is held, nothing else has its identity
        if len(self._known) > _MOST:
            del self._known[next(iter(self._known))]
        return encoded


def connected(states: list[msgspec.Raw], *, resumed: bool, heartbeat_s: float, time_ms: int) -> bytes:
    """Return the event that begins every connection."""
    data = {"streams": states, "resumed": resumed, "heartbeat_s": heartbeat_s, "time_ms": time_ms}
    return _event("connected", data)


def heartbeat(states: list[msgspec.Raw], *, time_ms: int) -> bytes:
    """Return the event that says that the connection, and the server, live."""
    return _event("heartbeat", {"time_ms": time_ms, "streams": states})


def state(status: StreamStatus) -> msgspec.Raw:
    """Return how a stream is, as `connected` and `heartbeat` have it: encoded, since hundreds may be told the same."""
    return msgspec.Raw(_encode(asdict(status)))


def lagged(message: str) -> bytes:
    """Return the event that tells a reader that it is cut off."""
    return _event("lagged", {"message": message})


def gap_record(gap: Gap) -> dict[str, Any]:
    """Return the public fields of a gap."""
    return {
        "venue": gap.stream.venue,
        "symbol": gap.stream.symbol,
        "timeframe": str(gap.stream.timeframe),
        "first_open_ms": gap.first_open_ms,
        "last_open_ms": gap.last_open_ms,
        "count": gap.count,
        "reason": gap.reason.value,
    }


def _encoded(event: Event) -> Encoded:
    if isinstance(event, Candle):
        return Encoded(
            _event("candle_update", candle_record(event)), event.stream if event.closed else None, event.open_time_ms
        )
    if isinstance(event, Revision):
        return Encoded(_event("revision", candle_record(event.candle)), None, 0)
    return Encoded(_event("gap", gap_record(event)), event.stream, event.last_open_ms)


def _event(name: str, data: Any) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), _encode(data))
