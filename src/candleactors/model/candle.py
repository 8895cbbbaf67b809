"""Candles: one interval of one stream, exact."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Any

import msgspec

from candleactors.model.stream import Stream
from candleactors.model.timeframe import Timeframe


class Source(StrEnum):
    """Where a candle came from."""

    WS = "ws"
    REST = "rest"
    DERIVED = "derived"
    FILLED = "filled"


class Candle(msgspec.Struct, frozen=True, gc=False):
    """One candle (kline), immutable. Times are UTC epoch milliseconds, prices and volumes exact decimals.

    What a venue does not give is ``None``, never 0. `close_time_ms` is the last millisecond of the interval,
    whatever the venue says in an outage. `complete` is false while a derived candle lacks constituents, and `missing`
    says how many. `revision` is 0 for the first closed candle of an interval and counts the corrections after it.
    `received_ms` is our own clock's time of receipt; of a derived candle, that of the constituent it waited for.

    A msgspec struct, unlike the other values: it is made in a twelfth of the time, and outside the garbage collector,
    which matters for the one value there are millions of.
    """

    venue: str
    symbol: str
    timeframe: Timeframe
    open_time_ms: int
    close_time_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    quote_volume: Decimal | None
    trades: int | None
    taker_buy_volume: Decimal | None
    taker_buy_quote_volume: Decimal | None
    closed: bool
    complete: bool
    source: Source
    revision: int
    received_ms: int
    missing: int = 0

    def replace(self, **changes: Any) -> Candle:
        """Return a candle with some fields changed; raises `TypeError` for a name that is no field."""
        return msgspec.structs.replace(self, **changes)

    @property
    def stream(self) -> Stream:
        """The stream this candle belongs to."""
        return Stream(self.venue, self.symbol, self.timeframe)

    @property
    def next_open_time_ms(self) -> int:
        """The open time of the interval after this one."""
        return self.close_time_ms + 1

    def same_values(self, other: Candle) -> bool:
        """Whether both say the same about the market: prices, volumes and counts, not provenance."""
        return self.values() == other.values()

    def values(self) -> tuple[Decimal | int | None, ...]:
        """Return open, high, low, close, volume, quote volume, trades and both taker volumes, in this order."""
        return (
            self.open,
            self.high,
            self.low,
            self.close,
            self.volume,
            self.quote_volume,
            self.trades,
            self.taker_buy_volume,
            self.taker_buy_quote_volume,
        )

    def problem(self) -> str | None:
        """Return what makes this candle impossible as a market fact, or ``None``.

        Checked: finite positive prices, finite non-negative volumes and counts, low ≤ open, close ≤ high.
        """
        for price in (self.open, self.high, self.low, self.close):
            if not (price.is_finite() and price > 0):
                return "a price is not a positive number"
        if not (self.low <= self.open <= self.high and self.low <= self.close <= self.high):
            return "open or close lies outside low and high"
        for amount in (self.volume, self.quote_volume, self.taker_buy_volume, self.taker_buy_quote_volume):
            if amount is not None and not (amount.is_finite() and amount >= 0):
                return "a volume is not a non-negative number"
        if self.trades is not None and self.trades < 0:
            return "the number of trades is negative"
        return None
