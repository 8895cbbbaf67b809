"""Aster's perpetual futures: the language of Binance's USD-M futures, at other addresses and with limits of its own.

Sources:

- https://github.com/asterdex/api-docs, "Aster Finance Futures API" (V1 and V3, which share the market data)

Klines come over the one route there is; the split into public, market and private ones is Binance's alone.
"""

from __future__ import annotations

from typing import Final

from candleactors.venues.base import Endpoints, VenueRules
from candleactors.venues.binance import BinanceCodec
from candleactors.venues.binance_rules import (
    DRIFTING,
    GIVES,
    MINUTES_AND_LONGER,
    NAMES_PER_REQUEST,
    Market,
    futures_klines_weight,
)

FUTURES: Final = Market(
    rules=VenueRules(
        venue="aster",
        title="Aster Futures",
        docs_url="https://github.com/asterdex/api-docs",
        endpoints=Endpoints("wss://fstream.asterdex.com", "https://fapi.asterdex.com"),
        testnet=Endpoints("wss://fstream5.asterdex-testnet.com", "https://fapi.asterdex-testnet.com"),
        markets=("swap",),
        timeframes=MINUTES_AND_LONGER,
        max_streams_per_connection=200,
        max_names_per_request=NAMES_PER_REQUEST,
        lifetime_s=24 * 3600.0,
        messages_per_s=10.0,
        connects=300,
        connects_window_s=300.0,
        server_ping_s=300.0,
        rest_weight=2400,
        rest_window_s=60.0,
        klines_limit=1500,
        lists_subscriptions=True,
        gives=GIVES,
        drifting=DRIFTING,
        assumed=frozenset({"max_names_per_request", "connects"}),
    ),
    websocket_path="/stream",
    rest_prefix="/fapi/v1",
    symbols_weight=1,
    klines_weight=futures_klines_weight,
    tickers_weight=40,
)


def futures() -> BinanceCodec:
    """Return the codec of Aster's perpetual futures."""
    return BinanceCodec(FUTURES)
