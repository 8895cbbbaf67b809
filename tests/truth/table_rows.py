"""Rows: one candle as a recording has it, whatever the recording's format."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from attrs import frozen

_YEAR_3000_S: Final = 32_503_680_000


@frozen
class Row:
    """A venue's candle. What the recording does not give is ``None``."""

    open_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    quote_volume: Decimal | None = None
    trades: int | None = None
    taker_buy_volume: Decimal | None = None
    taker_buy_quote_volume: Decimal | None = None

    @classmethod
    def of_kline(cls, kline: Sequence[str | int]) -> Row:
        """Return the row of the 12 values that Binance gives for a kline, in a REST answer or in a dump."""
        opened, first, high, low, last, volume, _, quote, trades, taker, taker_quote = kline[:11]
        return cls(
            open_ms=instant_ms(str(opened)),
            open=Decimal(first),
            high=Decimal(high),
            low=Decimal(low),
            close=Decimal(last),
            volume=Decimal(volume),
            quote_volume=Decimal(quote),
            trades=int(trades),
            taker_buy_volume=Decimal(taker),
            taker_buy_quote_volume=Decimal(taker_quote),
        )


def instant_ms(text: str) -> int:
    """Return an instant in ms, of s, ms or µs since the epoch (whichever is before 3000) or of a UTC date."""
    if text.removesuffix(".0").isdigit():
        number = int(text.removesuffix(".0"))
        if number < _YEAR_3000_S:
            return number * 1_000
        return number if number < _YEAR_3000_S * 1_000 else number // 1_000
    moment = datetime.fromisoformat(text)
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return round(moment.timestamp() * 1_000)
