"""Bybit's markets as data: addresses, limits, and how its timeframes are spelled.

Sources:

- connections, requests and their limits: https://bybit-exchange.github.io/docs/v5/ws/connect
- limits of REST: https://bybit-exchange.github.io/docs/v5/rate-limit
- addresses: https://bybit-exchange.github.io/docs/v5/guide
"""

from __future__ import annotations

from typing import Final

from attrs import frozen

from candleactors.model import Timeframe
from candleactors.venues.base import Endpoints, Keepalive, VenueRules

INTERVALS: Final = {
    Timeframe("1m"): "1",
    Timeframe("3m"): "3",
    Timeframe("5m"): "5",
    Timeframe("15m"): "15",
    Timeframe("30m"): "30",
    Timeframe("1h"): "60",
    Timeframe("2h"): "120",
    Timeframe("4h"): "240",
    Timeframe("6h"): "360",
    Timeframe("12h"): "720",
    Timeframe("1d"): "D",
    Timeframe("1w"): "W",
    Timeframe("1M"): "M",
}
"""Every timeframe there is, shortest first, with its name on the wire."""

MAX_SYMBOL_CHARACTERS: Final = 32
"""The longest symbols in 2026 had 19."""
_MAX_CHARACTERS: Final = 21_000  # of the args of all requests of one connection


def topic(interval: str, symbol: str) -> str:
    """Return the name on the wire of the candles of `symbol`; `interval` is one of `INTERVALS`."""
    return f"kline.{interval}.{symbol}"


_LONGEST_NAME: Final = max(len(topic(interval, "X" * MAX_SYMBOL_CHARACTERS)) for interval in INTERVALS.values())
# In the worst case every name is subscribed by a request of its own, with brackets and quotes.
_MAX_NAMES: Final = _MAX_CHARACTERS // (_LONGEST_NAME + len('[""]'))


@frozen
class Market:
    """What differs between Bybit's markets."""

    rules: VenueRules
    category: str
    """What REST calls this market; the last part of the WebSocket's path, too."""


def _rules(
    venue: str, title: str, market: str, *, max_names_per_request: int, assumed: frozenset[str] = frozenset()
) -> VenueRules:
    return VenueRules(
        venue=venue,
        title=title,
        docs_url="https://bybit-exchange.github.io/docs/v5/intro",
        endpoints=Endpoints("wss://stream.bybit.com", "https://api.bybit.com"),
        testnet=Endpoints("wss://stream-testnet.bybit.com", "https://api-testnet.bybit.com"),
        markets=(market,),
        timeframes=tuple(INTERVALS),
        max_streams_per_connection=_MAX_NAMES,
        max_names_per_request=max_names_per_request,
        lifetime_s=None,
        messages_per_s=10.0,
        connects=500,
        connects_window_s=300.0,
        rest_weight=600,  # of an address; every request weighs 1
        rest_window_s=5.0,
        klines_limit=1000,
        keepalive=Keepalive(interval_s=20.0),
        max_characters_per_connection=_MAX_CHARACTERS,
        close_lag_s=2.0,  # documented are pushes every 1 to 60 s; closes were seen within 1 s, of quiet markets too
        windowed_klines=True,  # see BybitCodec.klines
        gives=frozenset({"volume", "quote_volume"}),
        assumed=assumed | {"messages_per_s"},
    )


SPOT: Final = Market(
    rules=_rules("bybit-spot", "Bybit Spot", "spot", max_names_per_request=10),
    category="spot",
)

LINEAR: Final = Market(
    rules=_rules(
        "bybit-linear",
        "Bybit Linear Futures",
        "swap",
        max_names_per_request=100,  # no count is documented; 50 were seen to be accepted
        assumed=frozenset({"max_names_per_request"}),
    ),
    category="linear",
)
