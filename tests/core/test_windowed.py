"""Venues whose answers cover only so many intervals from their start on: outages longer than one answer."""

from __future__ import annotations

import random
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from candleactors.core.continuity import Continuity
from candleactors.core.continuity_rules import ContinuityRules
from candleactors.core.fetch import Fetch, Urgency
from candleactors.model import Candle, Event, Gap, GapReason, Source, Stream, Timeframe

MINUTE = 60_000
START = 1_700_000_040_000  # a whole minute
FAR = START * 2
STREAM = Stream("okx", "BTC-USDT", Timeframe("1m"))


def at(n: int) -> int:
    return START + n * MINUTE


def row(n: int, *, closed: bool = True, source: Source = Source.REST) -> Candle:
    value = Decimal(100 + n % 50)
    return Candle(
        venue=STREAM.venue, symbol=STREAM.symbol, timeframe=STREAM.timeframe, open_time_ms=at(n),
        close_time_ms=at(n + 1) - 1, open=value, high=value, low=value, close=value, volume=value,
        quote_volume=value, trades=None, taker_buy_volume=None, taker_buy_quote_volume=None, closed=closed,
        complete=True, source=source, revision=0, received_ms=at(n),
    )  # fmt: skip


def resumed(*, max_rows: int = 10, windowed: bool = True) -> Continuity:
    rules = ContinuityRules(windowed=windowed, max_rows=max_rows, verify_interval_s=None, deadline_s=1e9)
    return Continuity(STREAM, rules, 0.0, resume_after_ms=at(0))


def answer(continuity: Continuity, rows: list[Candle], now_s: float, venue_now_ms: int) -> list[Event]:
    events, fetch = continuity.tick(now_s, venue_now_ms)
    assert events == []
    assert fetch is not None
    continuity.asked(fetch, now_s)
    return continuity.on_rows(fetch, rows, now_s, venue_now_ms)


def gap(first: int, last: int) -> Gap:
    return Gap(STREAM, at(first), at(last), GapReason.VENUE)


def test_an_empty_window_that_has_passed_is_passed_over() -> None:
    continuity = resumed()
    assert answer(continuity, [], 0.0, at(50) + 30_000) == [gap(1, 10)]
    assert answer(continuity, [], 0.0, at(50) + 30_000) == [gap(11, 20)]
    assert answer(continuity, [row(25), row(26)], 0.0, at(50) + 30_000) == [
        gap(21, 24), row(25), row(26), gap(27, 30)
    ]  # fmt: skip


def test_a_window_that_still_runs_never_is() -> None:
    continuity = resumed()
    assert answer(continuity, [], 0.0, at(9) + 30_000) == []
    assert answer(continuity, [], 100.0, at(11) + 9_000) == [], "what has just ended may be late"
    assert answer(continuity, [], 200.0, at(11) + 11_000) == [gap(1, 10)]
    assert continuity.expected_ms == at(11)


def test_a_full_answer_shows_no_end() -> None:
    continuity = resumed(max_rows=3)
    assert answer(continuity, [row(1), row(2), row(3)], 0.0, at(50) + 30_000) == [row(1), row(2), row(3)]


def test_without_windows_an_empty_answer_proves_nothing() -> None:
    continuity = resumed(windowed=False)
    assert answer(continuity, [], 0.0, at(50) + 30_000) == []


def test_what_the_socket_brought_inside_is_kept() -> None:
    continuity = resumed()
    told = row(5, source=Source.WS)
    continuity.on_closed(told, 0.0, FAR)
    _, fetch = continuity.tick(2.0, at(50) + 30_000)
    assert fetch is not None
    events = continuity.on_rows(Fetch(STREAM, at(1), 10, Urgency.HOLE), [], 2.0, at(50) + 30_000)
    assert events == [gap(1, 4), told, gap(6, 10)]


def test_the_end_of_an_outage_is_asked_about_at_once() -> None:
    """However rarely it was asked while nothing came: the deadline of the hole runs from now on."""
    continuity = resumed(windowed=False)
    for n in range(8):
        continuity.on_rows(Fetch(STREAM, at(1), 10, Urgency.OVERDUE), [], 60.0 * n, at(n + 2))
    assert continuity.tick(450.0, at(9)) == ([], None)
    continuity.on_open(at(9), at(9), 451.0, FAR)
    _, fetch = continuity.tick(452.0, at(9) + 2_000)
    assert fetch is not None
    assert fetch.urgency is Urgency.HOLE


def test_the_newest_rows_have_no_window() -> None:
    continuity = resumed()
    reading = Fetch(STREAM, None, 3, Urgency.DOUBT)
    assert continuity.on_rows(reading, [row(1)], 0.0, at(50) + 30_000) == [row(1)]


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32), minutes=st.integers(10, 200), max_rows=st.integers(2, 30))
def test_no_outage_stalls_and_nothing_the_venue_has_is_passed_over(seed: int, minutes: int, max_rows: int) -> None:
    """REST alone, from far behind to the present; replicas lag."""
    rng = random.Random(seed)
    exists = {0}
    while max(exists) < minutes:
        first = max(exists) + rng.choice([1, 1, 1, rng.randint(2, 3 * max_rows)])
        exists.update(range(first, first + rng.randint(1, 20)))
    exists = {n for n in exists if n <= minutes}
    continuity = resumed(max_rows=max_rows)
    now_s, out, fetches = 60.0 * rng.randint(1, minutes), list[Event](), 0
    while now_s < 60.0 * (minutes + 3 * max_rows + 5):
        venue_ms = START + round(now_s * 1_000)
        events, fetch = continuity.tick(now_s, venue_ms)
        out += events
        if fetch is not None:
            fetches += 1
            continuity.asked(fetch, now_s)
            seen_s = now_s - rng.choice([0.0, rng.uniform(0, 9.5)])
            assert fetch.start_ms is not None
            first = (fetch.start_ms - START) // MINUTE
            rows = [
                row(n, closed=60.0 * (n + 1) <= now_s)
                for n in range(first, first + fetch.limit)
                if n in exists and 60.0 * n <= seen_s
            ]
            out += continuity.on_rows(fetch, rows, now_s, venue_ms)
        now_s += rng.choice([0.2, 1.0, 5.0])
    given_: list[int] = []
    for event in out:
        if isinstance(event, Gap):
            passed = [(ms - START) // MINUTE for ms in range(event.first_open_ms, event.last_open_ms + 1, MINUTE)]
            assert not exists & set(passed)
            assert event.reason is GapReason.VENUE
            given_ += passed
        else:
            assert isinstance(event, Candle)
            given_.append((event.open_time_ms - START) // MINUTE)
    assert given_ == list(range(1, len(given_) + 1))
    assert exists - {0} <= set(given_)
    assert fetches <= 8 * (minutes + 3 * max_rows + 5)
