"""What Binance and Aster allow, and how they behave."""

from __future__ import annotations

from typing import Final

from attrs import evolve, field, frozen
from attrs.validators import ge, gt

from candleactors.model import Timeframe
from candleactors.sim.binance.dialect import BinanceDialect
from candleactors.sim.binance.session import ErrorShape
from candleactors.sim.counters import Counters
from candleactors.sim.market import Market
from candleactors.sim.rules import Rules
from candleactors.sim.tape import SymbolSpec

_MINUTES: Final = ("1m", "3m", "5m", "15m", "30m")
_MINUTES_AND_UP: Final = tuple(
    Timeframe(text) for text in (*_MINUTES, "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1M")
)


@frozen(kw_only=True)
class BinanceRules(Rules):
    """Rules of a venue that speaks Binance's language.

    `routes` names the path prefixes that accept WebSockets; klines flow only on those in `kline_routes`. Every other
    route connects, acknowledges and stays silent, as the real venue does.
    """

    api: str
    """Path prefix of REST, such as ``/api/v3``."""
    futures: bool
    routes: tuple[str, ...]
    kline_routes: tuple[str, ...]

    ping_s: float = field(default=20.0, validator=gt(0))
    lifetime_s: float = field(default=24 * 3600.0, validator=gt(0))
    shutdown_notice: bool = True

    messages_per_s: int = field(default=5, validator=gt(0))
    max_streams: int = field(default=1024, validator=gt(0))
    max_names_per_request: int | None = None

    integer_ids_only: bool = False
    invalid_json_closes: bool = False
    error_shape: ErrorShape = ErrorShape.NESTED

    weight_per_minute: int = field(default=6000, validator=gt(0))
    klines_limit: int = field(default=1000, validator=gt(0))
    klines_weights: tuple[tuple[int, int], ...] = ((1 << 31, 2),)
    """Pairs of (limit, weight): the first whose limit is not below the requested one applies."""
    exchange_info_weight: int = 20
    all_tickers_weight: int = 80
    ban_after: int = field(default=10, validator=ge(1))
    """Requests sent while told to wait after which 429 becomes 418."""
    ban_s: float = field(default=120.0, validator=gt(0))
    """Length of the first ban; each further one doubles, up to three days."""

    def serves(self, spec: SymbolSpec) -> bool:
        return spec.futures if self.futures else spec.spot

    def dialect(self, market: Market, counters: Counters) -> BinanceDialect:
        return BinanceDialect(market, self, counters)


SPOT_RULES: Final = BinanceRules(
    name="binance-spot",
    api="/api/v3",
    timeframes=(Timeframe("1s"), *_MINUTES_AND_UP),
    futures=False,
    routes=("",),
    kline_routes=("",),
    push_ms=2_000,
)

USDM_RULES: Final = BinanceRules(
    name="binance-usdm",
    api="/fapi/v1",
    timeframes=_MINUTES_AND_UP,
    futures=True,
    routes=("", "/public", "/market", "/private"),
    kline_routes=("/market",),
    push_ms=250,
    ping_s=180.0,
    pong_timeout_s=600.0,
    shutdown_notice=False,
    messages_per_s=10,
    integer_ids_only=True,
    invalid_json_closes=True,
    weight_per_minute=2400,
    klines_limit=1500,
    klines_weights=((99, 1), (499, 2), (1000, 5), (1 << 31, 10)),
    exchange_info_weight=1,
    all_tickers_weight=40,
)

ASTER_RULES: Final = evolve(
    USDM_RULES,
    name="aster",
    routes=("",),
    kline_routes=("",),
    ping_s=300.0,
    pong_timeout_s=900.0,
    max_streams=200,
)
