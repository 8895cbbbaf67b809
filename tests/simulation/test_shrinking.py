"""Shrinking: what is left is what a failure needs, no more and no less."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from candleactors.errors import StoreUnavailable
from candleactors.model import Candle, Gap
from candleactors.sim import Fault, FaultKind
from candleactors.simulation import Breach, Outcome, Plan, Scale, draw, run
from candleactors.simulation.acts import Act, Stall, StoreTrouble, Strike
from candleactors.simulation.disk import ProcessStore
from candleactors.simulation.plan import CYCLE_S
from candleactors.simulation.shrink import kind_of, shrink

Run = Callable[[Plan], Outcome]


@cache
def whole(cycles: int) -> Plan:
    return draw(7, Scale(days=cycles * CYCLE_S / 86_400, streams=2, faults_per_hour=60))


def in_utc(plan: Plan, act: Act) -> int:
    """Return when an act happens, which is the same in every part of a plan."""
    return plan.start_ms + round(act.at_s * 1000)


def failing(needed: set[int], at_s: float, problem: str = "candle a-b:X:1m 17 is wrong") -> Run:
    """Return a run that fails, at a time or earlier, if and only if all `needed` acts happen before, by their times."""

    def fails(plan: Plan) -> Outcome:
        there = {in_utc(plan, act) for act in plan.acts}
        breach = Breach(at_s - (plan.start_ms - whole(1).start_ms) / 1000, "reader-1", problem, 5)
        return Outcome(plan.seed, [breach] if needed <= there else [])

    return fails


@given(st.data(), st.integers(1, 3))
@settings(max_examples=60)
def test_what_is_needed_is_found_exactly(data: st.DataObject, cycles: int) -> None:
    plan = whole(cycles)
    numbers = range(1, len(plan.acts) + 1)
    needed = data.draw(st.sets(st.sampled_from(numbers), max_size=6))
    last_s = max((plan.acts[number - 1].at_s for number in needed), default=0.0)
    fails = failing({in_utc(plan, plan.acts[number - 1]) for number in needed}, last_s + 1)
    left = shrink(plan, fails(plan), fails, most_runs=5_000)
    assert set(left.acts) == needed
    assert not left.outcome.ok
    felt = {int(plan.acts[number - 1].at_s // CYCLE_S) for number in needed} | {int(last_s // CYCLE_S)}
    first, last = min(felt), max(felt)
    assert left.cycles == (first if last - first < 2 else 0, last + 1)


def test_it_ends_when_nothing_more_may_be_run() -> None:
    plan, runs = whole(1), []
    fails = failing({in_utc(plan, act) for act in plan.acts}, 9_000)

    def counted(part: Plan) -> Outcome:
        runs.append(part)
        return fails(part)

    left = shrink(plan, fails(plan), counted, most_runs=3)
    assert len(runs) == left.runs == 3


def test_another_failure_does_not_count() -> None:
    plan = whole(1)
    original = failing(set(), 9_000)(plan)

    def otherwise(part: Plan) -> Outcome:
        return failing(set(), 10, "something else is wrong")(part)

    assert len(shrink(plan, original, otherwise).acts) == len(plan.acts)


def test_digits_and_streams_make_no_kind() -> None:
    def kind(problem: str) -> str:
        return kind_of(Breach(1.0, "reader-0", problem, 1))

    one = kind("binance-spot:S01USDT:1m 1709164800000 is told as 1.5 0E-7 12, is 2 3 4")
    assert one == kind("binance-usdm:S11USDT:7m@epoch 1709164860000 is told as 7 12, is -2.00 3 9")
    assert one != kind("binance-spot:S01USDT:1m 1709164800000 is told as 1.5, is nothing")
    assert one != kind_of(Breach(1.0, "reader-1", "binance-spot:S01USDT:1m 17 is told as 1.5, is 2", 1))


def test_what_did_not_fail_is_not_shrunk() -> None:
    with pytest.raises(ValueError, match="seed 7 did not fail"):
        shrink(whole(1), Outcome(7))


def test_a_swallowed_error_comes_down_to_the_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    write = ProcessStore.write

    async def swallow(
        store: ProcessStore, candles: Sequence[Candle], gaps: Sequence[Gap], *, repaired_ms: int | None = None
    ) -> None:
        with suppress(StoreUnavailable):
            await write(store, candles, gaps, repaired_ms=repaired_ms)

    monkeypatch.setattr(ProcessStore, "write", swallow)
    usual = draw(7, Scale(streams=1, faults_per_hour=0))
    venue = next(iter(usual.settings.venues))
    acts = (
        Strike(40, venue, Fault(FaultKind.DROP)),
        StoreTrouble(70, 5, "slow"),
        Strike(90, venue, Fault(FaultKind.DUPLICATE, duration_s=20)),
        StoreTrouble(140, 15, "full"),
        Stall(160, 3),
        Strike(200, venue, Fault(FaultKind.RESET)),
    )
    plan = evolve(usual, acts=acts, troubles=((15.0, 300.0),), peace_s=120.0)
    outcome = run(plan)
    assert "is not stored" in outcome.breaches[0].problem
    left = shrink(plan, outcome)
    assert left.acts == (4,)
    assert left.plan.acts == (acts[3],)
    assert left.runs < 20
    monkeypatch.undo()
    assert run(plan).ok
