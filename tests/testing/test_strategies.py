"""The strategies give what they promise: everything promised, and nothing else."""

from __future__ import annotations

import contextlib
import decimal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from candleactors.model import Candle, Event, Gap, GapReason, Revision, Source, Timeframe, Trade
from candleactors.testing import (
    arrivals,
    candle_runs,
    contract_breaches,
    final_candles,
    gappy_runs,
    open_times,
    revised_runs,
    timeframes,
    trades,
)

T = TypeVar("T")

short = settings(max_examples=50)


class _SeenAll(Exception):
    """Ends a search that has found everything."""


def occur(strategy: st.SearchStrategy[T], *conditions: Callable[[T], Any]) -> None:
    """Check that each of `conditions` is satisfied by some example of `strategy`.

    What Hypothesis draws depends on its version and on what else is imported, so rare cases are given time.
    """
    wanted = dict(enumerate(conditions))

    @settings(max_examples=5_000, derandomize=True, database=None, phases=[Phase.generate])
    @given(strategy)
    def look(example: T) -> None:
        for number in [number for number, condition in wanted.items() if condition(example)]:
            del wanted[number]
        if not wanted:
            raise _SeenAll

    with contextlib.suppress(_SeenAll):
        look()
    assert not wanted, f"the conditions {sorted(wanted)} never came true"


def smallest(strategy: st.SearchStrategy[T], condition: Callable[[T], Any]) -> T:
    # Without Phase.explain, which tries other examples in the end and would be given the last word.
    phases = [Phase.generate, Phase.shrink]
    chosen = settings(max_examples=1_000, derandomize=True, database=None, phases=phases)
    return find(strategy, condition, settings=chosen)


def utc(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, tz=UTC)


class TestTimeframes:
    @short
    @given(timeframes(tiled_by="1m", longest="1M"))
    def test_those_tiled_by_a_minute(self, timeframe: Timeframe) -> None:
        assert Timeframe("1m").tiles(timeframe)
        assert 60_000 < timeframe.nominal_ms <= 30 * 86_400_000

    @short
    @given(timeframes(tiles="1h", anchors=False, units="m", shortest="5m"))
    def test_those_that_tile_an_hour(self, timeframe: Timeframe) -> None:
        assert timeframe.text in ("5m", "6m", "10m", "12m", "15m", "20m", "30m")

    def test_every_unit_and_every_kind_of_grid_occurs(self) -> None:
        units = [lambda timeframe, unit=unit: timeframe.unit == unit for unit in "smhdwM"]
        grids = [lambda each, grid=grid: each.anchor == grid for grid in (None, "epoch", "+0800", "2017-08-17")]
        occur(timeframes(), *units, *grids)

    def test_every_minute_size_may_occur(self) -> None:
        for count in range(2, 61):
            only = timeframes(units="m", anchors=False, shortest=f"{count}m", longest=f"{count}m")
            assert smallest(only, lambda _: True).text == f"{count}m"

    def test_they_shrink_to_short_plain_ones(self) -> None:
        assert smallest(timeframes(tiled_by="1m"), lambda _: True).text == "2m"
        assert smallest(timeframes(), lambda timeframe: timeframe.nominal_ms > 86_400_000).anchor is None

    def test_conditions_that_exclude_each_other(self) -> None:
        with pytest.raises(ValueError, match="no timeframe satisfies"):
            timeframes(tiled_by="1h", longest="1m")


class TestOpenTimes:
    @short
    @given(timeframes(), st.data())
    def test_are_open_times(self, timeframe: Timeframe, data: st.DataObject) -> None:
        open_ms = data.draw(open_times(timeframe, before=3))
        assert timeframe.floor(open_ms) == open_ms
        assert open_ms > 0 or timeframe.nominal_ms > 365 * 86_400_000

    def test_edges_and_other_days_occur(self) -> None:
        def over(year: int, month: int, day: int) -> Callable[[int], bool]:
            midnight_ms = int(datetime(year, month, day, tzinfo=UTC).timestamp()) * 1000
            return lambda open_ms: open_ms < midnight_ms <= open_ms + 60 * 60_000

        edges = [(2024, 2, 29), (2024, 3, 1), (2023, 3, 1), (2100, 3, 1), (2024, 12, 30), (2024, 1, 1)]
        years = [lambda open_ms, year=year: utc(open_ms).year // 10 == year for year in (199, 203, 211)]
        occur(open_times(), *(over(*edge) for edge in edges), *years)


OPTIONAL = ("quote_volume", "trades", "taker_buy_volume", "taker_buy_quote_volume")


class TestCandleRuns:
    @short
    @given(timeframes().flatmap(lambda frame: st.tuples(st.just(frame), candle_runs(frame, min_size=2, max_size=12))))
    def test_are_possible_and_in_a_row(self, drawn: tuple[Timeframe, list[Candle]]) -> None:
        timeframe, run = drawn
        assert 2 <= len(run) <= 12
        assert contract_breaches(run) == []
        for candle in run:
            assert candle.problem() is None
            assert (candle.timeframe, candle.closed, candle.complete, candle.revision) == (timeframe, True, True, 0)
            assert candle.open_time_ms == timeframe.floor(candle.open_time_ms)
            assert candle.close_time_ms == timeframe.close_ms(candle.open_time_ms) < candle.received_ms

    @short
    @given(candle_runs(min_size=20, optional_fields=False))
    def test_are_like_real_ones(self, run: list[Candle]) -> None:
        for before, candle in pairwise(run):
            assert abs(candle.open - before.close) <= 2 * max(abs(candle.high - candle.low), run[0].open)
            if not candle.trades:
                assert {candle.open, candle.high, candle.low, candle.close} == {before.close}
                assert candle.values()[4:] == (0, 0, 0, 0, 0)
        for candle in run:
            assert candle.quote_volume is not None
            assert candle.taker_buy_volume is not None
            assert candle.taker_buy_volume <= candle.volume
            assert candle.taker_buy_quote_volume is not None
            assert candle.taker_buy_quote_volume <= candle.quote_volume
            assert Fraction(candle.quote_volume) <= Fraction(candle.high) * Fraction(candle.volume)

    @short
    @given(candle_runs("1h", max_size=1, venue="x", symbol="Y", starts=st.just(1_709_209_999_999)))
    def test_are_what_was_asked_for(self, run: list[Candle]) -> None:
        assert [(c.venue, c.symbol, str(c.timeframe), c.open_time_ms) for c in run] == [
            ("x", "Y", "1h", 1_709_208_000_000)
        ]

    def test_what_occurs(self) -> None:
        def lacking(run: Sequence[Candle], name: str) -> int:
            return [getattr(candle, name) for candle in run].count(None)

        occur(
            candle_runs(max_size=12),
            lambda run: len(run) == 12,
            lambda run: len(run) == 1,
            lambda run: all(c.volume == 0 for c in run) and len(run) > 3,
            lambda run: all(c.volume > 0 for c in run) and len(run) > 3,
            lambda run: run[0].close < Decimal("1e-9"),
            lambda run: run[0].close > Decimal("1e9"),
            lambda run: any(0 < c.volume < Decimal("1e-12") for c in run),
            lambda run: any(c.volume > Decimal("1e20") for c in run),
            lambda run: any(len(c.volume.as_tuple().digits) > 28 for c in run),
            *(lambda run, d=d: run[0].close.as_tuple().exponent == -d for d in (0, 2, 8, 18)),
            *(lambda run, name=name: len(run) > 3 and lacking(run, name) == len(run) for name in OPTIONAL),
            *(lambda run, name=name: 0 < lacking(run, name) < len(run) for name in OPTIONAL),
            lambda run: not any(lacking(run, name) for name in OPTIONAL) and len(run) > 3,
            lambda run: any(c.volume == 0 and c.trades and c.quote_volume is None for c in run),
        )

    def test_runs_are_long_as_often_as_short(self) -> None:
        occur(candle_runs(max_size=20).map(len), *(lambda n, k=k: k <= n < k + 5 for k in range(1, 20, 5)))

    @short
    @given(candle_runs(optional_fields=False))
    def test_optional_fields_may_be_required(self, run: list[Candle]) -> None:
        assert all(getattr(candle, name) is not None for candle in run for name in OPTIONAL)

    def test_they_shrink_to_the_point(self) -> None:
        (candle,) = smallest(candle_runs(max_size=12), lambda run: any(c.volume > 0 for c in run))
        assert candle.open_time_ms == 1_704_067_200_000
        assert candle.values() == (1, 1, 1, 1, 1, 1, 1, 0, 0)
        run = smallest(candle_runs(max_size=12), lambda run: len(run) >= 4)
        assert [candle.values() for candle in run] == [(1, 1, 1, 1, 0, 0, 0, 0, 0)] * 4

    def test_they_do_not_depend_on_the_decimal_context(self) -> None:
        with decimal.localcontext(decimal.Context(prec=3)):
            occur(candle_runs(), lambda run: any(len(candle.volume.as_tuple().digits) > 28 for candle in run))


class TestHistories:
    @short
    @given(gappy_runs(max_size=30))
    def test_gappy_runs_say_everything_once(self, events: list[Event]) -> None:
        assert contract_breaches(events) == []
        assert final_candles(events) == [event for event in events if isinstance(event, Candle)] != []
        gaps = [event for event in events if isinstance(event, Gap)]
        assert len(gaps) <= 4
        assert len(events) <= 30
        assert not any(isinstance(event, Revision) for event in events)
        for one, other in pairwise(events):
            assert not (isinstance(one, Gap) and isinstance(other, Gap))

    def test_what_occurs_in_gappy_runs(self) -> None:
        occur(
            gappy_runs(max_size=20),
            lambda events: not any(isinstance(event, Gap) for event in events),
            lambda events: isinstance(events[0], Gap),
            lambda events: isinstance(events[-1], Gap),
            lambda events: sum(isinstance(event, Gap) for event in events) >= 3,
            lambda events: any(isinstance(event, Gap) and event.count > 8 for event in events),
            lambda events: {event.reason for event in events if isinstance(event, Gap)} == set(GapReason),
        )

    @settings(max_examples=100)
    @given(revised_runs(max_size=30))
    def test_revised_runs_keep_the_contract(self, events: list[Event]) -> None:
        assert contract_breaches(events) == []
        said: dict[int, Candle] = {}
        newest_ms = 0
        for event in events:
            if isinstance(event, Gap):
                continue
            candle = event.candle if isinstance(event, Revision) else event
            assert candle.problem() is None
            if isinstance(event, Revision):
                before = said.get(candle.open_time_ms)
                assert candle.revision == (1 if before is None else before.revision + 1)
                assert before is None or not candle.same_values(before)
                assert candle.source is Source.REST
                assert candle.received_ms >= newest_ms
            said[candle.open_time_ms] = candle
            newest_ms = max(newest_ms, candle.received_ms)
        assert final_candles(events) == [said[open_ms] for open_ms in sorted(said)]
        assert sum(isinstance(event, Revision) for event in events) <= 8

    def test_what_occurs_in_revised_runs(self) -> None:
        def said(events: list[Event]) -> set[int]:
            return {event.open_time_ms for event in events if isinstance(event, Candle)}

        def revised(events: list[Event]) -> dict[int, Candle]:
            return {event.candle.open_time_ms: event.candle for event in events if isinstance(event, Revision)}

        occur(
            revised_runs(max_size=20),
            lambda events: revised(events).keys() & said(events),
            lambda events: revised(events).keys() - said(events),
            lambda events: any(candle.revision == 3 for candle in revised(events).values()),
            lambda events: any(candle.volume == 0 for candle in revised(events).values()),
            lambda events: isinstance(events[-1], Revision),
            lambda events: len(events) > 5 and isinstance(events[1], Revision),
            lambda events: not revised(events),
        )

    def test_they_shrink_to_the_point(self) -> None:
        runs, histories = gappy_runs(max_size=12), revised_runs(max_size=12)
        gap, candle = smallest(runs, lambda events: any(isinstance(event, Gap) for event in events))
        assert {type(gap), type(candle)} == {Gap, Candle}
        events = smallest(histories, lambda events: any(isinstance(event, Revision) for event in events))
        assert [type(event) for event in events] == [Candle, Revision]


class TestArrivals:
    @short
    @given(
        st.lists(st.integers(), max_size=20, unique=True).flatmap(
            lambda given: st.tuples(st.just(given), arrivals(given))
        )
    )
    def test_nothing_is_lost(self, drawn: tuple[list[int], list[int]]) -> None:
        items, arrived = drawn
        assert set(arrived) == set(items)
        assert len(items) <= len(arrived) <= len(items) + 3
        assert max(Counter(arrived).values(), default=1) <= 4

    @short
    @given(arrivals(list(range(20)), reach=2, repeats=0))
    def test_none_arrives_later_than_its_reach(self, arrived: list[int]) -> None:
        assert sorted(arrived) == list(range(20))
        for place, item in enumerate(arrived):
            assert sum(other > item for other in arrived[:place]) <= 2

    @short
    @given(arrivals(list(range(5)), reach=0))
    def test_repeats_come_after(self, arrived: list[int]) -> None:
        assert list(dict.fromkeys(arrived)) == list(range(5))

    def test_what_occurs(self) -> None:
        occur(
            arrivals([0, 1, 2, 3]),
            lambda arrived: arrived == [0, 1, 2, 3],
            lambda arrived: arrived[0] == 3,
            lambda arrived: arrived[-1] == 0 and arrived.count(0) == 1,
            lambda arrived: len(arrived) == 7,
            lambda arrived: arrived == [0, 1, 2, 3, 0],
        )

    def test_they_shrink_to_the_given_order(self) -> None:
        orders = arrivals([0, 1, 2, 3], repeats=0)
        assert smallest(orders, lambda _: True) == [0, 1, 2, 3]
        assert smallest(orders, lambda arrived: arrived[0] != 0) == [1, 0, 2, 3]
        opens = arrivals(candle_runs(max_size=12), repeats=0).map(lambda run: [c.open_time_ms for c in run])
        assert len(smallest(opens, lambda arrived: arrived != sorted(arrived))) <= 4


class TestTrades:
    @short
    @given(trades(min_size=3, max_size=25))
    def test_count_up_and_ascend(self, told: list[Trade]) -> None:
        assert 3 <= len(told) <= 25
        for before, trade in pairwise(told):
            assert trade.first_id == before.last_id + 1
            assert trade.time_ms >= before.time_ms
        for trade in told:
            assert trade.last_id >= trade.first_id > 0
            assert trade.price > 0
            assert trade.amount > 0

    @short
    @given(trades(holes=True, aggregates=False, optional_fields=False, venue="x", symbol="Y", starts=st.just(77)))
    def test_are_what_was_asked_for(self, told: list[Trade]) -> None:
        assert told[0].time_ms == 77
        for before, trade in pairwise(told):
            assert trade.first_id > before.last_id
        for trade in told:
            assert (trade.venue, trade.symbol, trade.count) == ("x", "Y", 1)
            assert trade.taker_buy is not None

    @short
    @given(trades(repeats=True, out_of_order=True))
    def test_nothing_comes_before_the_first(self, told: list[Trade]) -> None:
        assert min(told, key=lambda trade: trade.first_id) == told[0]
        assert min(trade.time_ms for trade in told) == told[0].time_ms
        assert len(told) <= 64

    def test_what_occurs(self) -> None:
        occur(
            trades(max_size=20, holes=True, repeats=True, out_of_order=True),
            lambda told: any(t.count > 1 for t in told),
            lambda told: {t.taker_buy for t in told} == {True, False, None},
            lambda told: len(told) > 3 and {t.taker_buy for t in told} == {None},
            lambda told: any(b.time_ms - a.time_ms > 120_000 for a, b in pairwise(told)),
            lambda told: len({t.time_ms // 60_000 for t in told}) == 1 and len(told) > 5,
            lambda told: any(b.first_id > a.last_id + 1 for a, b in pairwise(told)),
            lambda told: len({t.first_id for t in told}) < len(told),
            lambda told: any(b.time_ms < a.time_ms for a, b in pairwise(told)),
        )

    def test_they_shrink_to_the_point(self) -> None:
        assert smallest(trades(max_size=12), lambda _: True) == [
            Trade("binance-spot", "BTCUSDT", 1, 1, Decimal(1), Decimal(1), 1_704_067_200_000, False)
        ]


@settings(max_examples=20, suppress_health_check=[HealthCheck.data_too_large])
@given(st.data())
def test_drawing_is_quick_enough_for_the_health_checks(data: st.DataObject) -> None:
    """No strategy filters, and none draws so much that Hypothesis gives up; too slow is not checked here."""
    data.draw(revised_runs(max_size=200))
    data.draw(trades(max_size=200))


def test_without_hypothesis_the_error_names_the_extra() -> None:
    code = (
        "import sys; sys.modules['hypothesis'] = None\n"
        "import candleactors.testing as testing\n"
        "assert testing.reference_resample([], '5m') == []\n"
        "try: testing.candles\n"
        "except ImportError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'candleactors[testing]'" in done.stdout
