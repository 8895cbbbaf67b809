"""The checker is checked: simulations find every deliberate defect, and nothing where there is none.

Plans are brief and hold one sort of trouble, so that few of them do. What is asserted of a defect is the number of
plans it takes and what the breach says.
"""

from __future__ import annotations

import re
from functools import cache

import pytest
from brief import NAMES, brief
from defects import DEFECTS, Trouble

from candleactors.sim import FaultKind
from candleactors.simulation import Outcome, Plan, Scale, draw, run


def plans(trouble: Trouble, count: int) -> list[Plan]:
    return [brief(seed, trouble.value) for seed in range(1, count + 1)]


@cache
def sound(trouble: Trouble, seed: int) -> Outcome:
    return run(brief(seed, trouble.value))


@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_is_caught(name: str) -> None:
    defect = DEFECTS[name]
    for plan in plans(defect.trouble, defect.within):
        with defect.patch():
            outcome = run(plan)
        if not outcome.ok:
            first = str(outcome.breaches[0])
            assert re.search(defect.breach, first), first
            return
    pytest.fail(f"{defect.what} Nobody noticed in {defect.within} plans.")


@pytest.mark.parametrize("trouble", Trouble, ids=[each.name for each in Trouble])
def test_the_same_plans_without_a_defect_pass(trouble: Trouble) -> None:
    most = max(defect.within for defect in DEFECTS.values() if defect.trouble is trouble)
    for seed in range(1, most + 1):
        outcome = sound(trouble, seed)
        assert outcome.ok, f"seed {seed}: " + "; ".join(map(str, outcome.breaches[:3])) + outcome.failure
        assert outcome.converged_s


def test_a_defect_is_gone_with_its_context() -> None:
    plan = brief(1, Trouble.REST.value)
    before = sound(Trouble.REST, 1).digest
    for defect in DEFECTS.values():
        with defect.patch():
            pass
    assert run(plan).digest == before


def test_brief_plans_know_every_act() -> None:
    drawn = {act.name for seed in range(3) for act in draw(seed, Scale(days=1)).acts}
    assert drawn <= NAMES
    assert {kind.value for kind in FaultKind} <= NAMES
