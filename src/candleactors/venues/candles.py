"""Candles as venues tell of them: decimal text and epoch milliseconds in, exact candles out."""

from __future__ import annotations

from typing import Final

from candleactors.model import DAY_MS, Candle, Source, Stream, Timeframe
from candleactors.venues.decimals import plain_decimals

EARLIEST_MS: Final = 946_684_800_000  # 2000-01-01; also tells milliseconds from seconds
LATEST_MS: Final = 4_102_444_800_000  # 2100-01-01; also tells milliseconds from microseconds
MAX_TRADES: Final = 2**53


def grid_ms(timeframe: Timeframe) -> int:
    """Return what every open time of `timeframe` is a multiple of.

    Beyond a day only the day counts: candles of several days have another phase at each venue, at some for each symbol.
    """
    return min(timeframe.nominal_ms, DAY_MS)


def is_open_time(timeframe: Timeframe, open_ms: int) -> bool:
    """Whether a candle of `timeframe` can open at `open_ms`."""
    return EARLIEST_MS <= open_ms <= LATEST_MS and open_ms % grid_ms(timeframe) == 0


def build_candle(
    stream: Stream,
    open_time_ms: int,
    *,
    prices: tuple[str, str, str, str],
    amounts: tuple[str, str | None, str | None, str | None],
    trades: int | None,
    closed: bool,
    source: Source,
    received_ms: int,
) -> Candle:
    """Return the candle with `prices` open, high, low, close and `amounts` base, quote, taker base, taker quote.

    What the venue does not give is ``None``. Raises `ValueError` with the problem where a value is no number or the
    candle impossible.
    """
    if trades is not None and not 0 <= trades < MAX_TRADES:
        raise ValueError("the number of trades is absurd")
    timeframe = stream.timeframe
    _, quote, taker, taker_quote = amounts
    given = [text for text in amounts if text is not None]
    opened, high, low, close, *exact = plain_decimals((*prices, *given))
    rest = iter(exact)
    candle = Candle(  # by position, which is faster
        stream.venue,
        stream.symbol,
        timeframe,
        open_time_ms,
        timeframe.close_ms(open_time_ms),
        opened,
        high,
        low,
        close,
        next(rest),
        None if quote is None else next(rest),
        trades,
        None if taker is None else next(rest),
        None if taker_quote is None else next(rest),
        closed,
        True,
        source,
        0,
        received_ms,
    )
    problem = candle.problem()
    if problem is not None:
        raise ValueError(problem)
    return candle
