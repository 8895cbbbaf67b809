"""Sources: which of a venue's streams another one is made from."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from candleactors.errors import InvalidTimeframe
from candleactors.model import Stream, Timeframe
from candleactors.venues.base import VenueRules

_SOURCES: Final = (Timeframe("1m"), Timeframe("1s"))
"""What others are made from, where the venue has it and it is not derived itself; the first that fits.

One source, so that all timeframes agree.
"""


def source_of(stream: Stream, rules: VenueRules, derived: Collection[Timeframe]) -> Stream:
    """Return the stream whose candles `stream` is made from: itself if the venue has it and it is not to be `derived`.

    Raises `InvalidTimeframe` where the venue neither has the timeframe nor one that it can be made from.
    """
    timeframe = stream.timeframe
    if timeframe in rules.timeframes and timeframe not in derived:
        return stream
    if timeframe in rules.drifting:
        raise InvalidTimeframe(
            f'"{timeframe}" begins on another day for each symbol of {rules.title}, so it cannot be derived as such;'
            " take it as a native timeframe, or name a first day",
            nearest=f"{timeframe}@2017-08-17",
        )
    for source in _SOURCES:
        is_taken = source in rules.timeframes and source not in derived and source != timeframe
        if is_taken and source.tiles(timeframe):
            return Stream(stream.venue, stream.symbol, source)
    native = ", ".join(str(one) for one in rules.timeframes)
    raise InvalidTimeframe(f'"{timeframe}" cannot be made from the candles of {rules.title} ({native})')
