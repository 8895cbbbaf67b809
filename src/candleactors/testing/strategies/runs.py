"""Candles in a row."""

from __future__ import annotations

from hypothesis import strategies as st

from candleactors.model import Candle
from candleactors.testing.strategies.prices import Market, moves, scales
from candleactors.testing.strategies.timeframes import Chosen, chosen
from candleactors.testing.strategies.times import open_times

VENUE = "binance-spot"
SYMBOL = "BTCUSDT"


@st.composite
def markets(
    draw: st.DrawFn,
    timeframe: Chosen = "1m",
    *,
    min_size: int = 1,
    max_size: int = 60,
    venue: str = VENUE,
    symbol: str = SYMBOL,
    starts: st.SearchStrategy[int] | None = None,
    optional_fields: bool = True,
) -> Market:
    """Return what happens on one stream in `min_size` to `max_size` intervals; see `candle_runs`."""
    frame = draw(chosen(timeframe))
    opens = [draw(open_times(frame, before=max_size) if starts is None else starts.map(frame.floor))]
    scale = draw(scales(optional_fields=optional_fields))
    # Left to itself a list is short. With a drawn lower bound it is of any length and still shrinks one by one.
    at_least = draw(st.integers(min_size, max(min_size, max_size - 1)))
    happened = draw(st.lists(moves(scale, optional_fields=optional_fields), min_size=at_least, max_size=max_size))
    while len(opens) < len(happened):
        opens.append(frame.next_open(opens[-1]))
    return Market(venue, symbol, frame, scale, opens, happened, lag_ms=draw(st.integers(0, 2_000)))


def candle_runs(
    timeframe: Chosen = "1m",
    *,
    min_size: int = 1,
    max_size: int = 60,
    venue: str = VENUE,
    symbol: str = SYMBOL,
    starts: st.SearchStrategy[int] | None = None,
    optional_fields: bool = True,
) -> st.SearchStrategy[list[Candle]]:
    """Return a strategy for `min_size` to `max_size` closed candles of one stream, one interval after the other.

    - `timeframe`: theirs, or a strategy such as `timeframes`.
    - `starts`: a strategy for instants in UTC milliseconds, the first candle being the one that contains it; by default
      `open_times`, so that runs cross the edges of days, weeks, months, leap days and years.
    - `optional_fields`: whether quote volume, trades and taker volumes may be ``None``, throughout or here and there.

    Prices have none to 18 decimals and go on where the candle before left off; from none to most of them are flat.
    Amounts reach from one smallest unit to 30 digits, so that sums do not fit the default decimal context. Everything
    is possible as a market fact (`Candle.problem`). Shrinks towards few flat candles at a price of 1.
    """
    return markets(
        timeframe,
        min_size=min_size,
        max_size=max_size,
        venue=venue,
        symbol=symbol,
        starts=starts,
        optional_fields=optional_fields,
    ).map(run_of)


def candles(
    timeframe: Chosen = "1m",
    *,
    venue: str = VENUE,
    symbol: str = SYMBOL,
    starts: st.SearchStrategy[int] | None = None,
    optional_fields: bool = True,
) -> st.SearchStrategy[Candle]:
    """Return a strategy for one closed candle; see `candle_runs`."""
    runs = candle_runs(
        timeframe, max_size=1, venue=venue, symbol=symbol, starts=starts, optional_fields=optional_fields
    )
    return runs.map(lambda run: run[0])


def run_of(market: Market) -> list[Candle]:
    """Return every candle of `market`."""
    return [market.candle(index) for index in range(len(market.opens))]
