"""Whatever small trouble Hypothesis thinks of, the feed comes through it."""

from __future__ import annotations

import pytest
from hypothesis import find, given, settings

from candleactors.simulation import Plan, run
from candleactors.simulation.judge import Judge
from candleactors.testing import SimulationFailed, plans, simulate


@given(plans())
@settings(max_examples=25)
def test_small_trouble_is_survived(plan: Plan) -> None:
    outcome = run(plan)
    outcome.check()
    assert outcome.candles > 0


@pytest.mark.parametrize("least", [0, 1])
def test_plans_shrink_to_few_acts(least: int) -> None:
    plan = find(plans(), lambda plan: len(plan.acts) >= least, settings=settings(max_examples=50))
    assert len(plan.acts) == least


def test_a_seed_is_simulated_in_part() -> None:
    first = simulate(29, streams=1, acts=(3, 1, 2))
    first.check()
    assert first.seconds == 9600
    assert 0 < len(first.lines) <= 60
    assert first.replay == "python -m candleactors.simulation --seeds 29 --streams 1 --acts 1-3 --timeline"


def test_a_failure_says_what_was_wrong_and_how_to_see_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def complain(judge: Judge, *_: object) -> None:
        judge._breach("binance-usdm:S00USDT:1m 1709164800000 is not liked")

    monkeypatch.setattr(Judge, "_check_flags", complain)
    outcome = simulate(5, streams=2, acts=(), faults_per_hour=100)
    with pytest.raises(SimulationFailed) as caught:
        outcome.check()
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("seed 5 failed after 00:0")
    assert "S00USDT:1m 2024-02-29T00:00Z is not liked" in lines[1]
    assert "how it came about:" in lines
    assert lines[-1].startswith("replay: python -m candleactors.simulation --seeds 5 --streams 2 --faults-per-hour 100")
