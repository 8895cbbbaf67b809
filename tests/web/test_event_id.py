"""Event ids say a cursor, whole, and nothing else passes for one."""

from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from candleactors.instants import LATEST_MS
from candleactors.model import Cursor, Stream, Timeframe
from candleactors.web.event_id import EventIds, in_order, parse, since

STREAMS = in_order(
    Stream(venue, symbol, Timeframe(frame))
    for venue, symbol in (("binance-spot", "BTCUSDT"), ("okx", "币安人生-USDT"), ("bitfinex", "tBTCF0:USTF0"))
    for frame in ("1m", "7m", "1M")
)
CHOSEN = st.lists(st.sampled_from(STREAMS), min_size=1, unique=True)
MS = st.integers(0, 4_000_000_000_000)


@st.composite
def cursors(draw: st.DrawFn) -> tuple[list[Stream], Cursor]:
    streams = draw(CHOSEN)
    positions = {stream: stream.timeframe.floor(draw(MS)) for stream in streams}
    revised = draw(st.lists(st.tuples(st.sampled_from(streams), MS), max_size=4, unique=True))
    again = {stream: draw(MS) for stream in streams if draw(st.booleans())}
    return streams, Cursor(positions, tuple(revised), draw(st.integers(0, (1 << 48) - 1)), draw(MS), draw(MS), again)


@given(cursors(), st.randoms())
def test_what_is_said_is_understood_in_whatever_order_the_streams_are_named(
    drawn: tuple[list[Stream], Cursor], rng: object
) -> None:
    streams, cursor = drawn
    text = EventIds(streams, cursor).text()
    assert text.isascii()
    assert text.isprintable()
    assert parse(text, reversed(streams)) == cursor


@given(cursors(), st.data())
def test_each_event_moves_one_position(drawn: tuple[list[Stream], Cursor], data: st.DataObject) -> None:
    streams, cursor = drawn
    ids, after = EventIds(streams, cursor), dict(cursor.after)
    for _ in range(data.draw(st.integers(1, 5))):
        stream = data.draw(st.sampled_from(streams))
        after[stream] = stream.timeframe.next_open(after[stream])
        assert parse(ids.advance(stream, after[stream]), streams) == evolve(cursor, after=after)


def test_the_longest_of_two_hundred_streams_fits_into_a_header() -> None:
    streams = [Stream("binance-usdm", f"SYMBOL{n}USDT", Timeframe(f"{1 + n}m")) for n in range(200)]
    after = {stream: stream.timeframe.floor(1_795_303_740_000) for stream in streams}
    assert len(EventIds(streams, Cursor(after, (), 1 << 47, 9_999, 1_795_303_740_000)).text()) < 4_096


def test_a_reader_that_owes_much_keeps_the_id_from_before() -> None:
    stream = Stream("okx", "A", Timeframe("1m"))
    before = Cursor({stream: 0}, (), 7, 3, 60_000)
    ids = EventIds([stream], before)
    ids.rebase(Cursor({stream: 60_000}, tuple((stream, 60_000 * n) for n in range(65)), 7, 99, 120_000))
    assert parse(ids.advance(stream, 60_000), [stream]) == evolve(before, after={stream: 60_000})


def test_of_a_stream_without_a_candle_yet_everything_counts_that_closed_since() -> None:
    one, other = Stream("okx", "A", Timeframe("1m")), Stream("okx", "B", Timeframe("1h"))
    taken_ms = 1_795_303_745_000
    cursor = parse(EventIds([one, other], Cursor({one: 1_795_303_680_000}, taken_ms=taken_ms)).text(), [one, other])
    running_ms = other.timeframe.floor(taken_ms)
    assert cursor.after[other] < other.timeframe.previous_open(running_ms)


@pytest.mark.parametrize("start_ms", [119_999, 120_000])
def test_since_an_instant_is_the_first_candle_that_opens_then_or_later(start_ms: int) -> None:
    stream = Stream("okx", "A", Timeframe("1m"))
    assert since(Cursor(life=5, news=2), [stream], start_ms) == Cursor({stream: 60_000}, life=5, news=2)


def test_ids_of_other_streams_are_refused() -> None:
    text = EventIds(STREAMS[:2], Cursor(dict.fromkeys(STREAMS[:2], 0))).text()
    with pytest.raises(ValueError, match="for other streams"):
        parse(text, STREAMS[:3])


VALID = EventIds(STREAMS[:2], Cursor(dict.fromkeys(STREAMS[:2], 60_000), life=5, again={STREAMS[0]: 1})).text()


@given(st.integers(0, len(VALID)), st.integers(0, len(VALID)), st.text(max_size=3))
def test_what_was_tampered_with_is_refused_or_means_something(first: int, last: int, text: str) -> None:
    try:
        cursor = parse(VALID[:first] + text + VALID[last:], STREAMS[:2])
    except ValueError:
        return
    assert set(cursor.after) == set(STREAMS[:2])


def test_positions_beyond_every_calendar_are_refused() -> None:
    month = Stream("okx", "A", Timeframe("999M"))
    text = EventIds([month], Cursor({month: LATEST_MS}, taken_ms=LATEST_MS)).text()
    assert parse(text, [month]).taken_ms == LATEST_MS
    with pytest.raises(ValueError, match="not an event id"):
        parse(text.replace(f"{LATEST_MS:x}", f"{LATEST_MS + 1:x}"), [month])


@pytest.mark.parametrize("text", ["", "1", "~~~~~~~", "1795303740000", VALID + "~", "2" + VALID[1:], VALID * 400])
def test_what_is_no_id(text: str) -> None:
    with pytest.raises(ValueError, match="event id"):
        parse(text, STREAMS[:2])
