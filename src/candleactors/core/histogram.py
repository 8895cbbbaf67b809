"""Histograms: how often a value was how large, in so little room that it can be counted for ever."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable
from itertools import accumulate


class Histogram:
    """Counts values by the smallest of some bounds that they do not exceed. Pure; nothing is ever forgotten.

    Costs one bisection a value, or a batch of equal values, and keeps one number for each bound.
    """

    __slots__ = ("_counts", "bounds", "total")

    def __init__(self, bounds: Iterable[float]) -> None:
        """Raises `ValueError` unless `bounds` are finite and ascend."""
        self.bounds = tuple(bounds)
        finite = all(math.isfinite(bound) for bound in self.bounds)
        if not self.bounds or not finite or sorted(set(self.bounds)) != list(self.bounds):
            raise ValueError("bounds of a histogram are finite and ascend")
        self.total = 0.0
        """Sum of all values."""
        self._counts = [0] * (len(self.bounds) + 1)

    def observe(self, value: float, times: int = 1) -> None:
        """Count a value that came so many `times`."""
        self._counts[bisect_left(self.bounds, value)] += times
        self.total += value * times

    @property
    def count(self) -> int:
        """How many values were counted."""
        return sum(self._counts)

    def cumulative(self) -> list[tuple[float, int]]:
        """Return for each bound, infinity being the last, how many values do not exceed it."""
        return list(zip((*self.bounds, math.inf), accumulate(self._counts), strict=True))

    def quantile(self, share: float) -> float | None:
        """Return what about `share` of the values do not exceed, ``None`` where there is none.

        Within a bucket the values are taken to lie evenly, from 0 on in the first one; beyond the last bound it is the
        answer. So the error is at most the width of a bucket.
        """
        rank = share * self.count
        if not self.count:
            return None
        before, lower = 0, min(0.0, self.bounds[0])
        for bound, count in zip(self.bounds, self._counts, strict=False):
            if count and before + count >= rank:
                return lower + (bound - lower) * max(0.0, rank - before) / count
            before, lower = before + count, bound
        return self.bounds[-1]

    def copy(self) -> Histogram:
        """Return a histogram of the same values, which later ones do not change."""
        twin = Histogram(self.bounds)
        twin.add(self)
        return twin

    def add(self, other: Histogram) -> None:
        """Count all that `other`, which has the same bounds, has counted. Raises `ValueError` if it has others."""
        if other.bounds != self.bounds:
            raise ValueError("histograms with other bounds cannot be added")
        self._counts = [mine + more for mine, more in zip(self._counts, other._counts, strict=True)]
        self.total += other.total
