"""What the sequencer hands on: events in order, and forming candles that may still be conflated away."""

from __future__ import annotations

from typing import TypeAlias

from attrs import define, field

from candleactors.model import Event, Stream
from candleactors.venues.base import WireCandle

Forming: TypeAlias = tuple[WireCandle, int]
"""A forming candle as it came off the wire, and when it was received (ms). A tuple, since most are never looked at."""


@define
class Delivery:
    """One step of a venue's sequencer. `events` are in order per stream; `forming` holds the newest of each stream."""

    events: list[tuple[Stream, Event]] = field(factory=list)
    forming: dict[Stream, Forming] = field(factory=dict)
