"""Bitfinex's limits and addresses as data.

Sources:

- WebSocket: https://docs.bitfinex.com/docs/ws-general and https://docs.bitfinex.com/docs/ws-public
- candles: https://docs.bitfinex.com/reference/ws-public-candles and
  https://docs.bitfinex.com/reference/rest-public-candles
- limits: https://docs.bitfinex.com/docs/requirements-and-limitations
"""

from __future__ import annotations

from typing import Final

from candleactors.model import Timeframe
from candleactors.venues.base import Closes, Endpoints, Keepalive, VenueRules

WIRE_TIMEFRAMES: Final = {
    Timeframe(text): wire
    for text, wire in {
        "1m": "1m",
        "5m": "5m",
        "15m": "15m",
        "30m": "30m",
        "1h": "1h",
        "3h": "3h",
        "6h": "6h",
        "12h": "12h",
        "1d": "1D",
        "1w": "1W",
        "14d": "14D",
        "1M": "1M",
    }.items()
}
"""How the venue writes its timeframes. Older documents say ``7D`` for ``1W``."""

GRACE_MS: Final = 2_000
"""How long after its end a candle may still change before it is taken for closed: late trades, re-sent rows."""

RULES: Final = VenueRules(
    venue="bitfinex",
    title="Bitfinex",
    docs_url="https://docs.bitfinex.com",
    endpoints=Endpoints("wss://api-pub.bitfinex.com", "https://api-pub.bitfinex.com"),
    testnet=None,  # what is traded on paper lives beside the rest: TESTBTC:TESTUSD
    markets=("spot", "swap"),
    timeframes=tuple(WIRE_TIMEFRAMES),
    max_streams_per_connection=25,  # documented as 25 and as 30; 36 were seen to be accepted
    max_names_per_request=1,
    lifetime_s=None,
    messages_per_s=10.0,
    connects=20,
    connects_window_s=60.0,
    rest_weight=30,  # of candles; other endpoints have limits of their own, between 10 and 90 a minute
    rest_window_s=60.0,
    klines_limit=10_000,
    # A connection that carries nothing and hears nothing for 60 s is closed.
    keepalive=Keepalive(interval_s=20.0, only_idle=True),
    closes=Closes.INFERRED,
    close_lag_s=20.0,  # a heartbeat every 15 s at the latest, the grace, and the way here
    skips_empty=True,
    heartbeat_s=15.0,
    gives=frozenset({"volume"}),
    # Nobody documents on which day two weeks begin.
    drifting=frozenset({Timeframe("14d")}),
    assumed=frozenset({"messages_per_s"}),
)
