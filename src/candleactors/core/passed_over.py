"""Passed over: the intervals of one stream that were delivered as gaps and are worth another look."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import define, evolve

from candleactors.model import Candle, Gap, GapReason, Stream, Timeframe

_MOST = 64
_RETRIES_S = (5.0, 15.0, 60.0, 300.0, 900.0)
_TRIES = 3  # looks at a gap that the venue itself shows before it is believed for good


@define
class Stretch:
    """Intervals from `first_ms` up to but not including `until_ms`."""

    first_ms: int
    until_ms: int
    retry_at_s: float
    tries: int = 0


class PassedOver:
    """Knows where gaps are, when to look at them again, and whether a late row fills one. Synchronous.

    The newest 64 stretches are kept. One that the venue itself has shown three times is not looked at again, but stays
    known: a row that turns up after all is a revision.
    """

    __slots__ = ("_stretches", "_timeframe")

    def __init__(self, timeframe: Timeframe, gaps: Iterable[Gap], now_s: float) -> None:
        self._timeframe = timeframe
        self._stretches = [Stretch(g.first_open_ms, timeframe.next_open(g.last_open_ms), now_s) for g in gaps][-_MOST:]

    def gaps(self, stream: Stream) -> tuple[Gap, ...]:
        """Return what is known, as gaps of `stream`."""
        previous = self._timeframe.previous_open
        return tuple(
            Gap(stream, each.first_ms, previous(each.until_ms), GapReason.UNREPAIRED) for each in self._stretches
        )

    def add(self, first_ms: int, until_ms: int, now_s: float) -> None:
        """Take in a new gap."""
        self._stretches.append(Stretch(first_ms, until_ms, now_s + _RETRIES_S[0]))
        del self._stretches[:-_MOST]

    def due(self, now_s: float) -> Stretch | None:
        """Return a stretch to look at now, if there is one."""
        return next((stretch for stretch in self._stretches if stretch.retry_at_s <= now_s), None)

    def next_due_s(self) -> float:
        """Return when `due` next returns one; infinity if never."""
        return min((stretch.retry_at_s for stretch in self._stretches), default=float("inf"))

    def opens(self, first_ms: int, until_ms: int) -> list[int]:
        """Return the open times in [`first_ms`, `until_ms`), themselves open times, that were passed over."""
        return [
            open_ms
            for stretch in self._stretches
            for open_ms in self._timeframe.opens(max(first_ms, stretch.first_ms), min(until_ms, stretch.until_ms))
        ]

    def fill(self, open_ms: int) -> bool:
        """Take the interval out of the stretch it is in; return whether it was in one."""
        for index, stretch in enumerate(self._stretches):
            if stretch.first_ms <= open_ms < stretch.until_ms:
                after_ms = self._timeframe.next_open(open_ms)
                parts = (evolve(stretch, until_ms=open_ms), evolve(stretch, first_ms=after_ms))
                self._stretches[index : index + 1] = [part for part in parts if part.first_ms < part.until_ms]
                return True
        return False

    def looked(self, start_ms: int, rows: list[Candle], now_s: float) -> None:
        """Take in that the venue's rows from `start_ms` on were `rows`, and that what fits was filled.

        Stretches that begin after the last row were not looked at.
        """
        last_ms = rows[-1].open_time_ms if rows else start_ms
        for stretch in self._stretches:
            if start_ms <= stretch.first_ms <= max(last_ms, start_ms) and stretch.retry_at_s <= now_s:
                stretch.tries += 1
                shown = bool(rows) and rows[-1].open_time_ms >= stretch.until_ms
                if shown and stretch.tries >= _TRIES:
                    stretch.retry_at_s = float("inf")
                else:
                    stretch.retry_at_s = now_s + _RETRIES_S[min(stretch.tries, len(_RETRIES_S) - 1)]
