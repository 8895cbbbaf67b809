"""Bybit's public v5 interface as a simulated venue: spot, and linear futures."""

from candleactors.sim.bybit.rules import BYBIT_LINEAR_RULES, BYBIT_SPOT_RULES, BybitRules

__all__ = ["BYBIT_LINEAR_RULES", "BYBIT_SPOT_RULES", "BybitRules"]
