"""One seed of the simulation that this project proves itself with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from attrs import evolve

from candleactors.simulation.case import Case
from candleactors.simulation.outcome import Outcome, SimulationFailed
from candleactors.simulation.plan import Scale
from candleactors.simulation.run import run

__all__ = ["Outcome", "SimulationFailed", "simulate"]

_USUAL: Final = Scale()


def simulate(
    seed: int,
    *,
    days: float = _USUAL.days,
    streams: int = _USUAL.streams,
    faults_per_hour: float = _USUAL.faults_per_hour,
    calm: Iterable[str] = (),
    acts: Iterable[int] | None = None,
    keep: bool = False,
) -> Outcome:
    """Run a whole feed through the trouble of `seed` in virtual time and return what became of it. Blocks.

    - `days`: virtual time, in whole cycles of two hours of trouble and 40 minutes of peace; one by default.
    - `streams`: symbols watched in 1m, with what is derived from them; others come and go.
    - `faults_per_hour`: while there is trouble. `calm`: names of what is left out, such as ``kill``.
    - `acts`: numbers of the only acts that happen, counted from 1.
    - `keep`: keep the whole trace in `Outcome.lines`, and not only its end.

    The market is drawn too: its first second, its symbols, their liquidity, and the feed's settings. Equal arguments
    give equal outcomes, down to `Outcome.digest`. `Outcome.check` raises `SimulationFailed` where anything was wrong.
    """
    scale = Scale(days=days, streams=streams, faults_per_hour=faults_per_hour, calm=frozenset(calm))
    case = Case(seed, scale, None if acts is None else tuple(sorted(set(acts))))
    return evolve(run(case.plan(), keep=keep), replay=f"{case.command()} --timeline")
