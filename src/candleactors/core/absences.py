"""Absences: which intervals without a row are outages of the venue, learned from pieces that come the newest first.

An interval that the venue has no row for is an outage only if the venue has candles before and after it: before the
first one the symbol was not listed, and after the last one it may have been delisted.
"""

from __future__ import annotations

from collections.abc import Iterable

from candleactors.core.discrepancies import Discrepancies
from candleactors.model import DAY_MS, Gap, GapReason, Stream

_MOST_EMPTY = 20
_LEAST_EMPTY_MS = 7 * DAY_MS


class Absences:
    """What is known of one stream so far. Synchronous.

    `oldest_ms` and `newest_ms` are when the oldest and the newest stored candles open, ``None`` without any.
    """

    def __init__(self, oldest_ms: int | None, newest_ms: int | None) -> None:
        self._oldest_ms = oldest_ms
        self._newest_ms = newest_ms
        self._pending: list[int] = []

    def settled(self, found: Discrepancies) -> list[int]:
        """Return when the intervals open that are outages by what was `found` in the next piece, ascending."""
        if found.rows_ms is not None:
            first_ms, last_ms = found.rows_ms
            self._oldest_ms = first_ms if self._oldest_ms is None else min(self._oldest_ms, first_ms)
            self._newest_ms = last_ms if self._newest_ms is None else max(self._newest_ms, last_ms)
        self._pending += [open_ms for open_ms in found.absent if self.followed(open_ms)]
        oldest_ms = self._oldest_ms
        outages = sorted(open_ms for open_ms in self._pending if oldest_ms is not None and oldest_ms < open_ms)
        self._pending = [open_ms for open_ms in self._pending if oldest_ms is None or open_ms < oldest_ms]
        return outages

    def followed(self, open_ms: int) -> bool:
        """Whether a candle is known that opens later than `open_ms`."""
        return self._newest_ms is not None and open_ms < self._newest_ms


class Beginning:
    """Finds where the history of a stream begins: where a long run of older pieces has no row at all."""

    def __init__(self) -> None:
        self._pieces = 0
        self._empty_ms = 0

    def passed(self, length_ms: int, *, empty: bool) -> bool:
        """Return whether history begins after the next piece, which is so long; `empty` ones older than all candles."""
        self._pieces, self._empty_ms = (self._pieces + 1, self._empty_ms + length_ms) if empty else (0, 0)
        return self._pieces >= _MOST_EMPTY and self._empty_ms >= _LEAST_EMPTY_MS


def outages(stream: Stream, open_times: Iterable[int]) -> list[Gap]:
    """Return the gaps of the venue that intervals at `open_times`, which ascend, are."""
    found: list[Gap] = []
    for open_ms in open_times:
        if found and stream.timeframe.next_open(found[-1].last_open_ms) == open_ms:
            first_ms = found.pop().first_open_ms
        else:
            first_ms = open_ms
        found.append(Gap(stream, first_ms, open_ms, GapReason.VENUE))
    return found
