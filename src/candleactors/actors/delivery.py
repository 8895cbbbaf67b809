"""What the sequencer hands on: events in order, and forming candles that may still be conflated away."""

from __future__ import annotations

from attrs import define, field

from candleactors.errors import MalformedMessage
from candleactors.model import Candle, Event, Stream
from candleactors.venues.base import WireCandle


class Forming:
    """A forming candle on its way to subscribers: converted when the first of them takes it, once for all of them."""

    __slots__ = ("_candle", "open_time_ms", "received_ms", "stream", "wire")

    def __init__(self, stream: Stream, wire: WireCandle, received_ms: int) -> None:
        self.stream = stream
        self.open_time_ms = wire.open_time_ms
        self.wire: WireCandle | None = wire
        self.received_ms = received_ms
        self._candle: Candle | None = None

    def candle(self) -> Candle | None:
        """Return the exact candle, or ``None`` where the message held an impossible one."""
        if self.wire is not None:
            try:
                self._candle = self.wire.to_candle(self.stream, self.received_ms)
            except MalformedMessage:
                self._candle = None
            self.wire = None
        return self._candle


@define
class Delivery:
    """One step of a venue's sequencer. `events` are in order per stream; `forming` holds the newest of each stream."""

    events: list[tuple[Stream, Event]] = field(factory=list)
    forming: dict[Stream, Forming] = field(factory=dict)
