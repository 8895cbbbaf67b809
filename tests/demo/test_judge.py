"""The judge must catch whatever can go wrong, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from candleactors.demo.judge import Judge, Verdict
from candleactors.model import MINUTE_MS, Candle, Event, Gap, GapReason, Revision, Source, Stream, Timeframe
from candleactors.sim import Market, TruthCandle, default_symbols

START_MS = 1_767_225_600_000 + 90_000  # in the middle of a minute
MINUTES = Stream("binance-spot", "BTCUSDT", Timeframe("1m"))
OTHER = Stream("binance-spot", "ETHUSDT", Timeframe("1m"))
HISTORY = 3
MARKET = Market(7, START_MS, default_symbols(2), history_ms=10 * MINUTE_MS)
END_MS = START_MS + 10 * MINUTE_MS


def truth(stream: Stream, first_open_ms: int, until_ms: int) -> Iterable[TruthCandle]:
    return MARKET.truth(stream.symbol, stream.timeframe, first_open_ms, until_ms)


def candle(row: TruthCandle, stream: Stream = MINUTES) -> Candle:
    return Candle(
        stream.venue,
        stream.symbol,
        stream.timeframe,
        row.open_time_ms,
        row.close_time_ms,
        row.open,
        row.high,
        row.low,
        row.close,
        row.volume,
        row.quote_volume,
        row.trades,
        row.taker_buy_volume,
        row.taker_buy_quote_volume,
        closed=True,
        complete=True,
        source=Source.WS,
        revision=0,
        received_ms=0,
    )


def right(stream: Stream = MINUTES) -> list[Candle]:
    """What a perfect feed delivers: some history, then everything that closed."""
    first_ms = stream.timeframe.floor(START_MS) - HISTORY * MINUTE_MS
    return [candle(row, stream) for row in truth(stream, first_ms, END_MS)]


def gap(*events: Candle) -> Gap:
    return Gap(events[0].stream, events[0].open_time_ms, events[-1].open_time_ms, GapReason.UNREPAIRED)


def judged(
    events: Iterable[Event],
    *,
    horizon_ms: int = END_MS,
    streams: Iterable[Stream] = (MINUTES,),
    as_far_as_delivered: bool = False,
) -> Verdict:
    judge = Judge(streams, truth, START_MS)
    for event in events:
        judge.take(event)
    return judge.verdict(horizon_ms, END_MS, as_far_as_delivered=as_far_as_delivered)


def problems(verdict: Verdict) -> dict[str, int]:
    names = ("lost", "duplicated", "out_of_order", "wrong")
    return {name: getattr(verdict, name) for name in names if getattr(verdict, name)}


def test_what_is_right_is_found_right() -> None:
    verdict = judged(right())
    assert verdict == Verdict(streams=1, closed_candles=len(right()))
    assert verdict.ok
    assert verdict.settled


def test_streams_are_judged_apart() -> None:
    both = [event for pair in zip(right(), right(OTHER), strict=True) for event in pair]
    assert judged(both, streams=(MINUTES, OTHER)).ok
    assert problems(judged(right(), streams=(MINUTES, OTHER))) == {"lost": 10}


def test_a_silent_stream_lost_everything_that_closed_since_it_was_watched() -> None:
    assert problems(judged([])) == {"lost": 10}


@pytest.mark.parametrize("index", range(1, HISTORY + 10))
def test_a_missing_candle_is_lost(index: int) -> None:
    events = right()
    missing = events.pop(index)
    verdict = judged(events)
    assert problems(verdict) == {"lost": 1}
    assert not verdict.ok
    assert not verdict.settled
    assert len(verdict.examples) == 1
    assert verdict.examples[0].startswith(f"lost: {missing.stream} 202")


def test_shorter_history_is_not_a_loss() -> None:
    assert judged(right()[HISTORY:]).ok
    assert problems(judged(right()[HISTORY + 1 :])) == {"lost": 1}


def test_what_was_not_over_at_the_horizon_need_not_have_come() -> None:
    events = right()
    last = events.pop()
    assert judged(events, horizon_ms=last.close_time_ms).ok
    assert problems(judged(events, horizon_ms=last.close_time_ms + 1)) == {"lost": 1}


def test_what_came_beyond_the_horizon_has_to_be_right_all_the_same() -> None:
    events = right()
    events[-1] = events[-1].replace(trades=(events[-1].trades or 0) + 1)
    assert problems(judged(events, horizon_ms=events[-2].close_time_ms)) == {"wrong": 1}


def test_as_far_as_delivered_excuses_the_end_and_nothing_else() -> None:
    events = right()[:-4]
    assert judged(events, as_far_as_delivered=True).ok
    del events[-2]
    assert problems(judged(events, as_far_as_delivered=True)) == {"lost": 1}


def test_a_repeated_candle_is_duplicated() -> None:
    events = right()
    assert problems(judged([*events[:5], events[4], *events[5:]])) == {"duplicated": 1}
    assert problems(judged([*events, *events])) == {"duplicated": len(events)}


def test_a_late_candle_is_out_of_order_and_not_lost() -> None:
    events = right()
    events[5], events[6] = events[6], events[5]
    assert problems(judged(events)) == {"out_of_order": 1}


@pytest.mark.parametrize("field", ["open", "high", "low", "close", "volume", "quote_volume", "taker_buy_volume"])
def test_one_wrong_digit_is_wrong(field: str) -> None:
    events = right()
    events[5] = events[5].replace(**{field: getattr(events[5], field) + Decimal("0.00000001")})
    assert problems(judged(events)) == {"wrong": 1}


@pytest.mark.parametrize(
    "change",
    [{"trades": 0}, {"closed": False}, {"complete": False}, {"close_time_ms": 1}, {"taker_buy_quote_volume": None}],
    ids=str,
)
def test_anything_else_that_differs_is_wrong(change: dict[str, object]) -> None:
    events = right()
    events[5] = events[5].replace(**change)
    assert problems(judged(events)) == {"wrong": 1}


def test_a_candle_that_is_not_over_is_wrong() -> None:
    row = next(iter(MARKET.truth("BTCUSDT", MINUTES.timeframe, right()[-1].next_open_time_ms, END_MS + MINUTE_MS)))
    assert problems(judged([*right(), candle(row)])) == {"wrong": 1}


def test_a_candle_of_an_interval_that_does_not_exist_is_wrong() -> None:
    events = right()
    middle = events[5].replace(open_time_ms=events[5].open_time_ms + 1)
    assert problems(judged([*events[:6], middle, *events[6:]])) == {"wrong": 1}


def test_an_event_of_a_stream_that_nobody_asked_for_is_wrong() -> None:
    verdict = judged([*right(), *right(OTHER)[:2]])
    assert problems(verdict) == {"wrong": 2}
    assert len(verdict.examples) == 1


def test_a_gap_is_a_loss_until_revisions_fill_it() -> None:
    events: list[Event] = [*right()]
    hole = right()[5:8]
    events[5:8] = [gap(*hole)]
    verdict = judged(events)
    assert problems(verdict) == {"lost": 3}
    assert verdict.gaps == 1
    events += [Revision(candle.replace(revision=1)) for candle in hole[:2]]
    assert problems(judged(events)) == {"lost": 1}
    verdict = judged([*events, Revision(hole[2].replace(revision=1))])
    assert verdict.ok
    assert verdict.revisions == 3


def test_a_gap_at_the_end_moves_what_is_due() -> None:
    events = right()
    assert problems(judged([*events[:-2], gap(*events[-2:])], as_far_as_delivered=True)) == {"lost": 1}


def test_a_candle_is_no_revision() -> None:
    events = right()
    assert problems(judged([*events[:5], gap(events[5]), *events[6:], events[5]])) == {"out_of_order": 1}


def test_a_gap_over_what_was_delivered_is_out_of_order() -> None:
    events = right()
    assert problems(judged([*events, gap(*events[5:8])])) == {"out_of_order": 1}


def test_a_gap_that_the_venue_has_too_is_right() -> None:
    market = Market(7, START_MS, default_symbols(1), history_ms=10 * MINUTE_MS)
    first = MINUTES.timeframe.floor(START_MS) + 2 * MINUTE_MS
    market.halt(None, first, first + 3 * MINUTE_MS)
    rows = [candle(row) for row in market.truth("BTCUSDT", MINUTES.timeframe, first - MINUTE_MS, END_MS)]
    assert rows[1].open_time_ms == first + 3 * MINUTE_MS
    outage = Gap(MINUTES, first, first + 2 * MINUTE_MS, GapReason.VENUE)
    judge = Judge([MINUTES], lambda s, a, b: market.truth(s.symbol, s.timeframe, a, b), first - MINUTE_MS)
    events: list[Event] = [rows[0], outage, *rows[1:]]
    for event in events:
        judge.take(event)
    verdict = judge.verdict(END_MS, END_MS)
    assert verdict.ok
    assert verdict.gaps == 1


def test_a_revision_heals_a_wrong_candle_and_spoils_a_right_one() -> None:
    events = right()
    bad = events[5].replace(volume=events[5].volume + 1)
    assert judged([*events[:5], bad, *events[6:], Revision(events[5].replace(revision=1))]).ok
    assert problems(judged([*events, Revision(bad.replace(revision=1))])) == {"wrong": 1}


def test_a_revision_that_changes_nothing_is_duplicated() -> None:
    events = right()
    assert problems(judged([*events, Revision(events[5].replace(revision=1))])) == {"duplicated": 1}


def test_a_revision_before_its_candle_is_out_of_order() -> None:
    events = right()
    assert problems(judged([*events[:5], Revision(events[5]), *events[6:]])) == {"out_of_order": 1}


def test_a_correction_of_the_market_asks_for_a_revision() -> None:
    market = Market(7, START_MS, default_symbols(1), history_ms=10 * MINUTE_MS)

    def rows() -> list[Candle]:
        return [candle(row) for row in market.truth("BTCUSDT", MINUTES.timeframe, START_MS - MINUTE_MS, END_MS)]

    before = rows()
    judge = Judge([MINUTES], lambda s, a, b: market.truth(s.symbol, s.timeframe, a, b), START_MS)
    for each in before:
        judge.take(each)
    assert market.correct("BTCUSDT", before[3].open_time_ms, END_MS)
    assert problems(judge.verdict(END_MS, END_MS)) == {"wrong": 1}
    judge.take(Revision(rows()[3].replace(revision=1)))
    assert judge.verdict(END_MS, END_MS).ok


def test_closed_books_keep_what_was_found() -> None:
    events = right()
    wrong = events[6].replace(volume=events[6].volume + 1)
    judge = Judge([MINUTES], truth, START_MS)
    said: list[Event] = [*events[:5], gap(events[5]), wrong, *events[7:]]
    for event in said:
        judge.take(event)
    before = judge.verdict(END_MS, END_MS)
    assert problems(before) == {"lost": 1, "wrong": 1}
    judge.close_books(END_MS)
    assert judge.verdict(END_MS, END_MS) == before
    judge.take(events[2])
    assert problems(judge.verdict(END_MS, END_MS)) == {"lost": 1, "wrong": 1, "duplicated": 1}
    judge.take(Revision(events[5].replace(revision=1)))
    judge.take(Revision(events[6].replace(revision=1)))
    assert problems(judge.verdict(END_MS, END_MS)) == {"duplicated": 1}
    judge.take(Revision(wrong.replace(revision=2)))
    assert problems(judge.verdict(END_MS, END_MS)) == {"duplicated": 1, "wrong": 1}


def test_what_comes_after_the_books_were_closed_is_late_and_not_lost() -> None:
    events = right()
    judge = Judge([MINUTES], truth, START_MS)
    for event in (*events[:5], *events[6:]):
        judge.take(event)
    judge.close_books(END_MS)
    assert problems(judge.verdict(END_MS, END_MS)) == {"lost": 1}
    judge.take(events[5])
    assert problems(judge.verdict(END_MS, END_MS)) == {"out_of_order": 1}


def test_books_are_not_closed_beyond_what_was_delivered() -> None:
    events = right()
    judge = Judge([MINUTES], truth, START_MS)
    for event in events[:6]:
        judge.take(event)
    judge.close_books(END_MS)
    for event in events[6:]:
        judge.take(event)
    assert judge.verdict(END_MS, END_MS).ok


@given(st.data())
def test_closing_books_at_any_time_changes_no_verdict(data: st.DataObject) -> None:
    events: list[Event] = [*right()]
    for index in data.draw(st.lists(st.integers(1, len(events) - 2), max_size=3)):
        chosen = events[index]
        if isinstance(chosen, Candle):
            wrong: list[Event] = [gap(chosen), chosen.replace(volume=chosen.volume + 1)]
            events[index] = data.draw(st.sampled_from(wrong))
    revised = data.draw(st.lists(st.sampled_from(right()), max_size=3, unique_by=lambda c: c.open_time_ms))
    events += [Revision(candle.replace(revision=1)) for candle in revised]
    plain, closing = Judge([MINUTES], truth, START_MS), Judge([MINUTES], truth, START_MS)
    for event in events:
        plain.take(event)
        closing.take(event)
        # Books are closed long after the fact; a revision that changes nothing is not told apart by then.
        if not isinstance(event, Revision) and data.draw(st.booleans()):
            closing.close_books(START_MS + data.draw(st.integers(-5, 2)) * MINUTE_MS)
    one, other = plain.verdict(END_MS, END_MS), closing.verdict(END_MS, END_MS)
    assert evolve(one, duplicated=0, examples=()) == evolve(other, duplicated=0, examples=())


@given(st.data())
def test_no_single_mistake_goes_unnoticed(data: st.DataObject) -> None:
    events = right()
    index = data.draw(st.integers(1, len(events) - 2))
    kind = data.draw(st.sampled_from(["drop", "repeat", "delay", "alter"]))
    if kind == "drop":
        del events[index]
        expected = {"lost": 1}
    elif kind == "repeat":
        events.insert(data.draw(st.integers(index, len(events))), events[index])
        expected = {"duplicated": 1}
    elif kind == "delay":
        events.insert(data.draw(st.integers(index + 1, len(events) - 1)), events.pop(index))
        expected = {"out_of_order": 1}
    else:
        digit = Decimal(data.draw(st.sampled_from(["0.00000001", "1", "-0.01"])))
        name = data.draw(st.sampled_from(["open", "high", "low", "close", "volume", "quote_volume"]))
        events[index] = events[index].replace(**{name: getattr(events[index], name) + digit})
        expected = {"wrong": 1}
    assert problems(judged(events)) == expected
