"""Traces: what happened in a simulation, event by event, as a digest and if wanted as lines to read."""

from __future__ import annotations

from collections import deque
from hashlib import blake2b

import trio

from candleactors.model import Candle, Event, Gap, Revision

_LAST_LINES = 60


class Trace:
    """Takes in everything that happens, in the order in which it happens."""

    def __init__(self, *, keep: bool = False) -> None:
        """`keep` keeps every line; otherwise only the last ones are there to be read."""
        self.lines: deque[str] = deque(maxlen=None if keep else _LAST_LINES)
        self.events = 0
        self._hash = blake2b(digest_size=16)

    def note(self, kind: str, text: str) -> None:
        """Take in that something happened."""
        line = f"{trio.current_time():12.3f} {kind:<10} {text}"
        self.events += 1
        self._hash.update(line.encode("utf-8", "backslashreplace"))
        self.lines.append(line)

    def event(self, reader: str, event: Event) -> None:
        """Take in that a reader was given an event."""
        self.note(reader, described(event))

    @property
    def digest(self) -> str:
        """Equal for equal traces and, as far as anybody can tell, only for these."""
        return self._hash.hexdigest()


def described(event: Event) -> str:
    """Return an event as one line."""
    if isinstance(event, Gap):
        return f"gap {event.stream} {event.first_open_ms}..{event.last_open_ms} {event.reason}"
    if isinstance(event, Revision):
        return f"revision {_values(event.candle)} number {event.candle.revision}"
    return f"{'candle' if event.closed else 'forming'} {_values(event)}"


def _values(candle: Candle) -> str:
    missing = f" without {candle.missing}" if candle.missing else ""
    return (
        f"{candle.stream} {candle.open_time_ms} {candle.open} {candle.high} {candle.low} {candle.close}"
        f" {candle.volume} {candle.quote_volume} {candle.trades} {candle.source}{missing}"
    )
