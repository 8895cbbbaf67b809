"""Properties of aggregation: however candles come and are grouped, what is derived equals the reference.

The reference itself is checked against numbers worked out by hand in tests/testing/test_reference.py.
"""

from __future__ import annotations

import decimal
from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from candleactors import BarBuilder, resample
from candleactors.errors import UnorderedCandles
from candleactors.model import Candle, Event, Gap, Revision, Source, Stream, Timeframe, Trade
from candleactors.sim import Market, TruthCandle
from candleactors.testing import (
    arrivals,
    candle_runs,
    contract_breaches,
    final_candles,
    gappy_runs,
    reference_from_trades,
    reference_resample,
    revised_runs,
    timeframes,
    trades,
)

SOURCES = {
    "1m": "2h",
    "1s": "2m",
    "7m": "6h",
    "7m@epoch": "6h",
    "5m": "6h",
    "50m": "2d",
    "1h": "2d",
    "4h": "1w",
    "1d": "1M",
    "1d@+0800": "1M",
    "1w": "8w",
    "1M": "12M",
}
"""Timeframes to derive from, and what is so long that a run has only a few of them."""

EVERY_SIZE = [*Timeframe.expand("2m..60m")]

often = settings(max_examples=60)


def targets(source: Timeframe | str) -> st.SearchStrategy[Timeframe]:
    """Return a strategy for what is made of `source`, mostly short enough to have several in a run."""
    few = timeframes(tiled_by=source, longest=SOURCES.get(str(source), "1M"))
    return few | few | timeframes(tiled_by=source)


def several(source: Timeframe | str) -> st.SearchStrategy[list[Timeframe]]:
    """Return a strategy for what one builder derives from `source`; from minutes also every size at once."""
    some = st.lists(targets(source), min_size=1, max_size=6, unique=True)
    return some | st.just(EVERY_SIZE) if source == "1m" else some


sources = st.sampled_from(sorted(SOURCES, key=lambda text: (text != "1m", text)))
gappy_with_targets = sources.flatmap(lambda text: st.tuples(gappy_runs(text), several(text)))
revised_with_targets = sources.flatmap(lambda text: st.tuples(revised_runs(text), several(text)))


def end_ms(events: Iterable[Event]) -> int:
    """Return when the latest interval ends that anything was said about."""
    ends = [0]
    for event in events:
        if isinstance(event, Gap):
            ends.append(event.stream.timeframe.next_open(event.last_open_ms))
        else:
            ends.append((event.candle if isinstance(event, Revision) else event).next_open_time_ms)
    return max(ends)


def expected(events: Sequence[Event], timeframe: Timeframe) -> list[Candle]:
    """Return what must have been said of `timeframe` after `events`: the candles of the intervals that are over."""
    over_ms = end_ms(events)
    derived = reference_resample(final_candles(events), timeframe)
    return [candle.replace(closed=True) for candle in derived if candle.close_time_ms < over_ms]


def of(events: Iterable[Event], timeframe: Timeframe) -> list[Event]:
    return [event for event in events if event.stream.timeframe == timeframe]


def build(events: Iterable[Event | Trade], *frames: Timeframe | str, source: Timeframe | str = "1m") -> list[Event]:
    """Return all that a builder answers."""
    builder = BarBuilder(*frames, source=source)
    return [derived for event in events for derived in builder.add(event)]


def unmarked(candles: Iterable[Candle]) -> list[Candle]:
    """Return `candles` without what tells a repaired one from one that was right at once."""
    return [candle.replace(revision=0, received_ms=0) for candle in candles]


def unstamped(candles: Iterable[Candle]) -> list[Candle]:
    return [candle.replace(received_ms=0) for candle in candles]


class TestBatch:
    @often
    @given(gappy_with_targets)
    def test_equals_the_reference(self, drawn: tuple[list[Event], list[Timeframe]]) -> None:
        events, frames = drawn
        present = final_candles(events)
        derived = list(resample(present, frames))
        for frame in frames:
            assert [candle for candle in derived if candle.timeframe == frame] == reference_resample(present, frame)

    @pytest.mark.parametrize(("source", "name"), [("1m", "60s"), ("60m", "1h"), ("1d", "24h")])
    @settings(max_examples=10)
    @given(st.data())
    def test_knows_a_size_by_another_name(self, source: str, name: str, data: st.DataObject) -> None:
        present = final_candles(data.draw(gappy_runs(source, max_size=5)))
        assert list(resample(present, name)) == reference_resample(present, name)

    @often
    @given(arrivals(gappy_runs().map(final_candles), reach=0, repeats=5), targets("1m"))
    def test_passes_over_repeats(self, arrived: list[Candle], frame: Timeframe) -> None:
        assert list(resample(arrived, frame)) == reference_resample(arrived, frame)

    @often
    @given(arrivals(candle_runs(max_size=10), repeats=0), targets("1m"))
    def test_refuses_what_goes_back(self, arrived: list[Candle], frame: Timeframe) -> None:
        opens = [candle.open_time_ms for candle in arrived]
        if opens == sorted(opens):
            assert list(resample(arrived, frame)) == reference_resample(arrived, frame)
        else:
            with pytest.raises(UnorderedCandles):
                list(resample(arrived, frame))

    @often
    @given(gappy_runs(), gappy_runs(symbol="ETHUSDT"), gappy_runs(venue="binance-usdm"), targets("1m"))
    def test_keeps_markets_apart(
        self, one: list[Event], other: list[Event], third: list[Event], frame: Timeframe
    ) -> None:
        present = final_candles([*one, *other, *third])
        present.sort(key=lambda candle: candle.open_time_ms)
        derived = sorted(
            resample(present, frame), key=lambda candle: (candle.venue, candle.symbol, candle.open_time_ms)
        )
        assert derived == reference_resample(present, frame)

    @often
    @given(gappy_with_targets)
    def test_rounds_nothing_whatever_the_context(self, drawn: tuple[list[Event], list[Timeframe]]) -> None:
        events, frames = drawn
        present = final_candles(events)
        with decimal.localcontext(decimal.Context(prec=2)):
            derived = list(resample(present, frames))
        assert derived == list(resample(present, frames))

    @often
    @given(gappy_with_targets)
    def test_any_tiling_sums_up_to_the_whole(self, drawn: tuple[list[Event], list[Timeframe]]) -> None:
        events, frames = drawn
        present = final_candles(events)
        for frame in frames:
            derived = list(resample(present, frame))
            for name in ("volume", "quote_volume", "trades", "taker_buy_volume", "taker_buy_quote_volume"):
                whole, parts = [[getattr(candle, name) for candle in candles] for candles in (present, derived)]
                if None in whole:
                    assert None in parts
                else:
                    assert total(parts) == total(whole)
            source = present[0].timeframe
            lengths = [source.count_between(each.open_time_ms, each.next_open_time_ms) for each in derived]
            assert sum(lengths) - sum(candle.missing for candle in derived) == len(present)


def total(values: Iterable[Decimal | int]) -> Decimal:
    with decimal.localcontext(decimal.Context(prec=500, traps=[decimal.Inexact])):
        return sum((Decimal(value) for value in values), Decimal(0))


class TestBuilder:
    @often
    @given(gappy_with_targets)
    def test_equals_the_reference(self, drawn: tuple[list[Event], list[Timeframe]]) -> None:
        events, frames = drawn
        said = build(events, *frames, source=events[0].stream.timeframe)
        assert contract_breaches(said) == []
        assert not any(isinstance(event, Revision) for event in said)
        for frame in frames:
            assert [event for event in of(said, frame) if isinstance(event, Candle)] == expected(events, frame)
            assert_told_to_the_end(events, said, frame)

    @often
    @given(revised_with_targets)
    def test_revisions_equal_a_rebuild(self, drawn: tuple[list[Event], list[Timeframe]]) -> None:
        events, frames = drawn
        said = build(events, *frames, source=events[0].stream.timeframe)
        assert contract_breaches(said) == []
        assert_revisions_say_something(said)
        for frame in frames:
            now = final_candles(of(said, frame))
            assert unmarked(now) == unmarked(expected(events, frame))
            assert_told_to_the_end(events, said, frame)
            if not any(isinstance(event, Revision) for event in events):
                assert now == expected(events, frame)

    @often
    @given(arrivals(candle_runs()), several("1m"))
    def test_any_order_of_arrival_comes_to_the_same(self, arrived: list[Candle], frames: list[Timeframe]) -> None:
        said = build(arrived, *frames)
        assert_revisions_say_something(said)
        for frame in frames:
            assert unmarked(final_candles(of(said, frame))) == unmarked(expected(arrived, frame))

    @often
    @given(candle_runs(min_size=2), st.data())
    def test_late_arrivals_keep_the_contract(self, run: list[Candle], data: st.DataObject) -> None:
        """The first one is in time: nothing can be said before."""
        arrived = [run[0], *data.draw(arrivals(run[1:], reach=8))]
        frames = data.draw(several("1m"))
        said = build(arrived, *frames)
        assert contract_breaches(said) == []
        for frame in frames:
            assert unmarked(final_candles(of(said, frame))) == unmarked(expected(arrived, frame))

    @often
    @given(revised_with_targets)
    def test_a_repeat_says_nothing(self, drawn: tuple[list[Event], list[Timeframe]]) -> None:
        events, frames = drawn
        builder = BarBuilder(*frames, source=events[0].stream.timeframe)
        for event in events:
            builder.add(event)
            assert builder.add(event) == []

    @often
    @given(gappy_with_targets)
    def test_passes_the_source_on_where_asked(self, drawn: tuple[list[Event], list[Timeframe]]) -> None:
        events, frames = drawn
        source = events[0].stream.timeframe
        said = build(events, *frames, source, source=source)
        assert of(said, source) == events
        assert [event for event in said if event.stream.timeframe != source] == build(events, *frames, source=source)

    @often
    @given(gappy_with_targets)
    def test_an_event_goes_out_with_its_last_constituent(self, drawn: tuple[list[Event], list[Timeframe]]) -> None:
        events, frames = drawn
        builder = BarBuilder(*frames, source=events[0].stream.timeframe)
        for position, event in enumerate(events):
            before_ms, now_ms = end_ms(events[:position]), end_ms(events[: position + 1])
            for derived in builder.add(event):
                assert before_ms < end_ms([derived]) <= now_ms

    @often
    @given(revised_with_targets, candle_runs(min_size=60), st.integers(1, 5_000))
    def test_goes_on_behind_an_outage(
        self, drawn: tuple[list[Event], list[Timeframe]], run: list[Candle], skipped: int
    ) -> None:
        """Of which nobody said a word."""
        events, frames = drawn
        source = events[0].stream.timeframe
        open_ms, later = end_ms(events), []
        for _ in range(skipped if source.nominal_ms < 3_600_000 else skipped // 100):
            open_ms = source.next_open(open_ms)
        for candle in run[-20:]:
            close_ms = source.close_ms(open_ms)
            later.append(candle.replace(timeframe=source, open_time_ms=open_ms, close_time_ms=close_ms))
            open_ms = close_ms + 1
        history = [*events, *later]
        said = build(history, *frames, source=source)
        assert contract_breaches(said) == []
        for frame in frames:
            assert unmarked(final_candles(of(said, frame))) == unmarked(expected(history, frame))


class TestMemory:
    @often
    @given(
        revised_runs("1m", min_size=40, max_size=80),
        st.lists(timeframes(tiled_by="1m", longest="7m"), min_size=1, max_size=3, unique=True),
        st.integers(1, 5),
    )
    def test_what_lies_further_back_is_refused_and_changes_nothing(
        self, events: list[Event], frames: list[Timeframe], memory: int
    ) -> None:
        """Over more candles than are remembered."""
        source = Timeframe("1m")
        builder = BarBuilder(*frames, source=source, memory=memory)
        taken: list[Event] = []
        said: list[Event] = []
        for event in events:
            open_ms = event.candle.open_time_ms if isinstance(event, Revision) else end_ms(taken)
            if source.count_between(open_ms, end_ms(taken)) <= memory:
                said += builder.add(event)
                taken.append(event)
            elif isinstance(event, Revision) and builder.knows(event.candle):
                assert builder.add(event) == []
            else:
                with pytest.raises(UnorderedCandles):
                    builder.add(event)
        assert contract_breaches(said) == []
        for frame in frames:
            assert unmarked(final_candles(of(said, frame))) == unmarked(expected(taken, frame))


def assert_told_to_the_end(events: Sequence[Event], said: Sequence[Event], frame: Timeframe) -> None:
    """Check that every interval that is over was told of; that there are no holes is the contract's business."""
    over_ms = frame.floor(end_ms(events))
    if over_ms > frame.floor(first_ms(events)):
        assert end_ms(of(said, frame)) == over_ms
        assert first_ms(of(said, frame)) == frame.floor(first_ms(events))
    else:
        assert of(said, frame) == []


def first_ms(events: Sequence[Event]) -> int:
    event = events[0]
    assert not isinstance(event, Revision)
    return event.first_open_ms if isinstance(event, Gap) else event.open_time_ms


def assert_revisions_say_something(said: Iterable[Event]) -> None:
    known: dict[tuple[Stream, int], Candle] = {}
    for event in said:
        if isinstance(event, Gap):
            continue
        candle = event.candle if isinstance(event, Revision) else event
        before = known.get((event.stream, candle.open_time_ms))
        if before is not None:
            assert not (before.same_values(candle) and before.missing == candle.missing), candle
        known[event.stream, candle.open_time_ms] = candle


CHAINS = [("1m", "5m", "15m", "60m"), ("1m", "2m", "4m", "8m", "16m"), ("1s", "7s", "21s"), ("1h", "6h", "1d", "1w")]


@st.composite
def chains(draw: st.DrawFn) -> tuple[list[Timeframe], list[Event]]:
    """Return timeframes each of which makes up the next, and a history in the first of them."""
    chain = [Timeframe(text) for text in draw(st.sampled_from(CHAINS))]
    if draw(st.booleans()):
        chain = [chain[0], draw(timeframes(tiled_by=chain[0], longest=SOURCES[chain[0].text]))]
        while (larger := made_of(chain[-1], 8)) is not None and len(chain) < 4:
            chain.append(draw(larger))
    return chain, draw(revised_runs(chain[0], max_size=90))


def made_of(timeframe: Timeframe, most: int) -> st.SearchStrategy[Timeframe] | None:
    """Return a strategy for what is made of up to `most` intervals of `timeframe`, if there is anything."""
    try:
        return timeframes(tiled_by=timeframe, longest=f"{most * timeframe.nominal_ms // 1000}s")
    except ValueError:
        return None


class TestSimulatedMarket:
    """Three days over the end of a February, folded from trades by the market itself, in whole ticks and steps."""

    @pytest.mark.parametrize("symbol", ["QUICKUSDT", "PERPUSDT"])  # with many minutes without trades
    def test_every_size_is_what_the_market_says(self, symbol: str) -> None:
        start_ms, end = 1_709_078_400_000, 1_709_337_600_000  # 2024-02-28 to 2024-03-02
        market = Market(5, end, history_ms=end - start_ms)
        minutes = [true_candle(each) for each in market.truth(symbol, Timeframe("1m"), start_ms, end)]
        assert len(minutes) == 3 * 1440
        assert len([minute for minute in minutes if minute.trades == 0]) > 1440
        frames = Timeframe.expand("2m..60m,2h,3h,4h,5h,6h,7h,8h,12h,1d")
        batch, said = list(resample(minutes, frames)), build(minutes, *frames)
        for frame in frames:
            truth = [each.values() for each in market.truth(symbol, frame, start_ms, end)]
            assert [each.values() for each in batch if each.timeframe == frame] == truth
            assert [each.values() for each in final_candles(of(said, frame))] == truth
            assert [each for each in batch if each.timeframe == frame] == reference_resample(minutes, frame)


def true_candle(truth: TruthCandle) -> Candle:
    names = ["symbol", "timeframe", "open_time_ms", "close_time_ms", "open", "high", "low", "close", "volume"]
    names += ["quote_volume", "trades", "taker_buy_volume", "taker_buy_quote_volume"]
    return Candle(
        venue="binance-spot",
        closed=True,
        complete=True,
        source=Source.REST,
        revision=0,
        received_ms=truth.close_time_ms + 1,
        **{name: getattr(truth, name) for name in names},
    )


class TestChains:
    """1m to 60m is 1m to 5m to 15m to 60m."""

    @often
    @given(chains())
    def test_of_resampling(self, drawn: tuple[list[Timeframe], list[Event]]) -> None:
        frames, events = drawn
        candles = present = final_candles(events)
        for frame in frames[1:]:
            # What is not closed is no constituent, so each step knows of nothing behind the last closed one.
            known_ms = end_ms(candle for candle in candles if candle.closed)
            candles = list(resample(candles, frame))
        derived = [candle for candle in candles if candle.closed]
        direct = [c for c in resample(present, frames[-1]) if c.closed and c.close_time_ms < known_ms]
        assert_associative(frames, present, derived, direct)

    @often
    @given(chains())
    def test_of_builders(self, drawn: tuple[list[Timeframe], list[Event]]) -> None:
        frames, events = drawn
        step = events
        for source, frame in pairwise(frames):
            step = build(step, frame, source=source)
            assert contract_breaches(step) == []
        direct = build(events, frames[-1], source=frames[0])
        assert_associative(frames, final_candles(events), final_candles(step), final_candles(direct))
        assert [event for event in step if isinstance(event, Gap)] == [e for e in direct if isinstance(e, Gap)]


def assert_associative(
    frames: Sequence[Timeframe], present: Sequence[Candle], derived: Sequence[Candle], direct: Sequence[Candle]
) -> None:
    """Check that what was `derived` step by step is what was made directly of the candles that are `present`.

    A step that lacks an interval altogether cannot know of how many source intervals that was made, so it counts one.
    """
    opens = {frame: [each.open_time_ms for each in reference_resample(present, frame)] for frame in frames[1:-1]}
    assert [candle.replace(missing=0) for candle in unmarked(derived)] == [
        candle.replace(missing=0) for candle in unmarked(direct)
    ]
    for one, other in zip(derived, direct, strict=True):
        first_ms, until_ms = one.open_time_ms, one.next_open_time_ms
        if all(
            sum(first_ms <= open_ms < until_ms for open_ms in opens[frame]) == frame.count_between(first_ms, until_ms)
            for frame in opens
        ):
            assert one.missing == other.missing
        else:
            assert one.missing > 0
            assert other.missing > 0


class TestForming:
    @often
    @given(sources.flatmap(lambda text: st.tuples(gappy_runs(text), several(text))), st.data())
    def test_equals_the_reference(self, drawn: tuple[list[Event], list[Timeframe]], data: st.DataObject) -> None:
        events, frames = drawn
        source = events[0].stream.timeframe
        builder = BarBuilder(*frames, source=source)
        count = data.draw(st.integers(0, len(events) - 1))
        heard, last = events[:count], events[count]
        said = [derived for event in heard for derived in builder.add(event)]
        assert builder.forming() == (forming(heard, None, frames) if heard else [])
        if isinstance(last, Candle) and heard:
            open_now = last.replace(closed=False, complete=False)
            assert builder.forming(open_now) == forming(heard, open_now, frames)
            assert builder.add(open_now) == []
        said += [derived for event in events[count:] for derived in builder.add(event)]
        assert said == build(events, *frames, source=source), "looking changed something"


def forming(heard: Sequence[Event], candle: Candle | None, frames: Iterable[Timeframe]) -> list[Candle]:
    """Return what is open after `heard`, while `candle` forms."""
    over_ms = end_ms(heard)
    present = final_candles(heard) + ([] if candle is None else [candle.replace(closed=True)])
    found = []
    for frame in frames:
        derived = [each for each in reference_resample(present, frame) if each.close_time_ms >= over_ms]
        for each in derived:
            missing = each.missing + (candle is not None)
            found.append(each.replace(closed=False, complete=False, missing=missing))
    return found


class TestTrades:
    @often
    @given(trades(repeats=True, out_of_order=True), several("1m"))
    def test_equal_the_reference(self, told: list[Trade], frames: list[Timeframe]) -> None:
        assert_trades_come_to_the_reference(told, frames)

    @often
    @given(trades(holes=True), several("1m"))
    def test_with_missing_ids_equal_the_reference(self, told: list[Trade], frames: list[Timeframe]) -> None:
        assert_trades_come_to_the_reference(told, frames)

    @often
    @given(trades(), st.data())
    def test_in_any_order_come_to_the_same(self, told: list[Trade], data: st.DataObject) -> None:
        """Behind the first one: what the ids before it are cannot be known."""
        arrived = [told[0], *data.draw(arrivals(told[1:], reach=10))]
        assert_trades_come_to_the_reference(arrived, data.draw(several("1m")))

    @often
    @given(trades(holes=True), several("1m"), st.data())
    def test_that_fill_holes_in_part_equal_the_reference(
        self, told: list[Trade], frames: list[Timeframe], data: st.DataObject
    ) -> None:
        arrived = [told[0], *data.draw(arrivals(told[1:], reach=10))]
        assert_trades_come_to_the_reference(arrived, frames)

    def test_that_fill_a_hole_in_part_narrow_it(self) -> None:
        open_ms = 1_704_067_200_000

        def trade(number: int, after_s: int) -> Trade:
            return Trade("x", "Y", number, number, Decimal(1), Decimal(1), open_ms + after_s * 1000, None)

        arrived = [trade(1, 0), trade(4, 130), trade(5, 190), trade(3, 30)]
        assert [candle.missing for candle in final_candles(build(arrived, "1m"))] == [1, 0, 0]

    @often
    @given(trades(), targets("1m"))
    def test_derive_at_once_what_they_derive_by_the_minute(self, told: list[Trade], frame: Timeframe) -> None:
        by_minute = final_candles(of(build(told, frame), frame))
        at_once = reference_from_trades(told, frame)
        assert [each.values() for each in by_minute] == [each.values() for each in at_once[: len(by_minute)]]

    @often
    @given(trades(holes=True, out_of_order=True), st.integers(0, 7_200_000))
    def test_time_alone_ends_intervals_too(self, told: list[Trade], later_ms: int) -> None:
        builder = BarBuilder("1m", "5m")
        said = [event for trade in told for event in builder.add(trade)]
        now_ms = max(trade.time_ms for trade in told) + later_ms
        said += builder.advance(now_ms)
        assert contract_breaches(said) == []
        for frame in map(Timeframe, ("1m", "5m")):
            assert end_ms(of(said, frame)) == frame.floor(now_ms) or not of(said, frame)


def assert_trades_come_to_the_reference(arrived: Sequence[Trade], frames: Sequence[Timeframe]) -> None:
    """Check every timeframe, and that of the source."""
    source = Timeframe("1m")
    said = build(arrived, source, *frames)
    assert contract_breaches(said) == []
    assert_revisions_say_something(said)
    minutes = [candle for candle in reference_from_trades(arrived, source) if candle.closed]
    assert unmarked(final_candles(of(said, source))) == unmarked(minutes)
    for frame in frames:
        derived = [candle for candle in reference_resample(minutes, frame) if candle.closed]
        assert unmarked(final_candles(of(said, frame))) == unmarked(derived)
