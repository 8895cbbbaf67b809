"""Trials: plans carried out, whatever comes of it, and what that cost."""

from __future__ import annotations

import time
import traceback

from attrs import frozen

from candleactors.simulation.outcome import Breach, Outcome
from candleactors.simulation.plan import Plan
from candleactors.simulation.run import run

_EXPLAINED_S = 2 * 86_400.0
"""The trace of a longer run is too large to be kept."""


@frozen
class Trial:
    """What became of one plan."""

    outcome: Outcome
    cpu_s: float
    """Of the first run; see `attempt`."""


def attempt(plan: Plan, *, keep: bool = False, explain: bool = True) -> Trial:
    """Run `plan`, whatever it raises. Blocks.

    With `explain` a failure is run again for its `Outcome.course`; if that is not the same run, event for event, that
    is one more breach. `keep` keeps the whole trace.
    """
    started_s = time.process_time()
    outcome = _outcome(plan, keep=keep)
    cpu_s = time.process_time() - started_s
    if explain and not outcome.ok and outcome.events and outcome.seconds < _EXPLAINED_S:
        again = outcome if keep else _outcome(plan, keep=True)
        outcome.course = again.how()
        if again.digest != outcome.digest:
            problem = f"event {outcome.events} of one run is event {again.events} of another: the digests differ"
            outcome.breaches.append(Breach(outcome.seconds, "determinism", problem, outcome.events))
    if not keep:
        outcome.lines = ()
    return Trial(outcome, cpu_s)


def _outcome(plan: Plan, *, keep: bool) -> Outcome:
    try:
        return run(plan, keep=keep)
    except Exception as error:
        # The edge of a process that tries many plans: that one raises is a finding like any other.
        failure = "".join(traceback.format_exception(error))
        return Outcome(plan.seed, [Breach(0.0, "simulation", repr(error), 0)], failure=failure, start_ms=plan.start_ms)
