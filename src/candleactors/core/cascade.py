"""Cascades: which window each derived timeframe is made from, and which intervals end at an instant.

Small sizes are made of the source's own candles, larger ones of minutes, hours or days made of those, because a month
of minutes would be a lot to remember. A cascade holds no candle, so all symbols of one set of timeframes share one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Final, TypeAlias

from candleactors.errors import InvalidTimeframe
from candleactors.model import DAY_MS, Timeframe

_BETWEEN: Final = tuple(Timeframe(text) for text in ("1m", "1h", "1d"))
_DAY: Final = Timeframe("1d")

Due: TypeAlias = tuple[int, Timeframe, int, int, int]
"""An interval that ends: the number of its timeframe, the timeframe, its length in ms, in rows and in steps."""
_NONE: Final[Sequence[Due]] = ()


class Level:
    """One size that others are made of, from its rows: `targets` are their numbers in the cascade and timeframes.

    `coarser` says whether the next level is made from this one's rows; its interval is due with the number -1.
    """

    def __init__(self, size: Timeframe, source: Timeframe, targets: Sequence[tuple[int, Timeframe]]) -> None:
        self.size = size
        self.targets = tuple(sorted(targets, key=lambda target: target[1].nominal_ms))
        self.rows = max((_most(size, target) for _, target in self.targets), default=0)
        """Rows of the longest interval."""
        self._source = source
        # Where every UTC day is like the other, what is due at a time of day is due every day.
        self._daily = tuple(target for target in self.targets if target[1].tiles(_DAY))
        self._others = tuple(target for target in self.targets if target not in self._daily)
        self._due: dict[int, list[Due]] = {}
        for number, target in self._daily:
            for open_ms in target.opens(0, DAY_MS):
                end_ms = target.next_open(open_ms)
                self._due.setdefault(end_ms % DAY_MS, []).append(self._interval(number, target, open_ms, end_ms))
        for due in self._due.values():
            due.sort(key=_rows)  # a day's last bar of a long size may be a short one

    def due(self, end_ms: int) -> Sequence[Due]:
        """Return the intervals that end at `end_ms`, shortest first."""
        found = self._due.get(end_ms % DAY_MS, _NONE)
        for number, target in self._others:
            if target.floor(end_ms) == end_ms:
                interval = self._interval(number, target, target.previous_open(end_ms), end_ms)
                found = sorted([*found, interval], key=_rows)
        return found

    def _interval(self, number: int, target: Timeframe, open_ms: int, end_ms: int) -> Due:
        rows = self.size.count_between(open_ms, end_ms)
        return number, target, end_ms - open_ms, rows, self.steps(open_ms, end_ms)

    def steps(self, open_ms: int, end_ms: int) -> int:
        """Return how many source intervals lie in [`open_ms`, `end_ms`)."""
        return self._source.count_between(open_ms, end_ms)


class Cascade:
    """How `timeframes` derive from `source`.

    Raises `InvalidTimeframe` for a timeframe that is no multiple of the source.
    """

    def __init__(self, source: Timeframe, timeframes: Sequence[Timeframe]) -> None:
        self.source = source
        self.timeframes = tuple(timeframes)
        for timeframe in timeframes:
            if timeframe == source or not source.tiles(timeframe):
                raise InvalidTimeframe(f'"{timeframe}" cannot be made of {source} candles')
        sizes = [source]
        for size in _BETWEEN:
            longest = max((t.nominal_ms for t in timeframes if size.tiles(t)), default=0)
            if size.nominal_ms > sizes[-1].nominal_ms and sizes[-1].tiles(size) and longest > size.nominal_ms:
                sizes.append(size)
        fed: dict[Timeframe, list[tuple[int, Timeframe]]] = {size: [] for size in sizes}
        for number, timeframe in enumerate(timeframes):
            smaller = [size for size in sizes if size.nominal_ms < timeframe.nominal_ms and size.tiles(timeframe)]
            base = max(smaller, key=_length, default=source)  # the source also where it is the same by another name
            fed[base].append((number, timeframe))
        for size, coarser in pairwise(sizes):
            fed[size].append((-1, coarser))
        self.levels = tuple(Level(size, source, fed[size]) for size in sizes)


@lru_cache(maxsize=64)
def cascade(source: Timeframe, timeframes: tuple[Timeframe, ...]) -> Cascade:
    """Return the cascade of `timeframes` from `source`, one for all who ask."""
    return Cascade(source, timeframes)


def _rows(due: Due) -> int:
    return due[3]


def _length(timeframe: Timeframe) -> int:
    return timeframe.nominal_ms


def _most(size: Timeframe, target: Timeframe) -> int:
    """Return how many rows of `size` no interval of `target` exceeds."""
    if size.duration_ms is None:
        return target.count
    longest_ms = target.duration_ms if target.duration_ms is not None else target.count * 31 * DAY_MS
    rows = -(-longest_ms // size.duration_ms)
    # Each day may end with a shorter one.
    return rows if DAY_MS % size.duration_ms == 0 else rows + longest_ms // DAY_MS + 1
