"""Warm starts: what of derived candles built from the store is news to those who were told before."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from attrs import evolve

from candleactors.core.derivation import Derived
from candleactors.model import Candle, Event, Gap, GapReason, Revision, Stream, Timeframe


def begins_ms(timeframes: Iterable[Timeframe], warm_ms: int) -> int:
    """Return from when on constituents are needed for every derived candle that ends after `warm_ms`."""
    return min(timeframe.floor(warm_ms) for timeframe in timeframes)


class Told:
    """What was told of one derived stream before.

    `candles` are those in the store, ascending: all since the time in question, or else the newest. Whether the stored
    gaps matter is for `doubtful` to say.
    """

    def __init__(self, stream: Stream, candles: Iterable[Candle]) -> None:
        self._stream = stream
        self._candles = {candle.open_time_ms: candle for candle in candles}
        self._gaps: list[Gap] = []
        self._next_ms = max((candle.next_open_time_ms for candle in self._candles.values()), default=None)

    @property
    def candles(self) -> Collection[Candle]:
        """What was told, the revisions among the news included."""
        return self._candles.values()

    def in_doubt(self, event: Event) -> bool:
        """Whether the candles alone do not tell if the interval of `event` was told of."""
        return _first_ms(event) not in self._candles

    def add_gaps(self, gaps: Iterable[Gap]) -> None:
        """Take in the stored gaps of the stream."""
        self._gaps += gaps
        ends = [_next_ms(gap) for gap in self._gaps]
        self._next_ms = max(ends if self._next_ms is None else [self._next_ms, *ends], default=None)

    def news(self, event: Event, first_ms: int) -> list[Event]:
        """Return what is news in the next event built from constituents from `first_ms` on.

        What was told otherwise is revised. Intervals that `first_ms` cuts are left out: they were told of before, or
        the stream begins after them.
        """
        if isinstance(event, Gap) and event.first_open_ms < first_ms <= event.last_open_ms:
            event = evolve(event, first_open_ms=_first_whole_ms(self._stream.timeframe, first_ms))
        open_ms = _first_ms(event)
        if open_ms < first_ms or isinstance(event, Revision):
            return []
        if self._next_ms is None or self._next_ms <= open_ms:
            passed_over = self.passed_over(open_ms)
            self._next_ms = _next_ms(event)
            return [*passed_over, event]
        return self._grown(event) if isinstance(event, Gap) else self._revised(event)

    def passed_over(self, open_ms: int) -> list[Event]:
        """Return the gap between what was told and the interval that opens at `open_ms`, if there is one.

        These intervals were not derived for a while, too long ago to be made up for, or the source has nothing there.
        """
        if self._next_ms is None or self._next_ms >= open_ms:
            return []
        return [Gap(self._stream, self._next_ms, self._stream.timeframe.previous_open(open_ms), GapReason.UNREPAIRED)]

    def _grown(self, gap: Gap) -> list[Event]:
        told_ms, until_ms = self._next_ms, _next_ms(gap)
        if told_ms is None or until_ms <= told_ms:
            return []
        self._next_ms = until_ms
        return [Gap(self._stream, told_ms, gap.last_open_ms, gap.reason)]

    def _revised(self, candle: Candle) -> list[Event]:
        open_ms = candle.open_time_ms
        before = self._candles.get(open_ms)
        if before is None and not any(gap.first_open_ms <= open_ms <= gap.last_open_ms for gap in self._gaps):
            return []  # the stream begins after it
        if before is not None and before.same_values(candle) and before.missing == candle.missing:
            return []
        revised = candle.replace(revision=1 if before is None else before.revision + 1)
        self._candles[open_ms] = revised
        return [Revision(revised)]


def doubtful(derived: Iterable[Derived], told: Mapping[Stream, Told], until_ms: int) -> set[Stream]:
    """Return the streams whose stored gaps have to be known before `news` can be told."""
    behind = {stream for stream, of_stream in told.items() if of_stream.passed_over(stream.timeframe.floor(until_ms))}
    return behind | {stream for stream, event in derived if told[stream].in_doubt(event)}


def news(derived: Iterable[Derived], told: Mapping[Stream, Told], first_ms: int, until_ms: int) -> list[Derived]:
    """Return what is news in events that ascend by stream, built from constituents of [`first_ms`, `until_ms`)."""
    found = [(stream, each) for stream, event in derived for each in told[stream].news(event, first_ms)]
    for stream, of_stream in told.items():
        found += [(stream, each) for each in of_stream.passed_over(stream.timeframe.floor(until_ms))]
    return found


def _first_whole_ms(timeframe: Timeframe, first_ms: int) -> int:
    """Return when the first interval opens that `first_ms` does not cut."""
    open_ms = timeframe.floor(first_ms)
    return open_ms if open_ms == first_ms else timeframe.next_open(open_ms)


def _first_ms(event: Event) -> int:
    if isinstance(event, Gap):
        return event.first_open_ms
    return (event.candle if isinstance(event, Revision) else event).open_time_ms


def _next_ms(event: Candle | Gap) -> int:
    return event.stream.timeframe.next_open(event.last_open_ms) if isinstance(event, Gap) else event.next_open_time_ms
