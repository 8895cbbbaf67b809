"""Comparisons: when what was delivered of one stream is compared with REST."""

from __future__ import annotations

from math import inf

_FIRST_S = 60.0
_SETTLED_S = 15.0
"""After its close a candle has to settle at all replicas before it can be compared."""
_SOON_EVERY_S = 120.0


class Comparisons:
    """A timetable: one comparison every `interval_s`, and one soon after a candle whose close was inferred.

    Each is a request, so that those which come soon are at least two minutes apart, for several candles at once.
    ``None`` as interval means never, not even then. `early` has the first one come within a minute. Synchronous;
    instants are seconds on one monotonic clock.
    """

    __slots__ = ("_inferred_s", "_interval_s", "_last_s", "_regular_s", "_soon_s")

    def __init__(self, interval_s: float | None, now_s: float, *, early: bool) -> None:
        self._interval_s = interval_s
        self._regular_s = inf if interval_s is None else now_s + min(interval_s, _FIRST_S if early else inf)
        self._soon_s = inf
        self._last_s = self._inferred_s = -inf

    @property
    def due_s(self) -> float:
        """When the next one is due; infinity if never."""
        return min(self._regular_s, self._soon_s)

    def inferred(self, now_s: float) -> None:
        """Take notice that a candle was delivered whose close was inferred."""
        self._inferred_s = now_s
        if self._interval_s is not None and self._soon_s == inf:
            self._soon_s = max(now_s + _SETTLED_S, self._last_s + _SOON_EVERY_S)

    def made(self, now_s: float) -> None:
        """Take notice that the comparison which was due is asked for."""
        if self._interval_s is not None:
            self._last_s, self._regular_s = now_s, now_s + self._interval_s
            # What was delivered a moment ago is too fresh for this one.
            self._soon_s = now_s + _SOON_EVERY_S if self._inferred_s > now_s - _SETTLED_S else inf
