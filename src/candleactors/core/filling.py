"""Filling: the candle of an interval without trades, where the venue has none for it."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from candleactors.model import Candle, Source, Stream

_NOTHING: Final = Decimal(0)


def flat_candle(stream: Stream, open_ms: int, close: Decimal, received_ms: int) -> Candle:
    """Return the closed candle of an interval without trades; what such a venue never gives is ``None``."""
    return Candle(
        venue=stream.venue,
        symbol=stream.symbol,
        timeframe=stream.timeframe,
        open_time_ms=open_ms,
        close_time_ms=stream.timeframe.close_ms(open_ms),
        open=close,
        high=close,
        low=close,
        close=close,
        volume=_NOTHING,
        quote_volume=None,
        trades=None,
        taker_buy_volume=None,
        taker_buy_quote_volume=None,
        closed=True,
        complete=True,
        source=Source.FILLED,
        revision=0,
        received_ms=received_ms,
    )
