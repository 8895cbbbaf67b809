"""OKX v5 as a simulated venue: spot and perpetual swaps over one market."""

from candleactors.sim.okx.rules import OKX_RULES, OkxRules

__all__ = ["OKX_RULES", "OkxRules"]
