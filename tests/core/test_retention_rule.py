"""What is kept: the last days, and whatever something may still be made from."""

from __future__ import annotations

from collections.abc import Collection
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from candleactors.core.retention import cut_ms
from candleactors.model import DAY_MS, HOUR_MS, MINUTE_MS, Candle, Source, Timeframe
from candleactors.settings import AggregationSettings, RetentionSettings, Settings

M1, H1, D1, MONTH = map(Timeframe, ("1m", "1h", "1d", "1M"))
NOON_MS = 1_782_907_200_000  # 2026-07-01T12:00Z


def cut(
    last: Candle,
    now_ms: int,
    days: float,
    *,
    history: int = 1,
    derived: Collection[Timeframe] = (),
    minutes: int = 60,
) -> int:
    settings = Settings(
        retention=RetentionSettings({last.timeframe: days}),
        aggregation=AggregationSettings(warm_start_minutes=0, catch_up_minutes=minutes, memory_minutes=1),
    )
    return cut_ms(settings, last, now_ms, history=history, derived=derived)


def newest(opens_ms: int, timeframe: Timeframe = M1) -> Candle:
    price = Decimal(1)
    times = opens_ms, timeframe.close_ms(opens_ms)
    values: list[Any] = [*[price] * 5, None, None, None, None, True, True, Source.WS, 0, 0]
    return Candle("v", "S", timeframe, *times, *values)


def test_the_candle_that_was_forming_then_is_the_oldest_one_kept() -> None:
    assert cut(newest(NOON_MS - HOUR_MS, H1), NOON_MS, 2) == NOON_MS - 49 * HOUR_MS
    assert cut(newest(NOON_MS), NOON_MS + 59_000, 0.5) == NOON_MS - 12 * HOUR_MS
    july = NOON_MS - 12 * HOUR_MS
    may = MONTH.previous_open(MONTH.previous_open(july))
    assert cut(newest(july, MONTH), NOON_MS, 45) == may


def test_a_clock_that_is_ahead_or_behind_deletes_no_more() -> None:
    last = newest(NOON_MS)
    for now_ms in (NOON_MS + MINUTE_MS, NOON_MS + 10 * 365 * DAY_MS):
        assert cut(last, now_ms, 7) == NOON_MS - 7 * DAY_MS
    assert cut(last, NOON_MS - 30 * DAY_MS, 7) == NOON_MS - 37 * DAY_MS


def test_the_newest_candles_are_kept_whatever_their_age() -> None:
    assert cut(newest(NOON_MS - 12 * HOUR_MS, D1), NOON_MS, 0.01, history=5) == NOON_MS - 4.5 * DAY_MS
    assert cut(newest(NOON_MS), NOON_MS, 0.00001, history=0) == NOON_MS - MINUTE_MS


def test_of_what_is_made_from_others_none_is_kept_beyond_its_days() -> None:
    last = newest(NOON_MS - HOUR_MS, H1).replace(source=Source.DERIVED)
    assert cut(last, NOON_MS, 0.5, history=200) == NOON_MS - 13 * HOUR_MS


def test_a_month_that_is_being_made_keeps_its_minutes_and_those_of_the_month_before() -> None:
    june = MONTH.previous_open(MONTH.floor(NOON_MS))
    assert cut(newest(NOON_MS), NOON_MS, 7, derived=[H1, MONTH]) == june
    assert cut(newest(NOON_MS), NOON_MS, 7, derived=[H1, D1]) == NOON_MS - 7 * DAY_MS


TIMEFRAMES = ("2m", "7m", "59m", "7m@epoch", "1h", "1d@+0800", "1w", "1M")


@given(
    st.integers(0, 2**42),
    st.floats(0.001, 5_000),
    st.integers(0, 3_000),
    st.lists(st.sampled_from(TIMEFRAMES).map(Timeframe), max_size=4),
    st.integers(0, 20_000),
    st.integers(-(2**41), 2**41),
)
def test_nothing_that_is_needed_is_older(
    at_ms: int, days: float, history: int, derived: list[Timeframe], minutes: int, ahead_ms: int
) -> None:
    last = newest(M1.floor(at_ms))
    kept_ms = cut(last, at_ms + ahead_ms, days, history=history, derived=derived, minutes=minutes)
    assert kept_ms == M1.floor(kept_ms)
    assert kept_ms <= last.open_time_ms - (max(history, 1) - 1) * MINUTE_MS
    assert kept_ms <= last.open_time_ms - days * DAY_MS + 1
    for timeframe in derived:
        current = timeframe.floor(last.open_time_ms)
        assert kept_ms <= timeframe.previous_open(current)
        assert kept_ms <= timeframe.floor(last.next_open_time_ms - minutes * MINUTE_MS)
