"""Warm starts: what of derived candles built from the store is news to those who were told before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from candleactors.core.derivation import Derived
from candleactors.model import Candle, Gap, GapReason, Revision, Stream, Timeframe


def begins_ms(timeframes: Iterable[Timeframe], warm_ms: int) -> int:
    """Return from when on constituents are needed for every derived candle that ends after `warm_ms`."""
    return min(timeframe.floor(warm_ms) for timeframe in timeframes)


def news(derived: Iterable[Derived], said: Mapping[Stream, list[Candle]], first_ms: int) -> list[Derived]:
    """Return what of `derived`, built from constituents from `first_ms` on, was not said before.

    `said` holds each stream's stored candles, ascending: all since then, or else the newest. What differs from them, or
    lies before the newest, is a revision. Intervals that the beginning cut are left out: they were said before, or the
    stream begins after them.
    """
    told = {stream: {candle.open_time_ms: candle for candle in candles} for stream, candles in said.items()}
    told_ms = {stream: candles[-1].open_time_ms for stream, candles in said.items()}
    found: list[Derived] = []
    for stream, event in derived:
        last_ms = told_ms.get(stream)
        if isinstance(event, Gap):
            if event.first_open_ms >= first_ms and (last_ms is None or event.first_open_ms > last_ms):
                found.append((stream, event))
        elif isinstance(event, Candle) and event.open_time_ms >= first_ms:
            if last_ms is None or event.open_time_ms > last_ms:
                missed_ms = None if last_ms is None else stream.timeframe.next_open(last_ms)
                if missed_ms is not None and missed_ms < event.open_time_ms and missed_ms < first_ms:
                    # Not derived for a while, and too long ago to be made up for.
                    until_ms = stream.timeframe.previous_open(event.open_time_ms)
                    found.append((stream, Gap(stream, missed_ms, until_ms, GapReason.UNREPAIRED)))
                told_ms.pop(stream, None)
                found.append((stream, event))
            else:
                before = told[stream].get(event.open_time_ms)
                if before is None or not _same(before, event):
                    revision = 1 if before is None else before.revision + 1
                    found.append((stream, Revision(event.replace(revision=revision))))
    return found


def _same(one: Candle, other: Candle) -> bool:
    return one.same_values(other) and one.missing == other.missing
