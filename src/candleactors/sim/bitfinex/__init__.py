"""Bitfinex's public v2 interface as a simulated venue: spot pairs and perpetual futures on one address."""

from candleactors.sim.bitfinex.rules import BITFINEX_RULES, BitfinexRules

__all__ = ["BITFINEX_RULES", "BitfinexRules"]
