"""What Bitfinex allows, and how it behaves."""

from __future__ import annotations

from typing import Final

from attrs import field, frozen
from attrs.validators import ge, gt, in_

from candleactors.model import Timeframe
from candleactors.sim.bitfinex.dialect import BitfinexDialect
from candleactors.sim.bitfinex.listings import is_spellable
from candleactors.sim.counters import Counters
from candleactors.sim.market import Market
from candleactors.sim.rules import Idleness, Rules
from candleactors.sim.tape import SymbolSpec

_TIMEFRAMES: Final = ("1m", "5m", "15m", "30m", "1h", "3h", "6h", "12h", "1d", "1w", "14d", "1M")


@frozen(kw_only=True)
class BitfinexRules(Rules):
    """Rules of Bitfinex. Symbols that cannot be written in capital letters and digits are not traded.

    What it does is partly known from observation, partly not at all: `week`, `echoes_request`, `names_duplicate`,
    `stamps` and `empty_if_unknown` are there so that clients can be tried with either answer.
    """

    name: str = "bitfinex"
    timeframes: tuple[Timeframe, ...] = tuple(map(Timeframe, _TIMEFRAMES))
    gives: frozenset[str] = frozenset()
    flat_rows: bool = False

    push_ms: int = field(default=250, validator=gt(0))  # on every trade, nearly
    close_lag_ms: int = field(default=100, validator=ge(1))
    closing_push: bool = False
    flat_pushes: bool = False
    previous_again: int = field(default=5, validator=ge(0))
    heartbeat_s: float | None = 15.0
    idleness: Idleness | None = field(default=Idleness(after_s=60.0, unless_subscribed=True))
    connects: int = field(default=20, validator=gt(0))
    connects_window_s: float = field(default=60.0, validator=gt(0))

    max_channels: int = field(default=36, validator=gt(0))
    """Subscriptions of one connection beyond which more are refused. Documented as 25 and as 30; 36 were seen."""
    snapshot_rows: int = field(default=120, validator=ge(0))
    week: str = field(default="1W", validator=in_(("1W", "7D")))
    """How replies write the key of a week, whichever way it was asked for."""
    echoes_request: bool = True
    """Whether errors repeat the fields of the request, and all replies its ``subId``."""
    names_duplicate: bool = True
    """Whether the error about a second subscription names the channel of the first."""
    stamps: bool = True
    """Whether the flag that asks for the server's clock in every frame is heeded. Accepted, it is in any case."""

    rest_window_s: float = field(default=60.0, validator=gt(0))
    candle_requests: int = field(default=30, validator=gt(0))
    other_requests: int = field(default=30, validator=gt(0))
    """Requests of an address in `rest_window_s`, for each endpoint."""
    block_s: float = field(default=60.0, validator=gt(0))
    """How long an endpoint is closed to an address that asked too often."""
    klines_limit: int = field(default=10_000, validator=gt(0))
    empty_if_unknown: bool = True
    """Whether candles of a symbol that does not exist are an empty list; else it is an error."""

    def serves(self, spec: SymbolSpec) -> bool:
        return is_spellable(spec) and (spec.spot or spec.futures)

    def dialect(self, market: Market, counters: Counters) -> BitfinexDialect:
        return BitfinexDialect(market, self, counters)


BITFINEX_RULES: Final = BitfinexRules()
