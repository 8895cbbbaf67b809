"""When a candle is closed, at a venue that never says so.

Bitfinex pushes the row of an interval on every trade in it, and nothing at its end; an interval without trades has no
row at all. What proves that an interval is over is the server's own clock, which stands at the end of every frame, the
heartbeats too, or, where the server does not give it, a row of a later interval. Neither proves that the row will not
change any more: the server repeats the previous row next to the current one, and late trades change it. So

- an interval is closed once the server's clock is a grace past its end, or without that clock as soon as a later row
  comes;
- a later row that comes before that waits, and the earlier one may still change;
- a row about an interval closed not long ago that says something else closes it once more: whoever is told decides.

An interval is known to be without trades, and is told as flat at the price before it, where rows before and after it
were seen and none of its own, or where it began while the channel was watched and ended without one.

All that holds only while no frame is lost. A connection loses none, but whoever is behind it may: a channel that the
clock shows to have been silent for longer than it ever is begins anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from candleactors.model import Timeframe
from candleactors.venues.bitfinex_candle import Flat, Told, Update
from candleactors.venues.bitfinex_rules import GRACE_MS

MAX_FLAT: Final = 1_000
"""A longer run of intervals without a row is not told at all: REST knows better."""
_FIRST_CLOSED: Final = 5
"""So many closed rows of the first snapshot are told; history comes over REST."""
_REMEMBERED: Final = 5
"""So many intervals closed last may be corrected."""
_SILENCE_MS: Final = 20_000
"""A heartbeat comes after 15 s of silence, give or take 3 ms."""
_STRIKES: Final = 3
_BEHIND_MS: Final = 60_000


class Inferred(NamedTuple):
    """What some frame meant: intervals that are closed, in order, and the forming one if there is news of it."""

    closed: list[Told]
    forming: Update | None


class Closing:
    """What closes on one channel, from its subscription to its end. Pure: told rows and instants, it answers."""

    __slots__ = (
        "_clock_ms",
        "_forming",
        "_frontier_ms",
        "_grace_ms",
        "_last",
        "_since_ms",
        "_strikes",
        "_timeframe",
        "_told",
        "_waiting",
        "beats",
    )

    def __init__(self, timeframe: Timeframe, grace_ms: int = GRACE_MS, *, beats: bool = False) -> None:
        self.beats = beats
        """Whether heartbeats are known to come, and in time."""
        self._timeframe = timeframe
        self._grace_ms = grace_ms
        self._clock_ms: int | None = None  # the server's, as far as is known
        self._since_ms: int | None = None  # that clock when what is known began
        self._strikes = 0  # frames in a row that are far behind it
        self._frontier_ms: int | None = None  # open time of the first interval that is not closed yet
        self._waiting: dict[int, Update] = {}  # rows from the frontier on, by open time
        self._last: Update | None = None  # the last row that closed
        self._told: dict[int, Told] = {}  # what closed last, by open time
        self._forming: Update | None = None  # what was last returned as such

    def on_rows(self, rows: Sequence[Update], sent_ms: int | None) -> Inferred:
        """Return what `rows`, ascending, of one frame sent at `sent_ms` mean."""
        self._check_clock(sent_ms)
        closed: list[Told] = []
        if rows:
            if self._is_out_of_reach(rows[-1].open_time_ms, sent_ms):
                self._restart()
            if self._frontier_ms is None:
                rows = rows[-_FIRST_CLOSED - 1 :]
                self._frontier_ms = rows[0].open_time_ms
            for row in rows:
                self._take(row, closed)
        return self._infer(sent_ms, closed)

    def on_instant(self, sent_ms: int) -> Inferred:
        """Return what it means that nothing else was to be said at `sent_ms`."""
        self.beats = self.beats or (self._clock_ms is not None and 0 <= sent_ms - self._clock_ms <= _SILENCE_MS)
        self._check_clock(sent_ms)
        return self._infer(sent_ms, [])

    def _restart(self) -> None:
        self._frontier_ms = self._last = None
        self._waiting.clear()
        self._told.clear()

    def _check_clock(self, sent_ms: int | None) -> None:
        """Begin anew where frames were lost, or where the clock turns out to have been wrong.

        A channel with heartbeats is never silent for longer than they take, so that a leap of the clock means lost
        frames: what came before may lack a change, and is left to REST. One absurd instant is such a leap, and leaves
        the clock far ahead of all that follows; but a single frame of old is only late.
        """
        if sent_ms is None:
            return
        clock_ms = self._clock_ms
        if clock_ms is not None and not (self.beats and sent_ms - clock_ms > _SILENCE_MS):
            if sent_ms + _BEHIND_MS > clock_ms:
                self._strikes = 0
                self._clock_ms = max(clock_ms, sent_ms)
                return
            self._strikes += 1
            if self._strikes < _STRIKES:
                return
        if clock_ms is not None:
            self._restart()
        self._strikes = 0
        self._clock_ms = self._since_ms = sent_ms

    def _is_out_of_reach(self, open_ms: int, sent_ms: int | None) -> bool:
        """Whether the newest row of a frame has nothing to do with the frontier."""
        frontier_ms, duration_ms = self._frontier_ms, self._timeframe.duration_ms
        if frontier_ms is None:
            return False
        if duration_ms is not None and (open_ms - frontier_ms) % duration_ms:
            return True  # another phase: of two weeks, only the venue knows which
        if sent_ms is not None or open_ms >= frontier_ms:
            return False
        # Without the clock, one absurd row is enough to put the frontier far ahead.
        return self._timeframe.count_between(open_ms, frontier_ms) > MAX_FLAT

    def _take(self, row: Update, closed: list[Told]) -> None:
        open_ms = row.open_time_ms
        assert self._frontier_ms is not None, "rows come after the first one"
        if open_ms >= self._frontier_ms:
            known = self._waiting.get(open_ms)
            if known is None or known.yields_to(row):
                self._waiting[open_ms] = row
            return
        told = self._told.get(open_ms)
        if told is None or (isinstance(told, Update) and not told.yields_to(row)):
            return
        closed.append(row)
        self._told[open_ms] = row
        if self._last is None or self._last.open_time_ms <= open_ms:
            self._last = row
        if isinstance(told, Update) and told.closes_like(row):
            return
        next_open = self._timeframe.next_open
        at_ms = next_open(open_ms)
        while isinstance(self._told.get(at_ms), Flat):  # these are at the price of the row
            self._told[at_ms] = flat = Flat(at_ms, row)
            closed.append(flat)
            at_ms = next_open(at_ms)

    def _infer(self, sent_ms: int | None, closed: list[Told]) -> Inferred:
        if self._frontier_ms is None:
            return Inferred(closed, None)
        if sent_ms is not None:
            until_ms = self._first_running(self._frontier_ms, sent_ms + 1 - self._grace_ms)
        else:
            until_ms = max(self._waiting, default=self._frontier_ms)
        if until_ms > self._frontier_ms:
            self._close_until(until_ms, closed)
        forming = self._waiting.get(self._frontier_ms)
        if forming is self._forming:
            return Inferred(closed, None)
        self._forming = forming
        return Inferred(closed, forming)

    def _first_running(self, open_ms: int, at_ms: int) -> int:
        """Return the open time of the first interval from `open_ms` on that ends after `at_ms`."""
        duration_ms = self._timeframe.duration_ms
        if duration_ms is not None:
            return open_ms + max(0, (at_ms - open_ms) // duration_ms) * duration_ms
        while (next_ms := self._timeframe.next_open(open_ms)) <= at_ms:
            open_ms = next_ms
        return open_ms

    def _close_until(self, until_ms: int, closed: list[Told]) -> None:
        """Close every interval before `until_ms`."""
        assert self._frontier_ms is not None, "nothing closes before the first row"
        newest_ms = max(self._waiting, default=-1)
        over = sorted(open_ms for open_ms in self._waiting if open_ms < until_ms)
        at_ms = self._frontier_ms
        for open_ms in over:
            self._fill(at_ms, open_ms, closed)
            row = self._waiting.pop(open_ms)
            self._last = row
            self._tell(row, closed)
            at_ms = self._timeframe.next_open(open_ms)
        if newest_ms < until_ms:  # only the clock speaks of what follows
            at_ms = at_ms if self._since_ms is None else self._first_from(at_ms, until_ms, self._since_ms)
        self._fill(at_ms, until_ms, closed)
        self._frontier_ms = until_ms

    def _first_from(self, open_ms: int, until_ms: int, since_ms: int) -> int:
        """Return the open time of the first interval from `open_ms` on that opens at `since_ms` or later."""
        first_ms = self._first_running(open_ms, since_ms)
        return min(until_ms, first_ms if first_ms >= since_ms else self._timeframe.next_open(first_ms))

    def _fill(self, at_ms: int, until_ms: int, closed: list[Told]) -> None:
        """Tell the intervals in [`at_ms`, `until_ms`), which have no row, as flat ones."""
        if at_ms >= until_ms or self._last is None:
            return
        if self._timeframe.count_between(at_ms, until_ms) > MAX_FLAT:
            self._last = None
            return
        for open_ms in self._timeframe.opens(at_ms, until_ms):
            self._tell(Flat(open_ms, self._last), closed)

    def _tell(self, told: Told, closed: list[Told]) -> None:
        closed.append(told)
        self._told[told.open_time_ms] = told
        if len(self._told) > _REMEMBERED:
            del self._told[next(iter(self._told))]
