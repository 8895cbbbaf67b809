"""What Bybit allows, and how it behaves."""

from __future__ import annotations

import re
from typing import Final

from attrs import evolve, field, frozen
from attrs.validators import ge, gt, optional

from candleactors.model import Timeframe
from candleactors.sim.bybit.dialect import BybitDialect
from candleactors.sim.counters import Counters
from candleactors.sim.market import Market
from candleactors.sim.rules import Idleness, Rules
from candleactors.sim.tape import SymbolSpec

_TIMEFRAMES: Final = ("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "12h", "1d", "1w", "1M")
_PLAIN: Final = re.compile(r"[A-Z0-9]{1,24}", re.ASCII)


@frozen(kw_only=True)
class BybitRules(Rules):
    """Rules of one of Bybit's markets. Symbols that cannot be written in capital letters and digits are not traded.

    `echoes_errors`, `oldest_first_from_start` and `end_included` are about what the venue does not document, so that
    clients can be tried with either answer.
    """

    linear: bool
    dated: tuple[tuple[str, int], ...] = ()
    """Contracts that are delivered: symbols of the market with the instant of delivery, linear only."""

    max_names_per_request: int | None = field(default=None, validator=optional(gt(0)))
    max_characters: int = field(default=21_000, validator=gt(0))
    """Of the names subscribed on one connection, each written as an array of its own."""
    echoes_errors: bool = True
    """Whether errors repeat the ``req_id``."""

    requests: int = field(default=600, validator=gt(0))
    requests_window_s: float = field(default=5.0, validator=gt(0))
    """More than `requests` in this time have the address banned for `ban_s`."""
    ban_s: float = field(default=600.0, validator=gt(0))
    klines_limit: int = field(default=1000, validator=gt(0))
    oldest_first_from_start: bool = True
    """Whether a start without an end asks for the rows right behind it, which ccxt relies on, or for the newest."""
    end_included: bool = True
    """Whether a row that opens at the end asked for belongs to the answer."""
    instruments_limit: int = field(default=1000, validator=ge(1))
    """Most rows on a page of instruments, whatever a request asks for."""

    @property
    def category(self) -> str:
        """The market, as REST and the path of the WebSocket call it."""
        return "linear" if self.linear else "spot"

    def serves(self, spec: SymbolSpec) -> bool:
        return _PLAIN.fullmatch(spec.symbol) is not None and (spec.futures if self.linear else spec.spot)

    def dialect(self, market: Market, counters: Counters) -> BybitDialect:
        return BybitDialect(market, self, counters)


BYBIT_SPOT_RULES: Final = BybitRules(
    name="bybit-spot",
    gives=frozenset({"quote_volume"}),
    timeframes=tuple(map(Timeframe, _TIMEFRAMES)),
    linear=False,
    push_ms=1_000,
    close_lag_ms=250,  # seen: between 100 and 1,000
    repeat_s=60.0,
    idleness=Idleness(after_s=600.0, sent=True),
    connects=500,
    max_names_per_request=10,
)

BYBIT_LINEAR_RULES: Final = evolve(
    BYBIT_SPOT_RULES,
    name="bybit-linear",
    linear=True,
    max_names_per_request=None,
)
