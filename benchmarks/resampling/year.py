"""A made-up year of minute candles, as integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Columns = dict[str, npt.NDArray[Any]]

START_MINUTE = 27_875_520  # 2023-01-01
MINUTES = 365 * 1440
A_DAY = 1440
SIZES = range(2, 61)
PRICES = ("open", "high", "low", "close")
PRICE_DIGITS = 2
AMOUNTS = ("volume", "quote_volume", "trades", "taker_buy_volume", "taker_buy_quote_volume")
AMOUNT_DIGITS = 8
RESULT = ("minute", *PRICES, *AMOUNTS, "missing")
"""What every contestant makes of each size: when the bar opens, nine values, and how many minutes it lacks."""


def year(seed: int = 3) -> Columns:
    """Return a year with 2 % flat minutes, one minute in a thousand missing, and an outage of four hours."""
    choose = np.random.default_rng(seed)
    close = 4_000_000 + np.abs(np.cumsum(choose.integers(-300, 301, MINUTES)))
    opened = np.concatenate(([4_000_000], close[:-1]))
    volume = choose.integers(1, 10**10, MINUTES)
    columns = {
        "minute": START_MINUTE + np.arange(MINUTES),
        "open": opened,
        "high": np.maximum(opened, close) + choose.integers(0, 200, MINUTES),
        "low": np.minimum(opened, close) - choose.integers(0, 200, MINUTES),
        "close": close,
        "volume": volume,
        "quote_volume": volume // 100 * choose.integers(3_900_000, 4_100_000, MINUTES) // 10_000,
        "trades": choose.integers(1, 3000, MINUTES),
        "taker_buy_volume": volume // choose.integers(2, 5, MINUTES),
    }
    columns["taker_buy_quote_volume"] = columns["quote_volume"] // 3
    flat = choose.random(MINUTES) < 0.02
    for name in AMOUNTS:
        columns[name][flat] = 0
    for name in PRICES:
        columns[name] = np.where(flat, opened, columns[name])
    there = choose.random(MINUTES) > 0.001
    there[200_000:200_240] = False
    return {name: values[there].astype(np.int64) for name, values in columns.items()}


def parent(size: int) -> int:
    """Return the largest other size of which `size` is a multiple."""
    return max(other for other in range(1, size) if size % other == 0)


def stretched_day(size: int) -> int:
    """Return the minutes of a day just long enough for bars of `size` to fill it, so that the next begins anew."""
    return -(-A_DAY // size) * size
