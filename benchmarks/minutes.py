"""Made-up closed minutes of a market, as candles."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from random import Random

from candleactors.model import DAY_MS, MINUTE_MS, Candle, Source, Timeframe

START_MS = 1_672_531_200_000  # 2023-01-01
A_DAY = 1440
MINUTE = Timeframe("1m")
SIZES = "2m..60m"


def minutes(symbol: str, days: int, flat: float = 0.0) -> Iterator[Candle]:
    """Yield `days` of made-up closed minutes, of which this share is flat."""
    choose = Random(symbol)
    price = 40_000_00
    for open_ms in range(START_MS, START_MS + days * DAY_MS, MINUTE_MS):
        first, price = price, max(1_000_00, price + choose.randint(-300, 300))
        trades = 0 if choose.random() < flat else choose.randint(1, 3000)
        price = price if trades else first
        high, low = max(first, price), min(first, price)
        volume = choose.randint(1, 10**10) if trades else 0
        yield Candle(
            venue="binance-spot",
            symbol=symbol,
            timeframe=MINUTE,
            open_time_ms=open_ms,
            close_time_ms=open_ms + MINUTE_MS - 1,
            open=Decimal(first).scaleb(-2),
            high=Decimal(high + (choose.randint(0, 200) if trades else 0)).scaleb(-2),
            low=Decimal(low - (choose.randint(0, 200) if trades else 0)).scaleb(-2),
            close=Decimal(price).scaleb(-2),
            volume=Decimal(volume).scaleb(-8),
            quote_volume=Decimal(volume * 40_000).scaleb(-8),
            trades=trades,
            taker_buy_volume=Decimal(volume // 3).scaleb(-8),
            taker_buy_quote_volume=Decimal(volume // 3 * 40_000).scaleb(-8),
            closed=True,
            complete=True,
            source=Source.WS,
            revision=0,
            received_ms=open_ms + MINUTE_MS + 20,
        )
