"""Deterministic simulation: the whole feed through weeks of trouble in minutes, from a seed, judged by the truth.

`draw` makes a `Plan` of a seed, `run` runs it and returns an `Outcome`. Everything is real but time, sockets and the
venues, which are those of `candleactors.sim`. See docs/simulation.md.
"""

from candleactors.simulation.outcome import Breach, Outcome
from candleactors.simulation.plan import Plan, Scale, draw
from candleactors.simulation.run import run

__all__ = ["Breach", "Outcome", "Plan", "Scale", "draw", "run"]
