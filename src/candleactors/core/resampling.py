"""Resampling: derived candles of a whole sequence of candles."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from candleactors.core.bars import BarBuilder, targets
from candleactors.errors import UnorderedCandles
from candleactors.model import Candle, Stream, Timeframe

_MEMORY = 180


def resample(
    candles: Iterable[Candle], to: Timeframe | str | Iterable[Timeframe | str], *, anchor: str = "day"
) -> Iterator[Candle]:
    """Yield the derived candles of `candles`, as soon as each is over.

    `candles` are closed ones in any timeframe that the wanted ones are made of, ascending; streams may be mixed, and an
    open candle is passed over. `to` is a timeframe, several (``"5m,1h"``, ``"2m..60m"``) or an iterable of them;
    `anchor` is that of `BarBuilder`. For each stream and timeframe they come in ascending order. Intervals without any
    constituent yield nothing; one that lacks some is not `complete`, and `missing` says how many. What has not ended
    with the input comes last, not `closed`.

    Holds no more than the longest interval. Raises `InvalidTimeframe` at once, and `UnorderedCandles` for a candle that
    goes back; one that merely repeats another of the last 180 is passed over.
    """
    wanted = targets((to,) if isinstance(to, (str, Timeframe)) else tuple(to), anchor)
    return _resample(candles, wanted)


def _resample(candles: Iterable[Candle], wanted: tuple[Timeframe, ...]) -> Iterator[Candle]:
    builders: dict[tuple[str, str, Timeframe], BarBuilder] = {}
    for candle in candles:
        if not candle.closed:
            continue
        key = candle.venue, candle.symbol, candle.timeframe
        builder = builders.get(key)
        if builder is None:
            builder = builders[key] = BarBuilder(*wanted, source=candle.timeframe, memory=_MEMORY)
        expected_ms = builder.expected_ms
        late = expected_ms is not None and candle.open_time_ms < expected_ms
        if late and builder.knows(candle):
            continue
        if late:
            raise UnorderedCandles(
                f"a candle of {Stream(*key)} opens at {candle.open_time_ms}, after a later one or another of that time"
            )
        yield from (event for event in builder.add(candle) if isinstance(event, Candle))
    for builder in builders.values():
        yield from builder.forming()
