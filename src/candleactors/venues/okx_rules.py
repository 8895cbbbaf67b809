"""OKX's limits, addresses and names as data: one venue for its spot market and its perpetual swaps.

Sources, all within https://www.okx.com/docs-v5/en/ :

- connections: ``#overview-websocket``
- candles over WebSocket: ``#order-book-trading-market-data-ws-candlesticks-channel``
- candles over REST: ``#order-book-trading-market-data-get-candlesticks`` and ``-get-candlesticks-history``
- demo trading: ``#overview-demo-trading-services``
"""

from __future__ import annotations

import re
from typing import Final

from candleactors.model import Timeframe
from candleactors.venues.base import Endpoints, Keepalive, VenueRules

WEBSOCKET_PATH: Final = "/ws/v5/business"
"""Of candles. The public path refuses them with error 60018."""

_IN_UTC: Final = ("6h", "12h", "1d", "2d", "3d", "5d", "1w", "1M", "3M")

TIMEFRAMES: Final = tuple(map(Timeframe, ("1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", *_IN_UTC)))


def _bar(timeframe: Timeframe) -> str:
    """Return OKX's word for `timeframe`. From 6 hours on the plain words mean UTC+8, the ones with ``utc`` UTC."""
    unit = timeframe.unit if timeframe.unit in "smM" else timeframe.unit.upper()
    return f"{timeframe.count}{unit}{'utc' if timeframe.text in _IN_UTC else ''}"


BARS: Final = {timeframe: _bar(timeframe) for timeframe in TIMEFRAMES}
"""OKX's word for each timeframe, the same over WebSocket (behind ``candle``) and REST."""

CHANNELS: Final = {f"candle{bar}": timeframe for timeframe, bar in BARS.items()}
"""The timeframe of each channel."""

# What would end a part of a symbol, be escaped in it, or be no text at all. Letters of any script are allowed: venues
# list such coins.
_CURRENCY: Final = r"""[^-\s@/\\"'?&#%,:\x00-\x1f\x7f\ud800-\udfff]{1,24}"""
SYMBOL: Final = re.compile(rf"{_CURRENCY}-(?!SWAP\Z){_CURRENCY}(?:-SWAP)?")
"""``BTC-USDT`` and ``BTC-USDT-SWAP``; a future that expires has a date where this has ``SWAP``, or more parts."""

MAX_SYMBOL_CHARACTERS: Final = 24 + 1 + 24 + 5

RECENT_ROWS: Final = 1_440
"""The venue's recent candles are this many, the forming one among them; what is older is asked for elsewhere."""

HISTORY_ONLY: Final = frozenset({Timeframe("1s")})
"""Recent candles are refused in these ("Parameter bar error"); older ones have them, for three months."""

RULES: Final = VenueRules(
    venue="okx",
    title="OKX",
    docs_url="https://www.okx.com/docs-v5/en/",
    # Port 443. The documentation of 2026 still prints 8443, which is said to be retired at the end of that October.
    endpoints=Endpoints("wss://ws.okx.com", "https://www.okx.com"),
    testnet=Endpoints("wss://wspap.okx.com", "https://www.okx.com", (("x-simulated-trading", "1"),)),
    markets=("spot", "swap"),
    timeframes=TIMEFRAMES,
    # Close code 4003 speaks of a subscription amount that exceeds 100, without saying of what.
    max_streams_per_connection=100,
    max_names_per_request=50,
    max_request_bytes=64 << 10,
    lifetime_s=None,
    messages_per_s=3.0,
    connects=3,
    connects_window_s=1.0,
    # 480 "requests" to subscribe, unsubscribe or log in. Whether one for fifty channels counts once or fifty times is
    # not said; counting channels is right either way.
    names_per_connection=480,
    names_window_s=3600.0,
    # OKX counts by path: recent candles 40 in 2 s, old candles, instruments and tickers 20, the clock 10. In one budget
    # of 40 they weigh 1, 2, 2, 2 and 4: then no mixture of them exceeds the limit of any.
    rest_weight=40,
    rest_window_s=2.0,
    # Recent candles come by 300; old ones by 300 according to the documentation of 2026, by 100 according to older
    # ones. A window of more rows than the venue gives would be answered with its newest ones only, and the missing
    # ones would look like candles that the venue does not have. So nobody ever asks for more than 100.
    klines_limit=100,
    newest_limit=300,
    # The venue closes a connection on which it pushed nothing for 30 s.
    keepalive=Keepalive(20.0, only_idle=True),
    windowed_klines=True,
    gives=frozenset({"volume", "quote_volume"}),
    # From which day these are counted is not documented.
    drifting=frozenset(map(Timeframe, ("2d", "3d", "5d"))),
    assumed=frozenset({"max_streams_per_connection", "max_names_per_request", "messages_per_s"}),
)
