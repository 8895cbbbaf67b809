"""The grid of a timeframe: which open times a stream can have, and where each interval ends."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import gcd
from typing import Final

from candleactors.errors import InvalidTimeframe
from candleactors.model import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, WEEK_MS, Timeframe

_UNITS: Final = ((DAY_MS, "d"), (HOUR_MS, "h"), (MINUTE_MS, "m"), (SECOND_MS, "s"))
_MONTHS_MS: Final = (28 * DAY_MS, 31 * DAY_MS)
_EQUAL_STEPS: Final = 3
_STEPS: Final = 8


class Grid:
    """The open times of one stream in one timeframe.

    Sizes of several days have another phase for each symbol on some venues, so the first open time sets it and only
    has to be a midnight, unless the timeframe itself has an anchor.
    """

    def __init__(self, timeframe: Timeframe, first_open_ms: int) -> None:
        self.timeframe = timeframe
        duration = timeframe.duration_ms
        self.step_ms: int | None = None
        """The length of every interval, where all are equally long."""
        self.offset_ms = 0
        if duration is None:
            return
        if timeframe.unit == "d" and timeframe.count > 1 and timeframe.anchor is None:
            self.step_ms, self.offset_ms = duration, first_open_ms % duration
            if first_open_ms % DAY_MS:
                self.offset_ms = -1  # on no grid at all
        elif duration >= DAY_MS or DAY_MS % duration == 0 or timeframe.anchor == "epoch":
            self.step_ms, self.offset_ms = duration, timeframe.floor(0) % duration

    def has(self, open_ms: int) -> bool:
        """Whether an interval opens at `open_ms`."""
        if self.step_ms is None:
            return self.timeframe.floor(open_ms) == open_ms
        return open_ms % self.step_ms == self.offset_ms

    def close_ms(self, open_ms: int) -> int:
        """Return the last millisecond of the interval that opens at `open_ms`."""
        return self.timeframe.close_ms(open_ms) if self.step_ms is None else open_ms + self.step_ms - 1


def infer(opens_ms: Sequence[int], lasting_ms: Sequence[int]) -> Timeframe | None:
    """Return the timeframe of rows that open at `opens_ms`, ascending, and last `lasting_ms` where they say so.

    ``None`` where they leave it open. An outage makes intervals short, never long, so the longest counts.
    """
    steps = [after - before for before, after in pairwise(opens_ms) if after > before]
    length = max(lasting_ms) if lasting_ms else min(steps, default=0)
    timeframe = _named(length, opens_ms)
    if timeframe is None:
        return None
    grid = Grid(timeframe, opens_ms[0])
    return timeframe if all(map(grid.has, opens_ms)) else None


def contradiction(timeframe: Timeframe, opens_ms: Sequence[int]) -> str | None:
    """Return why rows that open at `opens_ms`, ascending, can hardly be of `timeframe`, or ``None``.

    Rows may be missing, but hardly so that all the others are several intervals apart, and evenly so.
    """
    steps = [after - before for before, after in pairwise(opens_ms) if after > before]
    if len(steps) < _EQUAL_STEPS or (len(steps) < _STEPS and len(set(steps)) > 1):
        return None
    apart = gcd(*steps)
    if apart <= timeframe.close_ms(opens_ms[0]) - opens_ms[0] + 1:
        return None
    shown = _named(apart, opens_ms)
    return f"the rows are {shown or f'{apart} ms'} apart, not {timeframe}"


def _named(length_ms: int, opens_ms: Sequence[int]) -> Timeframe | None:
    """Return the usual name of an interval of `length_ms`."""
    month = Timeframe("1M")
    if _MONTHS_MS[0] <= length_ms <= _MONTHS_MS[1] and all(month.floor(at) == at for at in opens_ms):
        return month
    if length_ms == WEEK_MS and Grid(Timeframe("1w"), 0).has(opens_ms[0]):
        return Timeframe("1w")
    for unit_ms, unit in _UNITS:
        if length_ms and length_ms % unit_ms == 0:
            try:
                return Timeframe(f"{length_ms // unit_ms}{unit}")
            except InvalidTimeframe:
                return None
    return None
