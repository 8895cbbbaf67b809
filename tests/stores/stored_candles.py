"""Candles and gaps for tests of stores: minutes of two streams, by their number."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from candleactors.model import MINUTE_MS, Candle, Gap, GapReason, Source, Stream, Timeframe

STREAM = Stream("binance-spot", "BTCUSDT", Timeframe("1m"))
OTHER = Stream("binance-spot", "ETHUSDT", Timeframe("1m"))
START_MS = 1_700_000_040_000
FAR_MS = 2**53


def at_ms(index: int) -> int:
    """Return when minute `index` opens."""
    return START_MS + index * MINUTE_MS


def candle(index: int = 0, stream: Stream = STREAM, **changes: Any) -> Candle:
    """Return the closed candle of minute `index`, with `changes`."""
    made = Candle(
        stream.venue,
        stream.symbol,
        stream.timeframe,
        at_ms(index),
        stream.timeframe.close_ms(at_ms(index)),
        Decimal("0.0010"),
        Decimal("0.0020"),
        Decimal("0.00090000"),
        Decimal("0.0011"),
        Decimal("12.50"),
        Decimal("0.00000000"),
        7,
        None,
        None,
        closed=True,
        complete=True,
        source=Source.WS,
        revision=0,
        received_ms=at_ms(index + 1),
    )
    return made.replace(**changes)


def gap(first: int, last: int, reason: GapReason = GapReason.UNREPAIRED, stream: Stream = STREAM) -> Gap:
    """Return a gap from minute `first` to minute `last`."""
    return Gap(stream, at_ms(first), at_ms(last), reason)
