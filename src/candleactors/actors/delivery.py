"""What goes to the store and the subscribers: events in order, and forming candles that may still be conflated away."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Protocol, TypeAlias

import trio
from attrs import define, field

from candleactors.model import Candle, Event, Stream


class FormingCandle(Protocol):
    """A forming candle that is only made when somebody reads it."""

    @property
    def open_time_ms(self) -> int: ...

    def to_candle(self, stream: Stream, received_ms: int) -> Candle | None:
        """Return the candle, ``None`` if it is out of date; raises `MalformedMessage` where it is impossible."""
        ...


Forming: TypeAlias = tuple[FormingCandle, int]
"""A forming candle and when it was received (ms). A tuple, since most are never looked at."""


@define(eq=False)
class Receipt:
    """What became of something that was handed in."""

    revisions: int | None = None
    """How many of the candles were news; ``None`` where nobody follows the stream."""
    done: trio.Event = field(factory=trio.Event)
    """Set once everything that came of it is on its way to the store."""


@define
class Aside:
    """What goes past the subscribers."""

    stored: list[tuple[Stream, Event]] = field(factory=list)
    """For the store alone: from before the beginning of what was told."""
    renew: dict[Stream, int] = field(factory=dict)
    """Streams from which is to be derived anew, from when on."""
    receipts: list[Receipt] = field(factory=list)

    def add(self, other: Aside) -> None:
        """Append what another one holds."""
        self.stored += other.stored
        self.receipts += other.receipts
        for stream, first_ms in other.renew.items():
            self.renew[stream] = min(first_ms, self.renew.get(stream, first_ms))


@define
class Delivery:
    """One step of a venue's sequencer or aggregator. `events` are in order per stream; `forming` holds the newest of
    each stream. `aside` is rare, and no business of the subscribers."""

    events: list[tuple[Stream, Event]] = field(factory=list)
    forming: dict[Stream, Forming] = field(factory=dict)
    aside: Aside | None = None
    _by_stream: dict[Stream, list[tuple[Stream, Event]]] | None = field(default=None, init=False, repr=False, eq=False)

    def add(self, stream: Stream, event: Event) -> None:
        """Append an event; a forming candle it overtakes is not delivered after it."""
        self.events.append((stream, event))
        forming = self.forming.get(stream)
        if forming is not None and isinstance(event, Candle) and forming[0].open_time_ms <= event.open_time_ms:
            del self.forming[stream]

    def put_aside(self, aside: Aside) -> None:
        """Append what goes past the subscribers."""
        self.aside = self.aside or Aside()
        self.aside.add(aside)

    def streams(self) -> Iterable[Stream]:
        """Return every stream that something is said of. To be asked once the delivery is whole."""
        if not self.forming:
            return self._grouped()
        return self.forming if not self.events else {**self.forming, **self._grouped()}

    def events_of(self, streams: Collection[Stream]) -> list[tuple[Stream, Event]]:
        """Return the events of some streams, in order per stream. To be asked once the delivery is whole."""
        if len(self.events) <= len(streams):
            return [pair for pair in self.events if pair[0] in streams]
        grouped = self._grouped()
        return [pair for stream in streams if stream in grouped for pair in grouped[stream]]

    def _grouped(self) -> dict[Stream, list[tuple[Stream, Event]]]:
        if self._by_stream is None:
            grouped = self._by_stream = {}
            for pair in self.events:
                grouped.setdefault(pair[0], []).append(pair)
        return self._by_stream
