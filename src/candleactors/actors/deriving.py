"""Deriving: what stored candles of a source make, where nobody was told of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

from candleactors.core.cascade import cascade
from candleactors.core.derivation import Derivation
from candleactors.model import Candle, Stream, Timeframe

_ROWS_AT_ONCE = 250  # before others have their turn


async def derived_history(
    read: Callable[[int, int, int], Awaitable[list[Candle]]],
    source: Stream,
    timeframes: Sequence[Timeframe],
    first_ms: int,
    until_ms: int,
) -> AsyncGenerator[list[Candle], None]:
    """Yield, again and again, what derives from the candles of `source` that open in [`first_ms`, `until_ms`).

    Intervals that begin before `first_ms` are left out. `read` returns the stored candles that open in a time, its last
    millisecond included, the oldest so many of them.
    """
    begin_ms = first_ms
    derivation = Derivation(source, cascade(source.timeframe, tuple(timeframes)), 1)
    while first_ms < until_ms and (rows := await read(first_ms, until_ms - 1, _ROWS_AT_ONCE)):
        yield [
            event
            for row in rows
            if row.closed
            for _, event in derivation.on_candle(row)
            if isinstance(event, Candle) and event.open_time_ms >= begin_ms
        ]
        first_ms = rows[-1].next_open_time_ms
