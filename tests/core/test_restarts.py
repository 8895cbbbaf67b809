from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from candleactors.core.restarts import RestartWindow


def test_one_more_than_allowed_is_refused_until_the_window_has_moved_on() -> None:
    window = RestartWindow(2, 10)
    assert [window.allow(t) for t in (0, 1, 2)] == [True, True, False]
    assert window.allow(11.5)
    assert not window.allow(11.9)


def test_none_allowed() -> None:
    assert not RestartWindow(0, 10).allow(0)


@given(st.integers(0, 5), st.floats(0.5, 20), st.lists(st.floats(0, 10), max_size=40))
def test_agrees_with_counting(limit: int, window_s: float, steps: list[float]) -> None:
    window = RestartWindow(limit, window_s)
    now, times = 0.0, []
    for step in steps:
        now += step
        times.append(now)
        assert window.allow(now) == (sum(t > now - window_s for t in times) <= limit)
