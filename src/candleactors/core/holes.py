"""Holes: what a store lacks of a stream by the venue's own calendar, and what it knows about that.

Markets never close, so every interval between two candles should have one; when intervals open is for the `Timeframe`
to say. An interval that the venue itself has no row for, an outage, is confirmed: it is noted as a gap of the venue and
asked for no more. All other holes are to be mended, whether somebody noted them or not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum

from attrs import frozen

from candleactors.core.stretches import Stretch
from candleactors.model import Gap, GapReason, Stream, Timeframe


class HoleReason(StrEnum):
    """What is known about a hole."""

    CONFIRMED = "confirmed"
    """The venue has nothing there either."""
    UNREPAIRED = "unrepaired"
    """A feed noted it."""
    UNNOTED = "unnoted"
    """Nobody did."""


@frozen
class Hole:
    """Intervals in a row without a closed candle; `first_ms` and `last_ms` are open times."""

    stream: Stream
    first_ms: int
    last_ms: int
    reason: HoleReason

    @property
    def stretch(self) -> Stretch:
        """The same without stream and reason."""
        return Stretch(self.first_ms, self.stream.timeframe.next_open(self.last_ms))

    @property
    def count(self) -> int:
        """How many intervals there are."""
        return self.stream.timeframe.count_between(self.first_ms, self.stretch.until_ms)


def holes(stream: Stream, covered: Iterable[Stretch], gaps: Iterable[Gap]) -> list[Hole]:
    """Return the holes between the first and the last of the `covered` stretches, ascending, and every noted gap.

    `covered` is what has closed candles and `gaps` what is noted, both ascending and disjoint, of `stream`.
    """
    runs = list(covered)
    noted = {span_of(gap): HoleReason.CONFIRMED if _is_confirmed(gap) else HoleReason.UNREPAIRED for gap in gaps}
    bare = absent(Stretch(runs[0].start_ms, runs[-1].until_ms), runs) if runs else []
    unnoted = [left for span in bare for left in absent(span, noted)]
    found = [*noted.items(), *((span, HoleReason.UNNOTED) for span in unnoted)]
    previous_open = stream.timeframe.previous_open
    return [
        Hole(stream, span.start_ms, previous_open(span.until_ms), reason)
        for span, reason in sorted(found, key=lambda each: each[0].start_ms)
    ]


def confirmed(gaps: Iterable[Gap]) -> list[Stretch]:
    """Return those of `gaps` that are no holes to mend: the venue has nothing there either."""
    return [span_of(gap) for gap in gaps if _is_confirmed(gap)]


def span_of(gap: Gap) -> Stretch:
    """Return the intervals of `gap`."""
    return Stretch(gap.first_open_ms, gap.stream.timeframe.next_open(gap.last_open_ms))


def absent(wanted: Stretch, there: Iterable[Stretch]) -> list[Stretch]:
    """Return what of `wanted` is not in any stretch of `there`, ascending; these may overlap and have any order."""
    left: list[Stretch] = []
    at_ms = wanted.start_ms
    for span in sorted(there, key=lambda each: each.start_ms):
        if span.start_ms >= wanted.until_ms:
            break
        if span.start_ms > at_ms:
            left.append(Stretch(at_ms, span.start_ms))
        at_ms = max(at_ms, span.until_ms)
    if at_ms < wanted.until_ms:
        left.append(Stretch(at_ms, wanted.until_ms))
    return left


def first_open(timeframe: Timeframe, start_ms: int, until_ms: int) -> int:
    """Return the first open time from the instant `start_ms` on; `until_ms`, a later open time, gives the phase."""
    if start_ms >= until_ms:
        return until_ms
    if timeframe.floor(until_ms) == until_ms:
        open_ms = timeframe.floor(start_ms)
        return open_ms if open_ms == start_ms else timeframe.next_open(open_ms)
    return min(_backwards(timeframe, start_ms, until_ms), default=until_ms)


def _backwards(timeframe: Timeframe, start_ms: int, until_ms: int) -> Iterator[int]:
    while (until_ms := timeframe.previous_open(until_ms)) >= start_ms:
        yield until_ms


def _is_confirmed(gap: Gap) -> bool:
    return gap.reason is GapReason.VENUE
