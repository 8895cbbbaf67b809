"""Cascades: what derives from what, and which intervals end when, against plain interval arithmetic."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candleactors.core.cascade import Cascade, Level, cascade
from candleactors.errors import InvalidTimeframe
from candleactors.model import DAY_MS, MINUTE_MS, Timeframe
from candleactors.testing import timeframes

LEAP_DAY_MS = 1_709_164_800_000  # 2024-02-29
ODD = ["7m", "7m@epoch", "1d@+0800", "3d@2017-08-17", "1w", "1M", "90m", "1h@+0530", "60s", "5M", "13h", "25h", "2w"]


def chosen(source: str) -> st.SearchStrategy[list[Timeframe]]:
    return st.lists(timeframes(tiled_by=source), min_size=1, max_size=6, unique=True)


sources = st.sampled_from(["1m", "1s", "1h", "1d"])
cascades = sources.flatmap(lambda source: st.builds(Cascade, st.just(Timeframe(source)), chosen(source)))


@given(cascades)
def test_every_timeframe_is_made_once_from_something_it_is_made_of(made: Cascade) -> None:
    numbers = [number for level in made.levels for number, _ in level.targets if number >= 0]
    assert sorted(numbers) == list(range(len(made.timeframes)))
    for level in made.levels:
        assert level.targets, "a level that feeds nothing"
        for number, target in level.targets:
            assert level.size.tiles(target)
            assert number < 0 or target == made.timeframes[number]
    for finer, coarser in pairwise(made.levels):
        assert (-1, coarser.size) in finer.targets
    assert made.levels[0].size == made.source
    assert all(number >= 0 for number, _ in made.levels[-1].targets)


@given(cascades, st.data())
def test_what_ends_at_an_instant(made: Cascade, data: st.DataObject) -> None:
    """Where the longest have an end too."""
    for level in made.levels:
        for end_ms in data.draw(ends(level)):
            due = level.due(end_ms)
            expected = set()
            for number, target in level.targets:
                open_ms = target.floor(end_ms - 1)
                if target.next_open(open_ms) == end_ms:
                    rows, steps = (count(size, open_ms, end_ms) for size in (level.size, made.source))
                    expected.add((number, target, end_ms - open_ms, rows, steps))
            assert set(due) == expected
            assert len(due) == len(expected)
            assert [rows for _, _, _, rows, _ in due] == sorted(rows for _, _, _, rows, _ in due)
            assert all(rows <= level.rows for _, _, _, rows, _ in due)


def ends(level: Level) -> st.SearchStrategy[list[int]]:
    """Return a strategy for ends of rows of a level, of those among them that end much."""

    def end_ms(drawn: tuple[int, Timeframe, int]) -> int:
        at_ms, target, back = drawn
        end = target.floor(at_ms)
        for _ in range(back):
            end = level.size.previous_open(end)
        return end

    around = st.integers(LEAP_DAY_MS - 40 * DAY_MS, LEAP_DAY_MS + 40 * DAY_MS)
    targets = st.sampled_from([target for _, target in level.targets])
    return st.lists(st.tuples(around, targets, st.integers(0, 2)).map(end_ms), min_size=1, max_size=4)


def count(size: Timeframe, first_ms: int, until_ms: int) -> int:
    """Count the slow way, if that is not too slow."""
    if until_ms - first_ms > 500 * size.nominal_ms:
        return size.count_between(first_ms, until_ms)
    return len(list(size.opens(first_ms, until_ms)))


@pytest.mark.parametrize("frame", ODD)
def test_odd_ones(frame: str) -> None:
    made = Cascade(Timeframe("1m"), [Timeframe(frame)])
    target = made.timeframes[0]
    level = next(level for level in made.levels if (0, target) in level.targets)
    end_ms = target.floor(LEAP_DAY_MS)
    [due] = [due for due in level.due(end_ms) if due[0] == 0]
    assert due[2] == end_ms - target.previous_open(end_ms)
    assert due[4] == due[2] // MINUTE_MS


def test_a_month_is_made_of_days_and_a_day_of_hours() -> None:
    made = Cascade(Timeframe("1m"), [Timeframe("1M"), Timeframe("1d"), Timeframe("7m"), Timeframe("3d@2017-08-17")])
    assert [str(level.size) for level in made.levels] == ["1m", "1h", "1d"]
    assert [[number for number, _ in level.targets] for level in made.levels] == [[2, -1], [1, -1], [3, 0]]
    assert [level.rows for level in made.levels] == [60, 24, 31]


def test_nothing_coarser_than_is_needed() -> None:
    assert [str(level.size) for level in Cascade(Timeframe("1m"), [Timeframe("1h")]).levels] == ["1m"]
    assert [str(level.size) for level in Cascade(Timeframe("1m"), [Timeframe("90m")]).levels] == ["1m"]
    assert [str(level.size) for level in Cascade(Timeframe("1s"), [Timeframe("2m")]).levels] == ["1s", "1m"]


@pytest.mark.parametrize(
    ("source", "frame"), [("1m", "1m"), ("1m", "90s"), ("5m", "7m"), ("1d", "1d@+0800"), ("1w", "1M")]
)
def test_what_is_not_made_of_whole_ones_is_refused(source: str, frame: str) -> None:
    with pytest.raises(InvalidTimeframe, match="cannot be made of"):
        Cascade(Timeframe(source), [Timeframe(frame)])


def test_one_for_all_who_ask() -> None:
    assert cascade(Timeframe("1m"), (Timeframe("7m"),)) is cascade(Timeframe("1m"), (Timeframe("7m"),))
