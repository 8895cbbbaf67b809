"""Retention: from when on the candles of a stream are kept."""

from __future__ import annotations

from collections.abc import Collection

from attrs import frozen

from candleactors.core.warm_start import begins_ms
from candleactors.model import DAY_MS, MINUTE_MS, Candle, Source, Timeframe
from candleactors.settings import AggregationSettings, Settings


@frozen
class Pruned:
    """What one pass over a store deleted: so many candles, of so many streams; `left` streams were in use meanwhile."""

    candles: int
    streams: int
    left: int


def cut_ms(
    settings: Settings, newest: Candle, now_ms: int, *, history: int, derived: Collection[Timeframe] = ()
) -> int:
    """Return when the oldest candle opens that is kept of a stream of which `newest` is the newest one stored.

    That is the one which was forming as many days ago as `settings` say of its timeframe, which has to have a limit.
    Time is told by our wall clock as far as the stream has come: a clock that is years ahead deletes nothing that
    should stay, and a stream that has ended keeps its last days. Two things are kept whatever their age: the newest
    `history` candles, which are compared with the venue, unless the stream is made from another; and what the `derived`
    timeframes, which are made from the stream, may yet need: all constituents of the current interval, of the previous
    one, and of those that ended within the time that is made up for.
    """
    timeframe, newest_ms = newest.timeframe, newest.open_time_ms
    kept_ms = timeframe.floor(min(now_ms, newest_ms) - round(settings.retention.days[timeframe] * DAY_MS))
    needed = [newest_ms]
    if newest.source is not Source.DERIVED:
        needed.append(timeframe.advance(newest_ms, 1 - max(history, 1)))
    if derived:
        needed.append(begins_ms(derived, newest.next_open_time_ms - _made_up_for_ms(settings.aggregation)))
        needed += [each.previous_open(each.floor(newest_ms)) for each in derived]
    return min(kept_ms, *needed)


def _made_up_for_ms(settings: AggregationSettings) -> int:
    """Return how long ago a derived candle may have ended that is yet to be made or corrected."""
    return MINUTE_MS * max(settings.catch_up_minutes, settings.warm_start_minutes, settings.memory_minutes)
