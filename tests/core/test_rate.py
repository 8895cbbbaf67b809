"""Rate windows: no window ever holds more than the limit, and nobody waits longer than that takes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candleactors.core.rate import RateWindow

LIMIT = 10
steps = st.lists(st.tuples(st.floats(0, 30, allow_nan=False), st.integers(1, LIMIT)), max_size=60)


def spend(window: RateWindow, now: float, cost: int) -> float:
    """Wait as long as told, as often as told, spend, and return when."""
    for _ in range(5):
        wait_s = window.wait_s(now, cost)
        if wait_s == 0:
            window.take(now, cost)
            return now
        now += wait_s
    raise AssertionError("told to wait again and again")


def heaviest(spent: list[tuple[float, int]], window_s: float) -> int:
    return max((sum(cost for at, cost in spent if start <= at < start + window_s) for start, _ in spent), default=0)


@given(steps, st.floats(0.1, 60))
def test_no_stretch_of_time_holds_more_than_the_limit(steps: list[tuple[float, int]], window_s: float) -> None:
    window, now, spent = RateWindow(LIMIT, window_s), 1000.0, []
    for pause_s, cost in steps:
        now = spend(window, now + pause_s, cost)
        spent.append((now, cost))
    assert heaviest(spent, window_s) <= LIMIT


@given(steps)
def test_waits_no_longer_than_needed(steps: list[tuple[float, int]]) -> None:
    window, now = RateWindow(LIMIT, 8.0), 0.0
    for pause_s, cost in steps:
        now += round(pause_s)
        wait_s = window.wait_s(now, cost)
        if wait_s:
            with pytest.raises(ValueError, match="does not fit now"):
                window.take(now + wait_s - 1, cost)
        now = spend(window, now, cost)


@given(steps, st.lists(st.integers(0, 3 * LIMIT), min_size=60, max_size=60))
def test_never_less_careful_than_the_other_sides_count(steps: list[tuple[float, int]], counts: list[int]) -> None:
    window, now = RateWindow(LIMIT, 60.0), 0.0
    for (pause_s, cost), count in zip(steps, counts, strict=False):
        now = spend(window, now + pause_s, cost)
        before = window.used(now)
        window.observe(now, count)
        assert window.used(now) == max(before, count)
        if count + cost > LIMIT:
            assert window.wait_s(now, cost) > 0


def test_a_block_holds_and_a_shorter_one_does_not_end_it() -> None:
    window = RateWindow(LIMIT, 1.0)
    window.block_until(50.0)
    window.block_until(20.0)
    assert window.wait_s(0.0) == 50.0
    assert window.blocked_s(30.0) == 20.0
    assert window.wait_s(50.0) == 0.0


def test_a_clock_that_stands_still_or_runs_back_frees_nothing() -> None:
    window = RateWindow(1, 10.0)
    window.take(100.0)
    assert window.wait_s(95.0) == 15.0
    assert window.wait_s(110.0) == 0.0


def test_noted_costs_count_even_beyond_the_limit() -> None:
    window = RateWindow(2, 10.0)
    window.note(0.0, 5)
    assert window.used(0.0) == 5
    assert window.wait_s(1.0) == 9.0


def test_refuses_what_never_fits() -> None:
    with pytest.raises(ValueError, match="never fits"):
        RateWindow(2, 1.0).wait_s(0.0, 3)
    with pytest.raises(ValueError, match="no rate"):
        RateWindow(0, 1.0)
