"""A simulated venue's limits, cadences and dialect, all as data that a test may change with `attrs.evolve`."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from attrs import evolve, field, frozen
from attrs.validators import ge, gt

from candleactors.model import Timeframe

_MINUTES: Final = ("1m", "3m", "5m", "15m", "30m")
_MINUTES_AND_UP: Final = tuple(
    Timeframe(text) for text in (*_MINUTES, "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1M")
)


class ErrorShape(StrEnum):
    """How a refused control message is answered: ``{"error":{...},"id":1}`` or ``{"code":...,"msg":...,"id":1}``."""

    NESTED = "nested"
    FLAT = "flat"


@frozen
class Rules:
    """What one venue allows and how it behaves. Durations are seconds, pushes are milliseconds.

    `routes` names the path prefixes that accept WebSockets; klines flow only on those in `kline_routes`. Every other
    route connects, acknowledges and stays silent, as the real venue does.
    """

    name: str
    api: str
    """Path prefix of REST, such as ``/api/v3``."""
    timeframes: tuple[Timeframe, ...]
    futures: bool
    routes: tuple[str, ...]
    kline_routes: tuple[str, ...]

    push_ms: int = field(validator=gt(0))
    second_push_ms: int = field(default=1_000, validator=gt(0))
    """Cadence of the ``1s`` timeframe."""
    close_lag_ms: int = field(default=2, validator=ge(1))
    """Milliseconds after the last one of an interval at which its closing push goes out."""

    ping_s: float = field(default=20.0, validator=gt(0))
    pong_timeout_s: float = field(default=60.0, validator=gt(0))
    lifetime_s: float = field(default=24 * 3600.0, validator=gt(0))
    lifetime_close: int | None = 1001
    """Close code at the end of `lifetime_s`; ``None`` drops the connection without a close frame."""
    shutdown_notice: bool = True
    close_grace_s: float = field(default=5.0, validator=gt(0))
    """How long the venue waits for the client's half of a closing handshake."""

    messages_per_s: int = field(default=5, validator=gt(0))
    max_streams: int = field(default=1024, validator=gt(0))
    max_names_per_request: int | None = None
    max_message_bytes: int = field(default=1 << 17, validator=gt(0))
    max_target_bytes: int = field(default=8004, validator=gt(0))
    """Longest request target (path and query) accepted."""
    connects: int = field(default=300, validator=gt(0))
    connects_window_s: float = field(default=300.0, validator=gt(0))
    send_buffer_bytes: int = field(default=4 << 20, validator=gt(0))
    """Unsent bytes at which a client that does not read is dropped."""

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
    http_idle_s: float = field(default=60.0, validator=gt(0))


SPOT_RULES: Final = Rules(
    name="binance-spot",
    api="/api/v3",
    timeframes=(Timeframe("1s"), *_MINUTES_AND_UP),
    futures=False,
    routes=("",),
    kline_routes=("",),
    push_ms=2_000,
)

USDM_RULES: Final = Rules(
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
