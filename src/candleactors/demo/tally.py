"""The tally: what the subscriber got, boiled down to what a screen can show."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from typing import Final

from attrs import define, field

from candleactors.model import Candle, Event, Gap, Revision, Source, Stream

CLOSES: Final = 60
"""Closing prices remembered of each stream."""
_NOTES: Final = 50


@define
class Line:
    """One stream: its last closed candle, its latest closing prices, and how many candles came."""

    stream: Stream
    last: Candle | None = None
    closes: deque[float] = field(factory=lambda: deque(maxlen=CLOSES))
    candles: int = 0
    history_ms: int | None = None
    """Time of receipt of the answer that brought the history."""


@define
class Note:
    """Something that happened: `at_s` seconds after the start. `level` is a log level, or ``fault``."""

    at_s: float
    level: str
    text: str


class Tally:
    """Counts events and remembers the latest. Synchronous."""

    def __init__(self, streams: Iterable[Stream]) -> None:
        self.lines = {stream: Line(stream) for stream in streams}
        self.notes: deque[Note] = deque(maxlen=_NOTES)
        self.faults: Counter[str] = Counter()
        self.closed_candles = 0
        self.history = 0
        """Candles that were closed before the stream was watched: the first answer over REST."""
        self.rest_repairs = 0
        """Every other candle that came over REST, as itself or as a revision."""
        self.gaps = 0
        self.revisions = 0

    def take(self, event: Event) -> None:
        """Take in an event of one of the streams."""
        line = self.lines[event.stream]
        if isinstance(event, Gap):
            self.gaps += 1
        elif isinstance(event, Revision):
            self.revisions += 1
            self.rest_repairs += event.candle.source is Source.REST
        else:
            self._on_candle(line, event)

    def _on_candle(self, line: Line, candle: Candle) -> None:
        self.closed_candles += 1
        if candle.source is Source.REST:
            if line.last is None:
                line.history_ms = candle.received_ms
            if candle.received_ms == line.history_ms:
                self.history += 1
            else:
                self.rest_repairs += 1
        line.last = candle
        line.candles += 1
        line.closes.append(float(candle.close))
