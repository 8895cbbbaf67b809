"""What OKX allows, and how it behaves."""

from __future__ import annotations

from typing import Final

from attrs import field, frozen
from attrs.validators import gt

from candleactors.model import Timeframe
from candleactors.sim.counters import Counters
from candleactors.sim.dialect import Close
from candleactors.sim.market import Market
from candleactors.sim.okx.bars import TIMEFRAMES
from candleactors.sim.okx.dialect import OkxDialect
from candleactors.sim.rules import Idleness, Rules
from candleactors.sim.tape import SymbolSpec


@frozen(kw_only=True)
class OkxRules(Rules):
    """Rules of OKX v5. Where it is not known how the venue counts, the stricter way is simulated."""

    name: str = "okx"
    timeframes: tuple[Timeframe, ...] = TIMEFRAMES
    gives: frozenset[str] = frozenset({"quote_volume"})

    push_ms: int = field(default=1_000, validator=gt(0))
    close_lag_ms: int = field(default=150, validator=gt(0))

    idleness: Idleness | None = field(default=Idleness(after_s=30.0, sent=True, close=Close(4004, "No data received")))
    max_streams: int | None = 100
    max_streams_close: Close = field(default=Close(4003, "Subscription amount exceeds the limit 100"))
    max_message_bytes: int = field(default=64 << 10, validator=gt(0))
    connects: int = field(default=3, validator=gt(0))
    connects_window_s: float = field(default=1.0, validator=gt(0))

    subscriptions_per_hour: int = field(default=480, validator=gt(0))
    """Subscriptions and unsubscriptions of one connection."""
    each_channel_counts: bool = True
    """Otherwise a request counts once, however many channels it names."""
    too_frequent_close: Close | None = None
    """How a connection that asked too often ends, after error 60014; ``None``: it goes on."""

    rest_window_s: float = field(default=2.0, validator=gt(0))
    klines_limit: int = field(default=300, validator=gt(0))
    recent_rows: int = field(default=1_440, validator=gt(0))
    history_has_forming: bool = False
    """Whether the path of old candles has the one that is forming."""

    def serves(self, spec: SymbolSpec) -> bool:
        return spec.spot or spec.futures

    def dialect(self, market: Market, counters: Counters) -> OkxDialect:
        return OkxDialect(market, self, counters)


OKX_RULES: Final = OkxRules()
