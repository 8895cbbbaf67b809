"""Protocol-faithful venue simulators, sharing nothing but `model` with the codecs they test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from candleactors.sim.binance import ASTER_RULES, SPOT_RULES, USDM_RULES, BinanceRules
from candleactors.sim.bitfinex import BITFINEX_RULES, BitfinexRules
from candleactors.sim.bybit import BYBIT_LINEAR_RULES, BYBIT_SPOT_RULES, BybitRules
from candleactors.sim.candles import TruthCandle
from candleactors.sim.counters import Counters
from candleactors.sim.faults import Fault, FaultKind, FaultScript, chaos, rates
from candleactors.sim.market import Market, default_symbols
from candleactors.sim.okx import OKX_RULES, OkxRules
from candleactors.sim.rules import Rules
from candleactors.sim.server import Simulator
from candleactors.sim.tape import Outage, SymbolSpec

_ALL: Final = (ASTER_RULES, SPOT_RULES, USDM_RULES, BYBIT_LINEAR_RULES, BYBIT_SPOT_RULES, OKX_RULES, BITFINEX_RULES)
RULES: Final[Mapping[str, Rules]] = {rules.name: rules for rules in _ALL}
"""Every venue that can be simulated, by name."""

__all__ = [
    "ASTER_RULES",
    "BITFINEX_RULES",
    "BYBIT_LINEAR_RULES",
    "BYBIT_SPOT_RULES",
    "OKX_RULES",
    "RULES",
    "SPOT_RULES",
    "USDM_RULES",
    "BinanceRules",
    "BitfinexRules",
    "BybitRules",
    "Counters",
    "Fault",
    "FaultKind",
    "FaultScript",
    "Market",
    "OkxRules",
    "Outage",
    "Rules",
    "Simulator",
    "SymbolSpec",
    "TruthCandle",
    "chaos",
    "default_symbols",
    "rates",
]
