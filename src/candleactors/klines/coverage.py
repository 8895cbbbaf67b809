"""Which intervals of a stream a set of rows covers, and where the holes are."""

from __future__ import annotations

from itertools import pairwise

from candleactors.model import Timeframe


class Coverage:
    """Collects open times, kept as runs without a hole, whatever order the runs come in."""

    def __init__(self, timeframe: Timeframe) -> None:
        self._timeframe = timeframe
        self._runs: list[tuple[int, int]] = []
        self._first_ms = 0
        self._next_ms = 0

    def add(self, open_ms: int, next_open_ms: int) -> None:
        """Add the interval that opens at `open_ms` and ends where the next opens."""
        if open_ms != self._next_ms:
            self._end_run()
            self._first_ms = open_ms
        self._next_ms = next_open_ms

    def span_ms(self) -> tuple[int, int] | None:
        """Return the first and the last open time, ``None`` where there are none."""
        runs = self._joined()
        return (runs[0][0], self._timeframe.previous_open(runs[-1][1])) if runs else None

    def holes(self) -> list[tuple[int, int, int]]:
        """Return each hole between the first and the last interval: its first and last open time and its length."""
        found = []
        runs = self._joined()
        for (_, missing_ms), (present_ms, _) in pairwise(runs):
            count = self._timeframe.count_between(missing_ms, present_ms)
            found.append((missing_ms, self._timeframe.previous_open(present_ms), count))
        return found

    def _end_run(self) -> None:
        if self._next_ms > self._first_ms:
            self._runs.append((self._first_ms, self._next_ms))

    def _joined(self) -> list[tuple[int, int]]:
        self._end_run()
        self._first_ms = self._next_ms = 0
        self._runs.sort()
        joined = self._runs[:1]
        for first_ms, next_ms in self._runs[1:]:
            if first_ms > joined[-1][1]:
                joined.append((first_ms, next_ms))
            elif next_ms > joined[-1][1]:
                joined[-1] = joined[-1][0], next_ms
        self._runs = joined
        return joined
