"""Grids: the interval arithmetic of timeframes for many instants at once."""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from candleactors.model import DAY_MS, Timeframe

Instants: TypeAlias = npt.NDArray[np.int64]
"""UTC epoch milliseconds."""
Numbers: TypeAlias = npt.NDArray[np.int64]
"""Numbers of intervals, each one more than that of the interval before."""

_MONTH: Final = Timeframe("1M")


class Grid:
    """The intervals of a timeframe, numbered: what `Timeframe` says of one instant, for arrays."""

    def __init__(self, timeframe: Timeframe) -> None:
        size_ms = timeframe.duration_ms
        restarts = size_ms is not None and size_ms < DAY_MS and DAY_MS % size_ms > 0 and timeframe.anchor != "epoch"
        if restarts or size_ms is None:
            # Counted from the midnight, wherever that is, with which January 1970 begins.
            self._origin_ms = _MONTH.anchored(timeframe.anchor or "day").floor(14 * DAY_MS)
        else:
            self._origin_ms = timeframe.floor(0)
        self._size_ms = size_ms
        self._months = timeframe.count
        self._a_day = -(-DAY_MS // size_ms) if size_ms is not None and restarts else None
        """Intervals in a day, where they start anew with each."""

    def number(self, at_ms: Instants) -> Numbers:
        """Return the numbers of the intervals that contain `at_ms`."""
        since_ms = at_ms - self._origin_ms
        if self._size_ms is None:
            months = since_ms.astype("datetime64[ms]").astype("datetime64[M]").astype(np.int64)
            return months // self._months
        if self._a_day is None:
            since_ms //= self._size_ms
            return since_ms
        days = since_ms // DAY_MS  # with its product a third of the time that a remainder takes
        since_ms -= days * DAY_MS
        since_ms //= self._size_ms
        days *= self._a_day
        since_ms += days
        return since_ms

    def open_ms(self, number: Numbers) -> Instants:
        """Return when the intervals with these numbers open."""
        if self._size_ms is None:
            months = (number * self._months).astype("datetime64[M]")
            return months.astype("datetime64[ms]").astype(np.int64) + self._origin_ms
        if self._a_day is None:
            return number * self._size_ms + self._origin_ms
        days = number // self._a_day
        within = number - days * self._a_day
        return days * DAY_MS + within * self._size_ms + self._origin_ms
