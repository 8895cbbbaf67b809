"""Binance as a simulated venue, spot and USD-M futures, and Aster, which speaks the language of the latter."""

from candleactors.sim.binance.rules import ASTER_RULES, SPOT_RULES, USDM_RULES, BinanceRules

__all__ = ["ASTER_RULES", "SPOT_RULES", "USDM_RULES", "BinanceRules"]
