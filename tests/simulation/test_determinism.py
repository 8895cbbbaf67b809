"""Equal plans give equal runs, event for event, in processes that share nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest
from attrs import evolve

from candleactors.simulation import Plan, Scale, draw, run

PROGRAM = """
import json
from test_determinism import short
from candleactors.simulation import run

outcome = run(short({seed}))
print(json.dumps([outcome.digest, outcome.events, outcome.candles, dict(outcome.faults)]))
"""


def short(seed: int) -> Plan:
    """Return a quarter of an hour of all that `seed` has in store: one trouble after the other, and a little peace.

    Not enough for everything to come right.
    """
    plan = draw(seed, Scale(streams=3, faults_per_hour=600))
    acts = tuple(act for act in plan.acts if act.at_s < 500)
    return evolve(plan, acts=acts, troubles=((90.0, 700.0),), peace_s=200.0)


def runs(seed: int) -> list[Any]:
    """Return what two processes make of `seed`, whose strings and sets have different orders."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM.format(seed=seed)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        for hash_seed in ("1", "4242")
    ]
    return [json.loads(process.communicate()[0]) for process in processes]


@pytest.mark.parametrize("seed", [1, 11])
def test_processes_agree_on_every_event(seed: int) -> None:
    one, other = runs(seed)
    assert one == other
    digest, events, candles, faults = one
    assert len(digest) == 32
    assert events > 1_000
    assert candles > 200
    assert sum(faults.values()) > 20


def test_one_process_agrees_with_itself_and_not_about_another_seed() -> None:
    plan = short(1)
    first, again, other = (run(each, keep=True) for each in (plan, plan, evolve(plan, seed=2)))
    assert first.lines == again.lines
    assert first.digest == again.digest != other.digest
