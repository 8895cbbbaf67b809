"""Bulk history in columns: the same candles as the slow reference makes, to the last digit."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from candleactors import resample
from candleactors.errors import InvalidTimeframe, UnorderedCandles
from candleactors.klines import read_klines
from candleactors.model import DAY_MS, MINUTE_MS, Candle, Source, Timeframe
from candleactors.testing import candle_runs, final_candles, gappy_runs, open_times, reference_resample, timeframes
from recorded import recorded

np = pytest.importorskip("numpy", reason='numpy is not installed; the extra "columnar" brings it')

if TYPE_CHECKING:
    from candleactors.columnar import CandleTable, Column
    from candleactors.columnar.grid import Grid
else:
    from candleactors.columnar import CandleTable, Column
    from candleactors.columnar.grid import Grid

START_MS = 1_709_164_800_000  # 2024-02-29
MINUTE = Timeframe("1m")
SOURCES = {
    "1m": "3h",
    "1s": "3m",
    "7m": "6h",
    "7m@epoch": "6h",
    "5m": "6h",
    "50m": "2d",
    "1h": "2d",
    "1h@+0530": "2d",
    "4h": "1w",
    "1d": "1M",
    "1d@+0800": "1M",
    "1w": "8w",
    "1M": "24M",
}
"""Timeframes to derive from, and what is so long that a run has only a few of them."""
often = settings(max_examples=60)


def a_candle(minute: int, **changes: object) -> Candle:
    """Return the closed 1m candle `minute` minutes after the start."""
    open_ms = START_MS + minute * MINUTE_MS
    return Candle(
        venue="binance-spot",
        symbol="BTCUSDT",
        timeframe=MINUTE,
        open_time_ms=open_ms,
        close_time_ms=open_ms + MINUTE_MS - 1,
        open=Decimal("10.5"),
        high=Decimal("11.25"),
        low=Decimal(10),
        close=Decimal(11),
        volume=Decimal("0.00000001"),
        quote_volume=Decimal("1E-7"),
        trades=3,
        taker_buy_volume=Decimal("0.5"),
        taker_buy_quote_volume=Decimal(2),
        closed=True,
        complete=True,
        source=Source.REST,
        revision=0,
        received_ms=open_ms + 60_123,
    ).replace(**changes)


def targets(source: Timeframe) -> st.SearchStrategy[Timeframe]:
    """Return a strategy for what is made of `source`, mostly short enough to have several in a run."""
    few = timeframes(tiled_by=source, longest=SOURCES[str(source)])
    return few | few | timeframes(tiled_by=source)


def one_by_one(candles: Iterable[Candle], wanted: str) -> dict[Timeframe, list[Candle]]:
    """Return what the incremental path makes."""
    made: dict[Timeframe, list[Candle]] = defaultdict(list)
    for candle in resample(candles, wanted):
        made[candle.timeframe].append(candle)
    return made


# -- the same as the reference --------------------------------------------------------------------------------------


@often
@given(st.data())
def test_a_table_makes_what_the_reference_makes(data: st.DataObject) -> None:
    source = Timeframe(data.draw(st.sampled_from(list(SOURCES))))
    candles = final_candles(data.draw(gappy_runs(source, max_size=150)))
    wanted = data.draw(st.lists(targets(source), min_size=1, max_size=5, unique=True))
    made = CandleTable.of(candles).resample_all(wanted)
    assert list(made) == wanted
    for timeframe, table in made.items():
        assert table.candles() == reference_resample(candles, timeframe)


@often
@given(st.data())
def test_a_table_of_a_derived_table_is_that_of_the_source(data: st.DataObject) -> None:
    source = Timeframe(data.draw(st.sampled_from(list(SOURCES))))
    table = CandleTable.of(final_candles(data.draw(gappy_runs(source, max_size=150))))
    wanted = data.draw(targets(source))
    between = [each for each in data.draw(st.lists(targets(source), max_size=20)) if each.tiles(wanted)]
    for timeframe in between:
        assert table.resample(timeframe).resample(wanted).candles() == table.resample(wanted).candles()


@given(candle_runs(st.sampled_from([Timeframe(text) for text in SOURCES])))
def test_a_table_gives_its_candles_back(candles: list[Candle]) -> None:
    table = CandleTable.of(candles)
    assert len(table) == len(candles)
    assert table.candles() == candles


NUMBERS = st.one_of(
    st.just(Decimal(0)),
    st.sampled_from([2**63 - 1, 2**63, 2**62, 2**62 - 1, 1]).map(Decimal),
    st.decimals(0, 10**31, places=32, allow_nan=False),
    st.decimals(0, 1000, places=3, allow_nan=False),
    st.integers(0, 10**40).map(Decimal),
    st.sampled_from([Decimal("1E+3"), Decimal("0E-8"), Decimal("0E+5"), Decimal("1E-60"), Decimal("9" * 64)]),
)


@often
@given(st.data())
def test_numbers_of_any_size_stay_exact(data: st.DataObject) -> None:
    """Nonsense as a market, but nothing may be rounded, wrapped or mixed up."""
    minutes = sorted(data.draw(st.sets(st.integers(0, 3000), min_size=1, max_size=40)))
    maybe = data.draw(st.sampled_from([NUMBERS, NUMBERS | st.none()]))
    counts = st.sampled_from([0, 0, 1, 5, 2**63 - 1, 10**30]) | st.none()
    candles = [
        a_candle(
            minute,
            **{name: data.draw(NUMBERS) for name in ("open", "high", "low", "close", "volume")},
            **{name: data.draw(maybe) for name in ("quote_volume", "taker_buy_volume", "taker_buy_quote_volume")},
            trades=data.draw(counts),
            missing=data.draw(st.sampled_from([0, 0, 2])),
        )
        for minute in minutes
    ]
    table = CandleTable.of(candles)
    assert table.candles() == candles
    for timeframe, derived in table.resample_all("2m..4m,7m@epoch,1h,1d").items():
        assert derived.candles() == reference_resample(candles, timeframe)


def test_all_sizes_of_three_days_equal_those_made_one_by_one() -> None:
    choose = random.Random(59)
    candles = [
        a_candle(minute, close=Decimal(choose.randint(1, 99)), high=Decimal(100 + minute))
        if choose.random() < 0.9
        else a_candle(minute, volume=Decimal(0), trades=0)
        for minute in range(3 * 1440 + 17)
        if choose.random() < 0.99
    ]
    wanted = "2m..60m,2m..60m@epoch,2h,1d,1w"
    made = CandleTable.of(candles).resample_all(wanted)
    assert {timeframe: table.candles() for timeframe, table in made.items()} == one_by_one(candles, wanted)


def test_a_recorded_month_equals_what_is_made_one_by_one() -> None:
    path = recorded("binance_usdm/klines_1m_12col_ALGOUSDT_2023-02/ALGOUSDT-1m-2023-02.csv.gz")
    candles = list(read_klines(path, venue="binance-usdm", symbol="ALGOUSDT", timeframe="1m"))
    assert len(candles) == 40_320
    wanted = "2m..60m,7m@epoch,4h,1d,1w,1M,1d@+0800"
    made = CandleTable.of(candles).resample_all(wanted)
    assert {timeframe: table.candles() for timeframe, table in made.items()} == one_by_one(candles, wanted)


# -- boundaries -----------------------------------------------------------------------------------------------------


@settings(max_examples=300)
@given(st.data())
def test_a_grid_knows_the_intervals_of_its_timeframe(data: st.DataObject) -> None:
    timeframe = data.draw(timeframes() | timeframes(units="M") | timeframes(units="dw"))
    edges = open_times(timeframe) | st.integers(-400 * 365 * DAY_MS, 400 * 365 * DAY_MS)
    at_ms = data.draw(st.lists(edges, min_size=1, max_size=20))
    grid = Grid(timeframe)
    numbers = grid.number(np.array(at_ms))
    assert grid.open_ms(numbers).tolist() == [timeframe.floor(at) for at in at_ms]
    assert grid.open_ms(numbers + 1).tolist() == [timeframe.next_open(timeframe.floor(at)) for at in at_ms]


def test_a_leap_february_ends_with_its_29th() -> None:
    candles = [a_candle(minute) for minute in (0, 1439, 1440)]
    first, second = CandleTable.of(candles).resample("1M").candles()
    assert (first.open_time_ms, first.close_time_ms) == (START_MS - 28 * DAY_MS, START_MS + DAY_MS - 1)
    assert (first.missing, first.closed) == (29 * 1440 - 2, True)
    assert (second.open_time_ms, second.missing, second.closed) == (START_MS + DAY_MS, 31 * 1440 - 1, False)


@pytest.mark.parametrize("months", ["1M", "5M"])
@pytest.mark.parametrize("anchor", ["+0800", "-0500", "+1400", "-1400"])
def test_months_begin_at_midnight_wherever_that_is(months: str, anchor: str) -> None:
    timeframe = Timeframe(months).anchored(anchor)
    candles = [a_candle(minute) for minute in range(-2 * 1440, 3 * 1440, 30)]
    assert CandleTable.of(candles).resample(timeframe).candles() == reference_resample(candles, timeframe)


def test_the_last_bar_of_a_day_is_shorter_unless_counted_from_the_epoch() -> None:
    table = CandleTable.of([a_candle(minute) for minute in range(1430, 1450)])
    by_day, by_epoch = table.resample("7m"), table.resample("7m", anchor="epoch")
    assert by_day.open_time_ms[-3:].tolist() == [START_MS + minute * MINUTE_MS for minute in (1435, 1440, 1447)]
    assert [candle.close_time_ms - candle.open_time_ms for candle in by_day.candles()[-3:-1]] == [299_999, 419_999]
    assert {candle.close_time_ms - candle.open_time_ms for candle in by_epoch.candles()} == {419_999}
    assert by_epoch.timeframe == Timeframe("7m@epoch")


# -- numbers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("last", "kind"), [("0.01", np.int64), ("0.02", np.object_)])
def test_a_sum_leaves_64_bits_only_when_it_has_to(last: str, kind: type[object]) -> None:
    most = Decimal(2**63 - 2).scaleb(-2)
    candles = [a_candle(0, volume=most), a_candle(1, volume=Decimal(last)), a_candle(2, volume=Decimal("0.03"))]
    derived = CandleTable.of(candles).resample("2m")
    assert derived.volume.values.dtype == kind
    assert [candle.volume for candle in derived.candles()] == [
        Decimal(2**63 - 2 + int(last[-1])).scaleb(-2),
        Decimal("0.03"),
    ]


def test_totals_may_wrap_while_sums_do_not() -> None:
    candles = [a_candle(minute, volume=Decimal(2**61 - minute)) for minute in range(64)]
    derived = CandleTable.of(candles).resample("2m")
    assert derived.volume.values.dtype == np.int64
    assert derived.candles() == reference_resample(candles, "2m")


def test_a_column_has_as_many_digits_as_its_longest_number() -> None:
    numbers = [Decimal("1.5")] * 1000
    numbers[777] = Decimal("0.00000000000000001")
    column = Column.of_decimals(numbers)
    assert column.digits == 17
    assert column.as_decimals() == numbers


@pytest.mark.parametrize("text", ["NaN", "sNaN", "Infinity", "-Infinity"])
def test_what_is_not_finite_is_refused(text: str) -> None:
    for at in (0, 150):  # the second is none of those that tell the number of digits
        candles = [a_candle(minute) for minute in range(300)]
        candles[at] = candles[at].replace(close=Decimal(text))
        with pytest.raises(ValueError, match="not a finite number"):
            CandleTable.of(candles)


# -- what goes in ---------------------------------------------------------------------------------------------------


def test_repeats_and_open_candles_are_left_out() -> None:
    candles = [a_candle(minute) for minute in range(4)]
    given_twice = [*candles, a_candle(1, received_ms=7), a_candle(3), a_candle(4, closed=False)]
    assert CandleTable.of(given_twice).candles() == candles


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        (a_candle(1, volume=Decimal(7)), "after a later one or another of that time"),
        (a_candle(1, missing=1), "after a later one or another of that time"),
        (a_candle(-1), "after a later one or another of that time"),
        (a_candle(9, open_time_ms=START_MS + 9 * MINUTE_MS + 1), "off its grid"),
        (a_candle(9, symbol="ETHUSDT"), "does not belong to binance-spot:BTCUSDT:1m"),
        (a_candle(9, venue="binance-usdm"), "does not belong to binance-spot:BTCUSDT:1m"),
        (a_candle(9, timeframe=Timeframe("3m")), "does not belong to binance-spot:BTCUSDT:1m"),
    ],
)
def test_candles_that_are_no_series_are_refused(bad: Candle, problem: str) -> None:
    with pytest.raises(UnorderedCandles, match=problem):
        CandleTable.of([*(a_candle(minute) for minute in range(4)), bad])


@pytest.mark.parametrize("candles", [[], [a_candle(0, closed=False)]])
def test_a_table_of_nothing_is_refused(candles: Sequence[Candle]) -> None:
    with pytest.raises(ValueError, match="at least"):
        CandleTable.of(candles)


def test_a_timeframe_that_is_not_made_of_the_source_is_refused() -> None:
    table = CandleTable.of([a_candle(0)]).resample("5m")
    for wanted in ("7m", "1m", "1d@2017-08-17,90s"):
        with pytest.raises(InvalidTimeframe, match="cannot be made of 5m candles"):
            table.resample_all(wanted)
    with pytest.raises(InvalidTimeframe, match="not a timeframe"):
        table.resample("10m..15m")


def test_resampling_to_the_same_timeframe_changes_nothing() -> None:
    table = CandleTable.of([a_candle(0), a_candle(2)])
    assert table.resample("1m") is table


def test_a_table_cannot_be_changed() -> None:
    table = CandleTable.of([a_candle(0), a_candle(1, trades=None)])
    for array in (table.open.values, table.trades.given, table.open_time_ms, table.resample("2m").missing):
        assert array is not None
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


# -- the extra ------------------------------------------------------------------------------------------------------


def test_without_numpy_the_extra_is_named_and_the_rest_works() -> None:
    script = "import sys; sys.modules['numpy'] = None; from candleactors import resample; import candleactors.columnar"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert 'pip install "candleactors[columnar]"' in run.stderr.splitlines()[-1]
