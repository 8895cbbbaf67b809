"""Tickers: what a symbol did in the last 24 hours."""

from __future__ import annotations

from decimal import Decimal

from attrs import frozen


@frozen
class Ticker:
    """The last 24 hours of one symbol on one venue. What a venue does not give is ``None``."""

    venue: str
    symbol: str
    """In the venue's own spelling."""
    last: Decimal
    change: Decimal | None
    """Of the price in 24 hours, as a share of the price then: 0.0196 is 1.96 %."""
    volume: Decimal | None
    """In the base currency."""
    quote_volume: Decimal | None
