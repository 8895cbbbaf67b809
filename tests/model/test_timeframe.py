from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from candleactors.errors import ConfigError, InvalidTimeframe
from candleactors.model import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, WEEK_MS, Timeframe

MINUTES = [Timeframe(f"{n}m") for n in range(2, 61)]
COMMON = [
    Timeframe(text)
    for text in (
        "1s",
        "7s",
        "1m",
        "7m",
        "59m",
        "1h",
        "5h",
        "7h",
        "12h",
        "1d",
        "3d",
        "10d",
        "25h",
        "1w",
        "2w",
        "1M",
        "5M",
    )
]


def ms(year: int, month: int = 1, day: int = 1, hour: int = 0, minute: int = 0) -> int:
    return int(datetime(year, month, day, hour, minute, tzinfo=UTC).timestamp()) * 1000


def utc(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms // 1000, tz=UTC)


ANCHORED = [
    Timeframe(text)
    for text in (
        "7m@epoch",
        "50m@epoch",
        "5h@epoch",
        "7m@+0800",
        "4h@+0530",
        "1d@+0800",
        "2d@-1200",
        "1w@+0800",
        "1M@+0800",
        "5M@-0330",
        "3d@2017-08-17",
        "1w@1970-01-04",
        "2w@2025-01-06",
    )
]

timeframes = st.one_of(
    st.sampled_from(COMMON + MINUTES + ANCHORED),
    st.builds(lambda n, unit: Timeframe(f"{n}{unit}"), st.integers(1, 4000), st.sampled_from("smhdw")),
    st.builds(lambda n: Timeframe(f"{n}M"), st.integers(1, 240)),
)
instants = st.integers(ms(1975), ms(2200))


class TestEveryTimeframe:
    @given(timeframes, instants)
    def test_an_interval_contains_what_floors_to_it(self, timeframe: Timeframe, at_ms: int) -> None:
        opened = timeframe.floor(at_ms)
        assert opened <= at_ms < timeframe.next_open(opened)
        assert timeframe.floor(opened) == opened
        assert timeframe.floor(timeframe.close_ms(opened)) == opened
        assert timeframe.close_ms(opened) == timeframe.next_open(opened) - 1

    @given(timeframes, instants)
    def test_next_and_previous_undo_each_other(self, timeframe: Timeframe, at_ms: int) -> None:
        opened = timeframe.floor(at_ms)
        assert timeframe.previous_open(timeframe.next_open(opened)) == opened
        assert timeframe.next_open(timeframe.previous_open(opened)) == opened
        assert timeframe.floor(timeframe.next_open(opened)) == timeframe.next_open(opened)
        assert timeframe.previous_open(opened) == timeframe.floor(opened - 1)

    @given(timeframes, instants, st.integers(0, 200))
    @example(Timeframe("7m"), ms(2024, 2, 28, 23), 150)
    def test_counting_agrees_with_walking(self, timeframe: Timeframe, at_ms: int, steps: int) -> None:
        first = timeframe.floor(at_ms)
        until = first
        walked = []
        for _ in range(steps):
            walked.append(until)
            until = timeframe.next_open(until)
        assert list(timeframe.opens(first, until)) == walked
        assert timeframe.count_between(first, until) == steps
        assert timeframe.count_between(until, first) == 0

    @given(timeframes, instants, st.integers(0, 200))
    @example(Timeframe("7m"), ms(2024, 2, 28, 23), 150)
    @example(Timeframe("1M"), ms(2024, 1, 31), 13)
    def test_advancing_is_walking(self, timeframe: Timeframe, at_ms: int, steps: int) -> None:
        first = walked = timeframe.floor(at_ms)
        for _ in range(steps):
            walked = timeframe.next_open(walked)
        assert timeframe.advance(first, steps) == walked
        assert timeframe.advance(first, 0) == first

    @given(timeframes, instants, st.integers(0, 400), st.integers(0, 10**9))
    def test_advancing_by_what_is_counted_comes_to_the_running_interval(
        self, timeframe: Timeframe, at_ms: int, steps: int, part: int
    ) -> None:
        first = timeframe.floor(at_ms)
        opened = timeframe.advance(first, steps)
        now_ms = opened + part % (timeframe.next_open(opened) - opened)
        assert timeframe.advance(first, timeframe.count_between(first, now_ms)) == opened

    @given(timeframes, instants)
    def test_no_interval_is_longer_than_its_size(self, timeframe: Timeframe, at_ms: int) -> None:
        opened = timeframe.floor(at_ms)
        length = timeframe.next_open(opened) - opened
        longest = timeframe.duration_ms if timeframe.duration_ms is not None else timeframe.count * 31 * DAY_MS
        assert 0 < length <= longest

    @given(timeframes)
    def test_equal_by_text_and_usable_as_key(self, timeframe: Timeframe) -> None:
        again = Timeframe(str(timeframe))
        assert again == timeframe
        assert {timeframe: 1}[again] == 1


class TestMinutes:
    @pytest.mark.parametrize("timeframe", MINUTES, ids=str)
    @pytest.mark.parametrize("day_ms", [ms(2024, 2, 29), ms(2023, 12, 31), ms(2026, 3, 29)])
    def test_every_day_starts_anew(self, timeframe: Timeframe, day_ms: int) -> None:
        size = timeframe.count
        expected = [day_ms + minute * MINUTE_MS for minute in range(0, 24 * 60, size)]
        assert list(timeframe.opens(day_ms, day_ms + DAY_MS)) == expected
        assert timeframe.next_open(expected[-1]) == day_ms + DAY_MS
        assert timeframe.previous_open(day_ms) == expected[-1] - DAY_MS
        for minute in range(24 * 60):
            assert timeframe.floor(day_ms + minute * MINUTE_MS + 59_999) == expected[minute // size]

    @pytest.mark.parametrize("timeframe", [t for t in MINUTES if 1440 % t.count], ids=str)
    def test_last_bar_of_a_day_is_shorter_where_the_size_does_not_divide_it(self, timeframe: Timeframe) -> None:
        midnight = ms(2026, 11, 21)
        last = timeframe.previous_open(midnight)
        assert midnight - last == 1440 % timeframe.count * MINUTE_MS
        assert timeframe.close_ms(last) == midnight - 1

    def test_seven_minutes(self) -> None:
        assert Timeframe("7m").floor(ms(2026, 11, 20, 23, 59)) == ms(2026, 11, 20, 23, 55)
        assert Timeframe("7m").next_open(ms(2026, 11, 20, 23, 55)) == ms(2026, 11, 21)

    def test_counting_years_is_no_walk(self) -> None:
        assert Timeframe("7s").count_between(ms(1970), ms(2500)) == (ms(2500) - ms(1970)) // DAY_MS * 12_343


class TestLongerThanADay:
    def test_weeks_start_on_monday(self) -> None:
        week = Timeframe("1w")
        assert week.floor(ms(2024, 6, 12, 13)) == ms(2024, 6, 10)
        assert week.floor(ms(2024, 6, 10)) == ms(2024, 6, 10)
        assert week.floor(ms(2024, 6, 10) - 1) == ms(2024, 6, 3)
        assert week.close_ms(ms(2024, 6, 10)) == 1718582399999

    @given(st.integers(1, 30), instants)
    def test_any_number_of_weeks_starts_on_monday(self, count: int, at_ms: int) -> None:
        assert utc(Timeframe(f"{count}w").floor(at_ms)).weekday() == 0

    def test_months_are_calendar_months(self) -> None:
        month = Timeframe("1M")
        assert month.floor(ms(2024, 2, 29, 23, 59)) == ms(2024, 2)
        assert month.next_open(ms(2024, 2)) - ms(2024, 2) == 29 * DAY_MS
        assert month.next_open(ms(2100, 2)) - ms(2100, 2) == 28 * DAY_MS
        assert month.previous_open(ms(2024, 1)) == ms(2023, 12)
        assert month.count_between(ms(2023, 11), ms(2024, 3)) == 4

    @given(st.integers(1, 120), instants)
    def test_any_number_of_months_starts_on_the_first(self, count: int, at_ms: int) -> None:
        opened = utc(Timeframe(f"{count}M").floor(at_ms))
        assert (opened.day, opened.hour, opened.minute, opened.second) == (1, 0, 0, 0)
        assert ((opened.year - 1970) * 12 + opened.month - 1) % count == 0

    def test_quarters_and_years(self) -> None:
        assert Timeframe("3M").floor(ms(2024, 6, 30)) == ms(2024, 4)
        assert Timeframe("12M").floor(ms(2024, 6, 30)) == ms(2024)

    @given(st.integers(0, 2), st.integers(0, 500))
    def test_a_venue_may_use_another_phase(self, phase: int, steps: int) -> None:
        three_days = Timeframe("3d")
        first = ms(2020) - ms(2020) % (3 * DAY_MS) + phase * DAY_MS
        until = first + steps * 3 * DAY_MS
        assert three_days.next_open(first) == first + 3 * DAY_MS
        assert three_days.previous_open(first) == first - 3 * DAY_MS
        assert three_days.count_between(first, until) == steps == len(list(three_days.opens(first, until)))

    def test_before_the_epoch(self) -> None:
        before = -1
        assert Timeframe("1d").floor(before) == -DAY_MS
        assert Timeframe("7m").floor(before) == -5 * MINUTE_MS
        assert Timeframe("1M").floor(before) == ms(1969, 12)
        assert Timeframe("1w").floor(before) == utc_ms(datetime(1969, 12, 29, tzinfo=UTC))


def utc_ms(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


class TestText:
    @pytest.mark.parametrize(
        ("text", "duration_ms"),
        [("1s", SECOND_MS), ("90s", 90 * SECOND_MS), ("4h", 4 * HOUR_MS), ("3d", 3 * DAY_MS), ("2w", 2 * WEEK_MS)],
    )
    def test_duration(self, text: str, duration_ms: int) -> None:
        assert Timeframe(text).duration_ms == Timeframe(text).nominal_ms == duration_ms

    def test_a_month_has_no_duration(self) -> None:
        assert Timeframe("2M").duration_ms is None
        assert Timeframe("2M").nominal_ms == 60 * DAY_MS

    def test_minutes_are_not_months(self) -> None:
        assert Timeframe("1m") != Timeframe("1M")

    @pytest.mark.parametrize(
        ("text", "nearest"),
        [
            ("1H", "1h"),
            ("5min", "5m"),
            ("5 minutes", "5m"),
            ("m", "1m"),
            (" 15m ", "15m"),
            ("015m", "15m"),
            ("1D", "1d"),
            ("1mo", "1M"),
            ("3 Months", "3M"),
            ("4hrs", "4h"),
            ("1W", "1w"),
            ("1S", "1s"),
        ],
    )
    def test_near_misses_are_told(self, text: str, nearest: str) -> None:
        with pytest.raises(InvalidTimeframe) as caught:
            Timeframe(text)
        assert caught.value.nearest == nearest
        assert str(caught.value) == f'"{text}" is not a timeframe; did you mean "{nearest}"?'
        assert Timeframe(nearest).text == nearest

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "0m",
            "-1m",
            "1",
            "1y",
            "1.5m",
            "1e3s",
            "m1",
            "1m\n",
            "１m",
            "1 000m",
            "9999999m",
            "5000 months",
            "9" * 5000 + "m",
        ],
    )
    def test_nonsense_has_no_near_miss(self, text: str) -> None:
        with pytest.raises(InvalidTimeframe):
            Timeframe(text)

    def test_an_invalid_timeframe_is_a_configuration_error_and_a_value_error(self) -> None:
        assert issubclass(InvalidTimeframe, ConfigError)
        assert issubclass(InvalidTimeframe, ValueError)

    @pytest.mark.parametrize("value", [None, 60, b"1m", ["1m"]])
    def test_not_even_text(self, value: object) -> None:
        with pytest.raises(InvalidTimeframe):
            Timeframe(value)  # type: ignore[arg-type]  # what a configuration file may hold

    @given(st.text(max_size=20))
    def test_any_text_is_a_timeframe_or_refused(self, text: str) -> None:
        try:
            timeframe = Timeframe(text)
        except InvalidTimeframe as error:
            timeframe = Timeframe(error.nearest or "1m")
        else:
            assert str(timeframe) == text
        assert timeframe.next_open(timeframe.floor(ms(2026))) > ms(2026)

    def test_the_longest_of_each_unit_still_works(self) -> None:
        for text in ("999999s", "999999m", "999999h", "999999d", "999999w", "1200M"):
            opened = Timeframe(text).floor(ms(2026))
            assert opened <= ms(2026) < Timeframe(text).next_open(opened)
        with pytest.raises(InvalidTimeframe, match="longer than a century"):
            Timeframe("1201M")


class TestAnchors:
    def test_epoch_never_starts_anew(self) -> None:
        size = Timeframe("7m@epoch")
        midnight = ms(2026, 11, 21)
        assert size.floor(midnight) % (7 * MINUTE_MS) == 0
        assert size.floor(midnight) != midnight
        assert {size.next_open(at) - at for at in size.opens(size.floor(midnight), midnight + DAY_MS)} == {
            7 * MINUTE_MS
        }

    def test_an_offset_moves_midnight(self) -> None:
        assert Timeframe("1d@+0800").floor(ms(2026, 11, 21, 15, 59)) == ms(2026, 11, 20, 16)
        assert Timeframe("1d@+0800").floor(ms(2026, 11, 21, 16)) == ms(2026, 11, 21, 16)
        assert Timeframe("1M@+0800").floor(ms(2026, 11, 30, 16)) == ms(2026, 11, 30, 16)
        assert Timeframe("1M@+0800").next_open(ms(2026, 1, 31, 16)) == ms(2026, 2, 28, 16)
        assert Timeframe("1w@+0800").floor(ms(2026, 11, 21)) == ms(2026, 11, 15, 16)  # Sunday, Monday in the east

    def test_a_date_is_a_boundary(self) -> None:
        listing = Timeframe("3d@2017-08-17")
        assert listing.floor(ms(2017, 8, 17)) == ms(2017, 8, 17)
        assert listing.floor(ms(2017, 8, 16)) == ms(2017, 8, 14)
        assert (listing.floor(ms(2026)) - ms(2017, 8, 17)) % (3 * DAY_MS) == 0
        assert utc(Timeframe("1w@1970-01-04").floor(ms(2026, 11, 21))).strftime("%A") == "Sunday"

    @pytest.mark.parametrize(
        ("written", "kept"),
        [
            ("5m@epoch", "5m"),
            ("1d@epoch", "1d"),
            ("1w@epoch", "1w"),
            ("1h@+0800", "1h"),
            ("1h@+08:00", "1h"),
            ("12h@+08:00", "12h@+0800"),
            ("1d@+0000", "1d"),
            ("1h@+0530", "1h@+0530"),
            ("3d@1970-01-01", "3d@1970-01-01"),
        ],
    )
    def test_an_anchor_that_changes_nothing_is_dropped(self, written: str, kept: str) -> None:
        assert str(Timeframe(written)) == kept
        assert Timeframe(written) == Timeframe(kept)

    @pytest.mark.parametrize("text", ["7m@", "7m@noon", "7m@+1500", "1M@2020-01-01", "4h@2020-01-01", "3d@2020-02-30"])
    def test_other_anchors_are_refused(self, text: str) -> None:
        with pytest.raises(InvalidTimeframe):
            Timeframe(text)

    def test_change_of_anchor(self) -> None:
        assert str(Timeframe("7m").anchored("epoch")) == "7m@epoch"
        assert str(Timeframe("7m@epoch").anchored("day")) == "7m"
        assert Timeframe("5m").anchored("epoch") == Timeframe("5m")


class TestExpand:
    def test_ranges_and_lists(self) -> None:
        assert Timeframe.expand("2m..60m") == tuple(MINUTES)
        assert Timeframe.expand("1m, 3m..4m,1d") == tuple(Timeframe(text) for text in ("1m", "3m", "4m", "1d"))
        assert Timeframe.expand("7m..8m@epoch") == (Timeframe("7m@epoch"), Timeframe("8m@epoch"))

    @pytest.mark.parametrize("text", ["", "60m..2m", "0m..5m", "2m..60h", "2m...5m", "1m..99999m"])
    def test_nonsense_is_refused(self, text: str) -> None:
        with pytest.raises(InvalidTimeframe):
            Timeframe.expand(text)


class TestTiles:
    @given(timeframes, timeframes, instants)
    @example(Timeframe("7m"), Timeframe("49m"), ms(2026))
    @example(Timeframe("7m"), Timeframe("1d"), ms(2026))
    @example(Timeframe("1h"), Timeframe("1M"), ms(2026))
    @example(Timeframe("1d"), Timeframe("1w"), ms(2026))
    def test_a_tiling_size_has_every_boundary(self, small: Timeframe, large: Timeframe, at_ms: int) -> None:
        boundary = large.floor(at_ms)
        following = large.next_open(boundary)
        if small.tiles(large):
            assert small.floor(boundary) == boundary
            assert small.floor(following) == following

    @pytest.mark.parametrize("large", [*MINUTES, *COMMON, *ANCHORED], ids=str)
    def test_seconds_tile_everything(self, large: Timeframe) -> None:
        assert Timeframe("1s").tiles(large)
        assert large.tiles(large)

    @pytest.mark.parametrize(
        ("small", "large"),
        [("2m", "7m"), ("7m", "14m@epoch"), ("7m@epoch", "1d"), ("1d", "1d@+0800"), ("1M", "1w"), ("1d", "12h")],
    )
    def test_what_does_not_fit(self, small: str, large: str) -> None:
        assert not Timeframe(small).tiles(Timeframe(large))
