"""OKX's words for timeframes: the plain ones open in UTC+8 from six hours on, those with ``utc`` in UTC.

https://www.okx.com/docs-v5/en/#order-book-trading-market-data-ws-candlesticks-channel
"""

from __future__ import annotations

from typing import Final

from candleactors.model import Timeframe

_SHORT: Final = {
    "1s": "1s",
    "1m": "1m",
    "3m": "3m",
    "5m": "5m",
    "15m": "15m",
    "30m": "30m",
    "1H": "1h",
    "2H": "2h",
    "4H": "4h",
}
_LONG: Final = {
    "6H": "6h",
    "12H": "12h",
    "1D": "1d",
    "2D": "2d",
    "3D": "3d",
    "5D": "5d",
    "1W": "1w",
    "1M": "1M",
    "3M": "3M",
}

TIMEFRAMES: Final = tuple(map(Timeframe, (*_SHORT.values(), *_LONG.values())))
"""Those of the market that the venue has, in UTC."""

BARS: Final[dict[str, Timeframe]] = {
    **{bar: Timeframe(text) for bar, text in _SHORT.items()},
    **{bar: Timeframe(f"{text}@+0800") for bar, text in _LONG.items()},
    **{f"{bar}utc": Timeframe(text) for bar, text in _LONG.items()},
}
"""Every word, over WebSocket (behind ``candle``) and REST, with what it means."""

ONLY_OLD: Final = frozenset({"1s"})
"""Refused by the path of recent candles."""
