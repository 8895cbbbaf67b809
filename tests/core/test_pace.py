"""The pace of writes: any number of rows, and never more of them than so many a second."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from candleactors.core.pace import Pace


def test_without_a_budget_nothing_waits() -> None:
    pace = Pace(None)
    for _ in range(3):
        assert pace.wait_s(5.0) == 0
        pace.note(5.0, 1_000_000)
    assert pace.most(1_000_000) == 1_000_000


def test_one_write_is_of_what_a_second_allows_and_of_one_row_at_least() -> None:
    assert Pace(100).most(5_000) == 100
    assert Pace(100).most(7) == 7
    assert Pace(0.1).most(7) == 1


def test_nothing_is_saved_up() -> None:
    pace = Pace(10)
    pace.note(0.0, 10)
    assert pace.wait_s(0.25) == 0.75
    pace.note(1_000.0, 10)
    assert pace.wait_s(1_000.0) == 1.0


@given(
    st.floats(0.5, 1e4),
    st.lists(st.tuples(st.integers(1, 10_000), st.floats(0, 100)), min_size=2, max_size=30),
)
def test_in_no_stretch_of_time_is_more_written_than_allowed(rows_per_s: float, writes: list[tuple[int, float]]) -> None:
    pace, now, begun = Pace(rows_per_s), 0.0, list[tuple[float, int]]()
    for wish, idle_s in writes:
        rows = pace.most(wish)
        now += idle_s
        now += pace.wait_s(now)
        pace.note(now, rows)
        begun.append((now, rows))
    for first in range(len(begun)):
        for last in range(first + 1, len(begun)):
            rows = sum(count for _, count in begun[first:last])
            assert rows <= (begun[last][0] - begun[first][0]) * rows_per_s + 1e-3 * rows_per_s
