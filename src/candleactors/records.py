"""A candle as public fields: the names and the order of the model, the store, JSON and CSV."""

from __future__ import annotations

from decimal import Decimal
from typing import Final, TypeAlias

from candleactors.model import Candle

Plain: TypeAlias = str | int | bool | None

FIELDS: Final = (
    "venue",
    "symbol",
    "timeframe",
    "open_time_ms",
    "close_time_ms",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "quote_volume",
    "trades",
    "taker_buy_volume",
    "taker_buy_quote_volume",
    "closed",
    "complete",
    "source",
    "revision",
    "received_ms",
    "missing",
)


def candle_record(candle: Candle) -> dict[str, Plain]:
    """Return the fields of `candle` in public order. Prices and volumes are text, every digit as it was received."""
    return {name: _plain(getattr(candle, name)) for name in FIELDS}


def _plain(value: object) -> Plain:
    if isinstance(value, Decimal):
        return format(value, "f")
    if value is None or isinstance(value, (int, bool)):
        return value
    return str(value)
