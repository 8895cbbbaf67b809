"""Binance's limits and addresses as data, for the spot market and for USD-M futures.

Sources:

- spot streams: https://github.com/binance/binance-spot-api-docs/blob/master/web-socket-streams.md
- spot REST: https://github.com/binance/binance-spot-api-docs/blob/master/rest-api.md
- spot test network: https://github.com/binance/binance-spot-api-docs/blob/master/testnet/general-info.md
- USD-M streams: https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams
- USD-M REST: https://developers.binance.com/docs/derivatives/usds-margined-futures/general-info
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attrs import frozen

from candleactors.model import Timeframe
from candleactors.venues.base import Endpoints, VenueRules

MINUTES_AND_LONGER: Final = tuple(
    map(Timeframe, ("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1M"))
)

GIVES: Final = frozenset({"volume", "quote_volume", "trades", "taker_buy_volume", "taker_buy_quote_volume"})
# Three days are counted from a symbol's first day of trading. Seen at spot; not known of futures.
DRIFTING: Final = frozenset({Timeframe("3d")})
# Binance documents no bound on the names of one SUBSCRIBE. Client libraries in wide use send up to 250.
NAMES_PER_REQUEST: Final = 200


@frozen
class Market:
    """What differs between Binance's markets, and those of others who speak its language."""

    rules: VenueRules
    websocket_path: str
    """Of the combined streams, which name each message's stream."""
    rest_prefix: str
    symbols_weight: int
    klines_weight: Callable[[int], int]
    """The weight of a klines request by its limit."""
    tickers_weight: int


def futures_klines_weight(limit: int) -> int:
    """Return the weight of a klines request for `limit` rows, at futures."""
    if limit < 100:
        return 1
    if limit < 500:
        return 2
    return 5 if limit <= 1000 else 10


SPOT: Final = Market(
    rules=VenueRules(
        venue="binance-spot",
        title="Binance Spot",
        docs_url="https://github.com/binance/binance-spot-api-docs",
        endpoints=Endpoints("wss://stream.binance.com:9443", "https://api.binance.com"),
        testnet=Endpoints("wss://stream.testnet.binance.vision", "https://testnet.binance.vision"),
        markets=("spot",),
        timeframes=(Timeframe("1s"), *MINUTES_AND_LONGER),
        max_streams_per_connection=1024,
        max_names_per_request=NAMES_PER_REQUEST,
        lifetime_s=24 * 3600.0,
        messages_per_s=5.0,
        connects=300,
        connects_window_s=300.0,
        server_ping_s=20.0,
        rest_weight=6000,
        rest_window_s=60.0,
        klines_limit=1000,
        lists_subscriptions=True,
        gives=GIVES,
        drifting=DRIFTING,
        assumed=frozenset({"max_names_per_request"}),
    ),
    websocket_path="/stream",
    rest_prefix="/api/v3",
    symbols_weight=20,
    klines_weight=lambda limit: 2,
    tickers_weight=80,
)

USDM: Final = Market(
    rules=VenueRules(
        venue="binance-usdm",
        title="Binance USD-M Futures",
        docs_url="https://developers.binance.com/docs/derivatives/usds-margined-futures",
        endpoints=Endpoints("wss://fstream.binance.com", "https://fapi.binance.com"),
        testnet=Endpoints("wss://demo-fstream.binance.com", "https://demo-fapi.binance.com"),
        markets=("swap",),
        timeframes=MINUTES_AND_LONGER,
        max_streams_per_connection=1024,
        max_names_per_request=NAMES_PER_REQUEST,
        lifetime_s=24 * 3600.0,
        messages_per_s=10.0,
        connects=300,  # the spot market's
        connects_window_s=300.0,
        server_ping_s=180.0,
        rest_weight=2400,
        rest_window_s=60.0,
        klines_limit=1500,
        lists_subscriptions=True,
        gives=GIVES,
        drifting=DRIFTING,
        assumed=frozenset({"max_names_per_request", "connects"}),
    ),
    # Klines belong to the "market" route. The route-less address of old acknowledges them and stays silent.
    websocket_path="/market/stream",
    rest_prefix="/fapi/v1",
    symbols_weight=1,
    klines_weight=futures_klines_weight,
    tickers_weight=40,
)
