"""Grids, names of intervals, and coverage."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from candleactors.klines.coverage import Coverage
from candleactors.klines.grid import Grid, contradiction, infer
from candleactors.model import DAY_MS, MINUTE_MS, Timeframe
from candleactors.testing import open_times, timeframes


@given(data=st.data(), timeframe=timeframes())
def test_a_grid_has_the_open_times_of_its_timeframe_and_no_others(data: st.DataObject, timeframe: Timeframe) -> None:
    first_ms = data.draw(open_times(timeframe))
    grid = Grid(timeframe, first_ms)
    opens = [first_ms]
    for _ in range(5):
        opens.append(timeframe.next_open(opens[-1]))
    assert all(map(grid.has, opens))
    assert [grid.close_ms(at) for at in opens] == [timeframe.close_ms(at) for at in opens]
    between = data.draw(st.integers(opens[0] + 1, opens[-1] - 1))
    assert grid.has(between) == (between in opens)


def test_days_in_a_row_keep_the_phase_of_the_first() -> None:
    for phase in range(3):
        grid = Grid(Timeframe("3d"), phase * DAY_MS)
        assert [grid.has(day * DAY_MS) for day in range(6)] == [day % 3 == phase for day in range(6)]
    assert not Grid(Timeframe("3d"), DAY_MS // 2).has(DAY_MS // 2)
    anchored = Grid(Timeframe("3d@2017-08-17"), DAY_MS)
    assert anchored.has(17_395 * DAY_MS)
    assert not anchored.has(17_396 * DAY_MS)


ONE_NAME_EACH = ("1s", "7s", "1m", "5m", "7m", "59m", "90m", "1h", "5h", "12h", "1d", "2d", "3d", "1w", "1M")
"""60m would be 1h, and 24h 1d."""


@given(data=st.data(), timeframe=st.sampled_from(ONE_NAME_EACH))
def test_the_timeframe_is_inferred_from_open_times_and_from_lengths(data: st.DataObject, timeframe: str) -> None:
    size = Timeframe(timeframe)
    opens = [data.draw(open_times(size))]
    for _ in range(data.draw(st.integers(1, 10))):
        opens.append(size.next_open(opens[-1]))
    whole = size.duration_ms is None or DAY_MS % size.duration_ms == 0 or size.duration_ms > DAY_MS
    lengths = [size.next_open(at) - at for at in opens]
    found = infer(opens, lengths)
    assert found == size or (not whole and found is None)
    if whole and len(opens) > 1:
        assert infer(opens, []) == size
        # An outage makes an interval short.
        assert infer(opens, [lengths[0] // 3, *lengths[1:]]) == size


def test_what_cannot_be_inferred() -> None:
    assert infer([0], []) is None
    assert infer([0, 60_000, 90_000], []) is not None
    assert infer([0, 60_000, 150_500], [60_000]) is None
    assert infer([0, 1], []) is None
    assert infer([0, 0], []) is None
    assert infer([0], [10**15]) is None


def test_steps_that_contradict_a_timeframe() -> None:
    minute = Timeframe("1m")
    assert contradiction(minute, [5 * MINUTE_MS * at for at in range(4)]) == "the rows are 5m apart, not 1m"
    assert contradiction(minute, [5 * MINUTE_MS * at for at in range(3)]) is None
    assert contradiction(minute, [5 * MINUTE_MS * at for at in (0, 1, 3, 4)]) is None
    assert contradiction(minute, [5 * MINUTE_MS * at for at in (0, 1, 3, 4, 5, 7, 8, 9, 11)]) is not None
    assert contradiction(minute, [MINUTE_MS * at for at in range(64)]) is None
    assert contradiction(Timeframe("1M"), [Timeframe("1M").floor(at * 31 * DAY_MS) for at in range(9)]) is None


@given(present=st.sets(st.integers(0, 40), min_size=1), data=st.data(), timeframe=timeframes())
def test_holes_are_what_is_not_covered(present: set[int], data: st.DataObject, timeframe: Timeframe) -> None:
    opens = [data.draw(open_times(timeframe))]
    for _ in range(41):
        opens.append(timeframe.next_open(opens[-1]))
    coverage = Coverage(timeframe)
    assert (coverage.span_ms(), coverage.holes()) == (None, [])
    # Files may come in any order and overlap.
    for part in data.draw(st.permutations([sorted(present), sorted(at for at in present if at % 3)])):
        for at in part:
            coverage.add(opens[at], opens[at + 1])
        if data.draw(st.booleans()):
            coverage.holes()
    assert coverage.span_ms() == (opens[min(present)], opens[max(present)])
    lacking = [at for at in range(min(present), max(present)) if at not in present]
    holes = coverage.holes()
    assert sum(count for _, _, count in holes) == len(lacking)
    for first_ms, last_ms, count in holes:
        assert opens.index(last_ms) - opens.index(first_ms) + 1 == count
        assert set(range(opens.index(first_ms), opens.index(last_ms) + 1)) <= set(lacking)
