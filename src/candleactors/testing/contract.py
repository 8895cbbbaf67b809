"""The candle contract as a check: every interval once, in order, nothing left out without a word."""

from __future__ import annotations

from collections.abc import Iterable

from candleactors.model import Candle, Event, Gap, Revision, Stream


def contract_breaches(events: Iterable[Event]) -> list[str]:
    """Return, one line each, what in a history of any streams breaks the candle contract; none for a sound one.

    For each stream: every interval from the first on is told of exactly once, by a closed candle or as part of a gap,
    in ascending order. Whatever is said later about one is a `Revision`, its number higher each time. A forming candle
    belongs to an interval that is not told of yet.
    """
    breaches: list[str] = []
    streams: dict[Stream, _Told] = {}
    for position, event in enumerate(events):
        told = streams.setdefault(event.stream, _Told())
        problem = told.problem(event)
        if problem:
            breaches.append(f"event {position}, of {event.stream}: {problem}")
    return breaches


class _Told:
    """What was told of one stream."""

    def __init__(self) -> None:
        self._next_ms: int | None = None
        self._revisions: dict[int, int] = {}

    def problem(self, event: Event) -> str | None:
        """Take note of `event` and return what is wrong with it."""
        if isinstance(event, Revision):
            return self._revised(event.candle)
        if isinstance(event, Gap):
            return self._tell(event.first_open_ms, event.stream.timeframe.next_open(event.last_open_ms))
        if event.closed:
            self._revisions[event.open_time_ms] = event.revision
            return self._tell(event.open_time_ms, event.next_open_time_ms)
        if self._next_ms is not None and event.open_time_ms < self._next_ms:
            return f"{event.open_time_ms} is forming although it was told of"
        return None

    def _tell(self, first_ms: int, next_ms: int) -> str | None:
        expected, self._next_ms = self._next_ms, next_ms
        if expected is None or first_ms == expected:
            return None
        return f"{first_ms} {'repeats or goes back' if first_ms < expected else 'leaves a hole'}, expected {expected}"

    def _revised(self, candle: Candle) -> str | None:
        open_ms, before = candle.open_time_ms, self._revisions.get(candle.open_time_ms, 0)
        self._revisions[open_ms] = candle.revision
        if not candle.closed:
            return f"the revision of {open_ms} is not closed"
        if self._next_ms is None or open_ms >= self._next_ms:
            return f"the revision of {open_ms} comes before anything else about it"
        return None if candle.revision > before else f"{open_ms} is revision {candle.revision} after {before}"
