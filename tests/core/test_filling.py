"""Venues that have no candle for intervals without trades: what is filled in, when, and what corrects it."""

from __future__ import annotations

import random
from decimal import Decimal

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from candleactors.core.continuity import Continuity
from candleactors.core.continuity_rules import ContinuityRules
from candleactors.core.fetch import Fetch, Urgency
from candleactors.core.filling import flat_candle
from candleactors.model import Candle, Event, Gap, GapReason, Revision, Source, Stream, Timeframe

MINUTE = 60_000
START = 1_700_000_040_000  # a whole minute
FAR = START * 2
STREAM = Stream("bitfinex", "tBTCUSD", Timeframe("1m"))
DAY = 1_440


def at(n: int) -> int:
    return START + n * MINUTE


def candle(n: int, price: int = 100, *, volume: int = 1, closed: bool = True, source: Source = Source.WS) -> Candle:
    value = Decimal(price)
    return Candle(
        venue=STREAM.venue, symbol=STREAM.symbol, timeframe=STREAM.timeframe, open_time_ms=at(n),
        close_time_ms=at(n + 1) - 1, open=value, high=value, low=value, close=value, volume=Decimal(volume),
        quote_volume=None, trades=None, taker_buy_volume=None, taker_buy_quote_volume=None, closed=closed,
        complete=True, source=source, revision=0, received_ms=at(n),
    )  # fmt: skip


def row(n: int, price: int = 100, *, closed: bool = True) -> Candle:
    return candle(n, price, closed=closed, source=Source.REST)


def flat(n: int, price: int = 100) -> Candle:
    return flat_candle(STREAM, at(n), Decimal(price), 0)


def told(event: Event) -> tuple[int, int, str]:
    """The minute, the close and the source."""
    assert isinstance(event, Candle)
    return (event.open_time_ms - START) // MINUTE, int(event.close), event.source.value


def resumed(last: Candle, **rules: object) -> Continuity:
    """A continuity that goes on after `last`, and compares nothing by itself unless told to."""
    chosen = ContinuityRules(fills=True, **({"verify_interval_s": None} | rules))  # type: ignore[arg-type]  # any rule
    return Continuity(STREAM, chosen, 0.0, resume_after_ms=last.open_time_ms, recent=(last,))


def wish(continuity: Continuity, now_s: float, venue_now_ms: int) -> Fetch:
    events, fetch = continuity.tick(now_s, venue_now_ms)
    assert events == []
    assert fetch is not None
    continuity.asked(fetch, now_s)
    return fetch


def answer(continuity: Continuity, rows: list[Candle], now_s: float, venue_now_ms: int) -> list[Event]:
    return continuity.on_rows(wish(continuity, now_s, venue_now_ms), rows, now_s, venue_now_ms)


def test_a_flat_candle_is_closed_and_says_that_nothing_was_traded() -> None:
    filled = flat_candle(STREAM, at(7), Decimal("1.50"), 99)
    assert (filled.stream, filled.open_time_ms, filled.close_time_ms) == (STREAM, at(7), at(8) - 1)
    assert {str(price) for price in (filled.open, filled.high, filled.low, filled.close)} == {"1.50"}
    assert filled.values()[4:] == (Decimal(0), None, None, None, None)
    assert (filled.closed, filled.source, filled.revision) == (True, Source.FILLED, 0)
    assert filled.received_ms == 99


def test_what_a_later_row_leaves_out_had_no_trades() -> None:
    continuity = resumed(row(0, 7))
    events = answer(continuity, [row(3, 9), row(4, closed=False)], 60.0, at(4) + 30_000)
    assert [told(event) for event in events] == [(1, 7, "filled"), (2, 7, "filled"), (3, 9, "rest")]


def test_the_time_that_has_passed_proves_it_too_but_not_too_early() -> None:
    continuity = resumed(row(0, 7))
    assert answer(continuity, [], 60.0, at(2) + 9_999) == [], "a replica may not have it yet"
    events = answer(continuity, [], 70.0, at(2) + 10_001)
    assert [told(event) for event in events] == [(1, 7, "filled")]
    assert continuity.expected_ms == at(2), "which is still running"


def test_a_market_that_has_ended_is_not_filled() -> None:
    continuity = resumed(row(0, 7), heartbeats=True)
    continuity.on_alive(at(3) + 30_000)
    fetch = wish(continuity, 600.0, at(9) + 30_000)
    events = continuity.on_rows(fetch, [], 600.0, at(9) + 30_000)
    assert [told(event)[0] for event in events] == [1, 2], "of what came later nobody knows whether it was traded"
    continuity.on_open(at(9), at(9), 601.0, FAR)
    fetch = wish(continuity, 602.0, at(9) + 32_000)
    events = continuity.on_rows(fetch, [row(9, closed=False)], 602.0, at(9) + 32_000)
    assert [told(event)[0] for event in events] == [3, 4, 5, 6, 7, 8]


def test_minutes_without_trades_in_a_gap_are_filled_once_rest_answers() -> None:
    continuity = resumed(row(0, 7), deadline_s=5.0)
    continuity.on_closed(candle(4, 8), 60.0, FAR)
    continuity.on_fetch_failed(wish(continuity, 61.0, at(5)), 61.0)
    events, _ = continuity.tick(66.0, at(5) + 5_000)
    assert events == [Gap(STREAM, at(1), at(3), GapReason.UNREPAIRED), candle(4, 8)]
    _, fetch = continuity.tick(75.0, at(5) + 15_000)
    assert fetch is not None
    assert (fetch.urgency, fetch.start_ms) == (Urgency.GAP, at(1 - 1_440))
    events = continuity.on_rows(fetch, [row(0, 7), row(2, 9), row(4, 8)], 76.0, at(5) + 16_000)
    assert sorted(told(event.candle) for event in events if isinstance(event, Revision)) == [
        (1, 7, "filled"),
        (2, 9, "rest"),
        (3, 9, "filled"),
    ]


def test_a_forming_row_right_after_its_open_proves_nothing_yet() -> None:
    continuity = resumed(row(0))
    assert answer(continuity, [row(3, closed=False)], 60.0, at(3) + 5_000) == []
    events = answer(continuity, [row(3, closed=False)], 80.0, at(3) + 11_000)
    assert [told(event)[0] for event in events] == [1, 2]


def test_an_answer_that_may_go_on_proves_nothing_behind_its_last_row() -> None:
    continuity = resumed(row(0), max_rows=2)
    events = answer(continuity, [row(1), row(3)], 600.0, at(9) + 30_000)
    assert [told(event)[0] for event in events] == [1, 2, 3]
    events = answer(continuity, [row(7)], 601.0, at(9) + 31_000)
    assert [told(event)[0] for event in events] == [4, 5, 6, 7, 8]


def test_a_window_ends_what_an_answer_can_prove() -> None:
    continuity = resumed(row(0), max_rows=3, windowed=True)
    events = answer(continuity, [], 600.0, at(9) + 30_000)
    assert [told(event)[0] for event in events] == [1, 2, 3]


def test_trades_in_a_filled_interval_are_a_revision() -> None:
    continuity = resumed(row(0, 7), verify_interval_s=600.0)
    answer(continuity, [row(2, 9), row(3, closed=False)], 0.0, at(3) + 30_000)
    rows = [row(0, 7), row(1, 8), row(2, 9), row(3, closed=False)]
    assert answer(continuity, rows, 61.0, at(3) + 50_000) == [], "said for the first time"
    [event] = answer(continuity, rows, 67.0, at(3) + 56_000)
    assert event == Revision(row(1, 8).replace(revision=1))


def test_a_corrected_close_corrects_what_repeats_it() -> None:
    continuity = resumed(row(0, 7), verify_interval_s=600.0)
    events = answer(continuity, [row(1, 8), row(4, 9), row(5, closed=False)], 0.0, at(5) + 30_000)
    assert [told(event)[1] for event in events] == [8, 8, 8, 9]
    rows = [row(0, 7), row(1, 6), row(4, 9), row(5, closed=False)]
    assert answer(continuity, rows, 61.0, at(5) + 50_000) == []
    revised = answer(continuity, rows, 67.0, at(5) + 56_000)
    assert all(isinstance(event, Revision) for event in revised)
    assert [told(event.candle) for event in revised if isinstance(event, Revision)] == [
        (1, 6, "rest"),
        (2, 6, "filled"),
        (3, 6, "filled"),
    ]
    assert {event.candle.revision for event in revised if isinstance(event, Revision)} == {1}


def test_a_corrected_close_counts_for_what_is_filled_later() -> None:
    continuity = resumed(row(0, 7))
    answer(continuity, [row(1, 8)], 60.0, at(2) + 30_000)
    continuity.on_closed(candle(1, 6), 61.0, FAR)
    assert len(answer(continuity, [row(1, 6)], 70.0, at(2) + 40_000)) == 1
    events = answer(continuity, [], 120.0, at(3) + 20_000)
    assert [told(event) for event in events] == [(2, 6, "filled")]


def test_the_next_one_knows_what_was_filled() -> None:
    before = resumed(row(0, 7))
    answer(before, [row(1, 8), row(3, 9), row(4, closed=False)], 60.0, at(4) + 30_000)
    after = Continuity(
        STREAM, ContinuityRules(fills=True, verify_interval_s=None), 70.0, resume_after_ms=at(3), memory=before.memory
    )
    after.on_closed(candle(1, 6), 70.0, FAR)
    rows = [row(1, 6), row(3, 9), row(4, closed=False)]
    assert len(answer(after, rows, 80.0, at(4) + 40_000)) == 2
    events = answer(after, [], 120.0, at(5) + 20_000)
    assert [told(event) for event in events] == [(4, 9, "filled")]


def test_what_the_socket_filled_repeats_what_was_delivered_before() -> None:
    """Its session had not seen what REST said since."""
    continuity = resumed(row(0, 7))
    assert continuity.on_closed(flat(2, 8), 60.0, FAR) == []
    events = answer(continuity, [row(1, 9), row(3, closed=False)], 65.0, at(3) + 15_000)
    assert [told(event) for event in events] == [(1, 9, "rest"), (2, 9, "filled")]


def test_a_doubt_that_rest_has_no_row_for_is_dropped() -> None:
    continuity = resumed(row(0, 7))
    answer(continuity, [row(2, 9), row(3, closed=False)], 60.0, at(3) + 30_000)
    continuity.on_closed(candle(1, 8), 61.0, FAR)
    rows = [row(2, 9), row(3, closed=False)]
    assert wish(continuity, 70.0, at(3) + 40_000).urgency is Urgency.DOUBT
    fetch = Fetch(STREAM, at(1), 3, Urgency.DOUBT)
    assert continuity.on_rows(fetch, rows, 70.0, at(3) + 40_000) == []
    for now_s in range(170, 3_000, 60):
        continuity.on_closed(candle(3 + (now_s - 170) // 60), now_s, FAR)
        _, asked = continuity.tick(now_s, at(4 + (now_s - 170) // 60))
        assert asked is None or asked.urgency is not Urgency.DOUBT


def test_weeks_without_a_trade_are_one_gap_and_little_work() -> None:
    continuity = resumed(row(0, 7))
    days = 60
    events = answer(continuity, [], 60.0, at(days * DAY) + 30_000)
    assert events == [Gap(STREAM, at(1), at(days * DAY - 1), GapReason.VENUE)]
    events = answer(continuity, [], 120.0, at(days * DAY + 1) + 30_000)
    assert [told(event) for event in events] == [(days * DAY, 7, "filled")], "the close is still known"


def test_a_quiet_market_starts_with_its_last_intervals_not_its_last_rows() -> None:
    continuity = Continuity(STREAM, ContinuityRules(fills=True, history=5), 0.0)
    rows = [row(-900_000 + 90_000 * n, n) for n in range(10)] + [row(-3, 20), row(-1, 21)]
    fetch = wish(continuity, 0.0, at(0) + 30_000)
    events = continuity.on_rows(fetch, rows[-fetch.limit :], 0.0, at(0) + 30_000)
    events += answer(continuity, [], 60.0, at(1) + 30_000)
    assert [told(event) for event in events] == [
        (-5, 9, "filled"),
        (-4, 9, "filled"),
        (-3, 20, "rest"),
        (-2, 20, "filled"),
        (-1, 21, "rest"),
        (0, 21, "filled"),
    ]


@pytest.mark.parametrize("history", [0, 5])
def test_a_market_asleep_for_a_year_starts_now(history: int) -> None:
    continuity = Continuity(STREAM, ContinuityRules(fills=True, history=history), 0.0)
    fetch = wish(continuity, 0.0, at(0) + 30_000)
    events = continuity.on_rows(fetch, [row(-400 * DAY - n, 7) for n in range(fetch.limit, 0, -1)], 0.0, at(0) + 30_000)
    assert events == []
    events = answer(continuity, [], 60.0, at(1) + 30_000)
    assert [told(event) for event in events] == [(n, 7, "filled") for n in range(-history, 1)]


def test_one_answer_fills_only_so_much_and_the_rest_is_asked_for_at_once() -> None:
    continuity = resumed(row(0, 7))
    apart = 6_000
    traded = [row(apart * n, n) for n in range(1, 50)]
    now_ms = at(apart * 49 + 1) + 30_000
    delivered: list[Event] = []
    answers = 0
    while continuity.expected_ms != at(apart * 49 + 1):
        fetch = wish(continuity, 60.0, now_ms)
        assert fetch.start_ms is not None
        rows = [r for r in traded if r.open_time_ms >= fetch.start_ms][: fetch.limit]
        events = continuity.on_rows(fetch, rows, 60.0, now_ms)
        answers += 1
        assert 0 < len(events) <= 10_100
        delivered += events
    assert [told(event)[0] for event in delivered] == list(range(1, apart * 49 + 1))
    assert answers <= 50


def test_behind_an_unrepaired_gap_nothing_is_filled_until_the_last_close_is_known() -> None:
    continuity = resumed(row(0, 7), deadline_s=5.0)
    continuity.on_closed(flat(2, 8), 60.0, FAR)
    continuity.on_fetch_failed(wish(continuity, 61.0, at(3)), 61.0)
    events, _ = continuity.tick(66.0, at(3) + 5_000)
    assert events == [Gap(STREAM, at(1), at(1), GapReason.UNREPAIRED), flat(2, 8)]

    continuity = resumed(row(0, 7), deadline_s=5.0)
    continuity.on_open(at(3), at(3), 60.0, FAR)
    continuity.on_fetch_failed(wish(continuity, 61.0, at(3) + 1_000), 61.0)
    events, _ = continuity.tick(66.0, at(3) + 5_000)
    assert events == [Gap(STREAM, at(1), at(2), GapReason.UNREPAIRED)]
    fetch = wish(continuity, 120.0, at(4) + 4_000)
    continuity.on_fetch_failed(fetch, 120.0)
    unknown = Fetch(STREAM, at(3), 4, Urgency.OVERDUE)
    assert continuity.on_rows(unknown, [], 121.0, at(4) + 30_000) == [], "nobody knows at what price it is flat"
    gap = Fetch(STREAM, at(1), 4, Urgency.GAP)
    events = continuity.on_rows(gap, [row(1, 9)], 122.0, at(4) + 31_000)
    revisions = [event.candle for event in events if isinstance(event, Revision)]
    assert sorted(map(told, revisions)) == [(1, 9, "rest"), (2, 9, "filled")]
    assert [told(event) for event in events if isinstance(event, Candle)] == [(3, 9, "filled")]


def test_a_stored_gap_hides_the_last_close_too() -> None:
    gap = Gap(STREAM, at(1), at(2), GapReason.UNREPAIRED)
    rules = ContinuityRules(fills=True, verify_interval_s=None)
    continuity = Continuity(STREAM, rules, 0.0, resume_after_ms=at(2), gaps=(gap,), recent=(row(0, 7),))
    fetch = Fetch(STREAM, at(3), 4, Urgency.OVERDUE)
    assert continuity.on_rows(fetch, [], 0.0, at(4) + 30_000) == []
    assert [told(e) for e in continuity.on_rows(fetch, [row(4, 9)], 60.0, at(5) + 30_000) if isinstance(e, Candle)] == [
        (4, 9, "rest")
    ]


class TestInferredCloses:
    """What the socket inferred is compared with REST before long."""

    def test_within_two_minutes_and_for_several_at_once(self) -> None:
        continuity = resumed(candle(0), verify_interval_s=600.0, confirms=True)
        continuity.asked(wish(continuity, 60.0, at(1) + 30_000), 60.0)  # the first one, early after a restart
        inferred_s: list[float] = []
        waits, compared = [], 0
        for now_s in range(90, 1_800):
            n = now_s // 60
            if now_s % 60 == 31:
                assert len(continuity.on_closed(candle(n), now_s, FAR)) == 1
                inferred_s.append(now_s)
            _, fetch = continuity.tick(now_s, at(n) + (now_s % 60 + 30) * 1_000)
            if fetch is not None:
                assert fetch.urgency is Urgency.VERIFY
                continuity.asked(fetch, now_s)
                compared += 1
                done = [s for s in inferred_s if s <= now_s - 15]
                waits += [now_s - s for s in done]
                inferred_s = [s for s in inferred_s if s not in done]
        assert max(waits) <= 135.0
        assert 10 <= compared <= 16

    def test_what_is_too_fresh_for_one_comparison_gets_another(self) -> None:
        continuity = resumed(candle(0), verify_interval_s=600.0, confirms=True)
        continuity.on_closed(candle(1), 59.0, FAR)
        assert wish(continuity, 60.0, at(2) + 1_000).urgency is Urgency.VERIFY
        for now_s in range(61, 180):
            continuity.on_open(at(2), at(2), now_s, FAR)
            assert continuity.tick(now_s, at(2) + 1_000) == ([], None)
        assert wish(continuity, 180.0, at(2) + 2_000).urgency is Urgency.VERIFY

    def test_a_hole_is_asked_for_while_a_comparison_is_under_way(self) -> None:
        continuity = resumed(candle(0), verify_interval_s=600.0, confirms=True)
        assert wish(continuity, 60.0, at(1) + 30_000).urgency is Urgency.VERIFY
        continuity.on_closed(candle(3), 61.0, FAR)
        assert wish(continuity, 61.0, at(4)).urgency is Urgency.HOLE

    def test_one_that_fails_holds_no_hole_up_and_comes_again(self) -> None:
        continuity = resumed(candle(0), verify_interval_s=600.0, confirms=True)
        fetch = wish(continuity, 60.0, at(1) + 30_000)
        continuity.on_closed(candle(3), 61.0, FAR)
        continuity.on_fetch_failed(fetch, 61.0)
        fetch = wish(continuity, 61.0, at(4))
        assert fetch.urgency is Urgency.HOLE
        continuity.on_rows(fetch, [row(1), row(2), row(3), row(4, closed=False)], 62.0, at(4) + 15_000)
        continuity.on_open(at(4), at(4), 62.0, FAR)
        assert continuity.tick(179.0, at(4) + 20_000) == ([], None)
        assert wish(continuity, 181.0, at(4) + 21_000).urgency is Urgency.VERIFY

    def test_they_do_not_slow_down_the_polls_for_what_is_overdue(self) -> None:
        continuity = resumed(candle(0), verify_interval_s=600.0)
        rows = [row(0), row(1, closed=False)]
        for now_s in (60.0, 660.0, 1_260.0, 1_860.0, 2_460.0, 3_060.0):
            fetch = wish(continuity, now_s, at(1) + 30_000)
            assert fetch.urgency is Urgency.VERIFY
            assert continuity.on_rows(fetch, rows, now_s, at(1) + 30_000) == []
        assert answer(continuity, rows, 3_100.0, at(2) + 4_000) == []
        assert wish(continuity, 3_103.0, at(2) + 7_000).urgency is Urgency.OVERDUE

    def test_what_the_socket_delivers_ends_the_wait_for_the_next_poll(self) -> None:
        continuity = resumed(candle(0))
        now_s = 60.0
        for _ in range(8):
            rows = [row(0), row(1, closed=False)]
            fetch = Fetch(STREAM, at(1), 3, Urgency.OVERDUE)
            continuity.on_rows(fetch, rows, now_s, at(2) + 5_000)
        assert continuity.tick(now_s + 20.0, at(2) + 25_000) == ([], None)
        continuity.on_closed(candle(1), now_s + 21.0, FAR)
        assert wish(continuity, now_s + 25.0, at(3) + 4_000).urgency is Urgency.OVERDUE

    def test_without_comparisons_there_are_none(self) -> None:
        continuity = resumed(candle(0), confirms=True)
        continuity.on_closed(candle(1), 60.0, FAR)
        for now_s in range(60, 2_000, 10):
            assert continuity.tick(now_s, at(2) + 1_000) == ([], None)


class Market:
    """Trades at random instants of some minutes; a socket that errs and loses, replicas that lag."""

    def __init__(self, rng: random.Random, minutes: int) -> None:
        self.rng = rng
        activity = rng.choice([0.05, 0.3, 0.8])
        self.trades: dict[int, list[tuple[float, int]]] = {}
        for n in range(minutes):
            if n == 0 or rng.random() < activity:
                offsets = sorted(rng.uniform(0, 59.9) for _ in range(rng.randint(1, 3)))
                self.trades[n] = [(60.0 * n + offset, rng.randint(100, 999)) for offset in offsets]

    def candle(self, n: int, until_s: float, source: Source, *, closed: bool = True, less: int = 0) -> Candle | None:
        """The minute as far as `until_s`, without its last `less` trades."""
        prices = [price for when_s, price in self.trades.get(n, ()) if when_s <= until_s]
        prices = prices[: len(prices) - less] or prices
        return candle(n, prices[-1], volume=len(prices), closed=closed, source=source) if prices else None

    def rest(self, fetch: Fetch, now_s: float) -> list[Candle]:
        lag_s = self.rng.choice([0.0, 0.0, self.rng.uniform(0, 9.5)])
        rows = []
        for n in sorted(self.trades):
            made = self.candle(n, now_s - lag_s, Source.REST, closed=60.0 * (n + 1) <= now_s)
            if made is not None and (fetch.start_ms is None or made.open_time_ms >= fetch.start_ms):
                rows.append(made)
        return rows[-fetch.limit :] if fetch.start_ms is None else rows[: fetch.limit]

    def truth(self, n: int) -> tuple[int, int]:
        """Close and volume."""
        last = max(m for m in self.trades if m <= n)
        return self.trades[last][-1][1], len(self.trades[n]) if n in self.trades else 0


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32), minutes=st.integers(3, 40), resume=st.booleans(), alive=st.booleans())
def test_gapless_flat_and_corrected_whatever_the_socket_says(
    seed: int, minutes: int, resume: bool, alive: bool
) -> None:
    rng = random.Random(seed)
    market = Market(rng, minutes)
    rules = ContinuityRules(history=10, verify_interval_s=600.0, deadline_s=1e9, fills=True, confirms=True)
    rules = evolve(rules, heartbeats=alive)
    continuity = Continuity(STREAM, rules, 60.0, resume_after_ms=at(0) if resume else None)
    if resume:
        first = market.candle(0, 60.0, Source.REST)
        assert first is not None
        continuity = Continuity(STREAM, rules, 60.0, resume_after_ms=at(0), recent=(first,))
    loses, errs, fails = rng.choice([0.0, 0.3, 1.0]), rng.choice([0.0, 0.3]), rng.choice([0.0, 0.3])
    out: list[Event] = []
    socket: list[tuple[float, Candle]] = []
    answers: list[tuple[float, Fetch, list[Candle] | None, int]] = []
    now_s, closed_upto, fetches, session_close = 60.0, 1, 0, market.truth(0)[0]
    while now_s < 60.0 * (minutes + 10):
        now_s += rng.choice([0.2, 0.9, 3.0])
        venue_ms = START + round(now_s * 1_000)
        before = len(out)
        while closed_upto < int(now_s / 60.0):
            n, closed_upto = closed_upto, closed_upto + 1
            said = market.candle(n, now_s, Source.WS, less=rng.random() < errs) or flat(n, session_close)
            session_close = int(said.close)
            times = rng.choice([1, 1, 2]) if rng.random() >= loses else 0
            socket += [(now_s + rng.choice([0.1, rng.uniform(0, 100)]), said) for _ in range(times)]
        for message in [message for message in socket if message[0] <= now_s]:
            socket.remove(message)
            out += continuity.on_closed(message[1], now_s, venue_ms)
        forming = market.candle(int(now_s / 60.0), now_s, Source.WS, closed=False)
        if forming is not None and rng.random() >= loses:
            continuity.on_open(forming.open_time_ms, venue_ms, now_s, venue_ms)
        if alive:
            continuity.on_alive(venue_ms)
        if now_s >= continuity.next_check_s:
            events, fetch = continuity.tick(now_s, venue_ms)
            out += events
            if fetch is not None:
                fetches += 1
                continuity.asked(fetch, now_s)
                failed = now_s < 60.0 * minutes and rng.random() < fails
                rows = None if failed else market.rest(fetch, now_s)
                answers.append((now_s + rng.uniform(0, 5), fetch, rows, venue_ms))
        for reply in [reply for reply in answers if reply[0] <= now_s]:
            answers.remove(reply)
            _, fetch, rows, asked_ms = reply
            if rows is None:
                continuity.on_fetch_failed(fetch, now_s)
            else:
                out += continuity.on_rows(fetch, rows, now_s, asked_ms)
        for event in out[before:]:
            assert not isinstance(event, Gap)
            fresh = event.candle if isinstance(event, Revision) else event
            assert fresh.close_time_ms < venue_ms, "told before it was over"
    final: dict[int, Candle] = {}
    for event in out:
        assert not isinstance(event, Gap)
        if isinstance(event, Revision):
            known = final[told(event.candle)[0]]
            assert event.candle.revision == known.revision + 1
            assert not event.candle.same_values(known)
            final[told(event.candle)[0]] = event.candle
        else:
            n = told(event)[0]
            assert n not in final
            assert not final or n == max(final) + 1
            if event.source is Source.FILLED:
                assert n not in market.trades, "filled although there were trades"
                assert int(event.close) == int(final[n - 1].close) if n - 1 in final else True
            final[n] = event
    assert max(final) >= minutes + 8
    assert min(final) == 1 if resume else min(final) <= minutes
    for n, candle_ in final.items():
        assert (int(candle_.close), int(candle_.volume)) == market.truth(n)
        assert (candle_.source is Source.FILLED) == (n not in market.trades)
    assert fetches <= 8 * (minutes + 10) + 40
