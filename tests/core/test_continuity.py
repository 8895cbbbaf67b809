"""The candle contract of one stream, against a model venue that loses, repeats, delays and corrects."""

from __future__ import annotations

import random
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from candleactors.core.continuity import Continuity
from candleactors.core.continuity_rules import ContinuityRules
from candleactors.core.fetch import Fetch, Urgency
from candleactors.model import Candle, Event, Gap, GapReason, Revision, Source, Stream, Timeframe

MINUTE = 60_000
START = 1_700_000_040_000  # a whole minute
FAR = START * 2


def stream(timeframe: str = "1m") -> Stream:
    return Stream("binance-spot", "BTCUSDT", Timeframe(timeframe))


def candle(open_ms: int, *, price: int = 0, closed: bool = True, source: Source = Source.WS, tf: str = "1m") -> Candle:
    timeframe = Timeframe(tf)
    value = Decimal(price or 100 + open_ms // MINUTE % 50)
    return Candle(
        venue="binance-spot", symbol="BTCUSDT", timeframe=timeframe, open_time_ms=open_ms,
        close_time_ms=timeframe.close_ms(open_ms), open=value, high=value, low=value, close=value, volume=value,
        quote_volume=value, trades=1, taker_buy_volume=value, taker_buy_quote_volume=value, closed=closed,
        complete=True, source=source, revision=0, received_ms=open_ms,
    )  # fmt: skip


def at(n: int) -> int:
    return START + n * MINUTE


def row(n: int, *, closed: bool = True, price: int = 0) -> Candle:
    return candle(at(n), closed=closed, source=Source.REST, price=price)


def started(upto: int, **rules: object) -> Continuity:
    """A continuity whose history, candles 0 to upto-1, is delivered."""
    continuity = Continuity(stream(), ContinuityRules(**rules), 0.0)  # type: ignore[arg-type]  # any rule
    events, fetch = continuity.tick(0.0, at(upto) + 30_000)
    assert events == []
    assert fetch is not None
    assert fetch.start_ms is None
    continuity.asked(fetch, 0.0)
    rows = [*(row(n) for n in range(upto)), row(upto, closed=False)]
    assert continuity.on_rows(fetch, rows, 0.0, at(upto) + 30_000) == rows[:-1]
    return continuity


def wish(continuity: Continuity, now_s: float, venue_now_ms: int) -> Fetch:
    events, fetch = continuity.tick(now_s, venue_now_ms)
    assert events == []
    assert fetch is not None
    continuity.asked(fetch, now_s)
    return fetch


def test_live_candles_pass_straight_through() -> None:
    continuity = started(3)
    assert continuity.on_open(at(3), at(3), 0.0, FAR)
    assert continuity.on_closed(candle(at(3)), 1.0, FAR) == [candle(at(3))]
    assert continuity.on_open(at(4), at(4), 1.0, FAR)
    assert not continuity.repairing


def test_a_hole_is_tried_often_until_its_deadline() -> None:
    continuity = started(3, deadline_s=30.0)
    assert continuity.on_closed(candle(at(5)), 1.0, FAR) == []
    tries, now_s = [], 1.0
    while continuity.expected_ms == at(3):
        now_s += 0.25
        _, fetch = continuity.tick(now_s, at(6))
        if fetch is not None:
            continuity.asked(fetch, now_s)
            continuity.on_fetch_failed(fetch, now_s)
            tries.append(now_s)
    assert now_s == 31.0, "the deadline"
    assert len(tries) >= 7
    assert now_s - tries[-1] <= 5.0
    assert tries[3] - tries[2] >= 2 * (tries[2] - tries[1]) - 0.25, "at growing intervals"


def test_a_repeated_close_is_delivered_once() -> None:
    continuity = started(3)
    assert len(continuity.on_closed(candle(at(3)), 1.0, FAR)) == 1
    assert continuity.on_closed(candle(at(3)), 1.0, FAR) == []
    assert continuity.counters.duplicates == 1


def test_a_hole_is_fetched_before_anything_later() -> None:
    continuity = started(3)
    assert continuity.on_closed(candle(at(5)), 10.0, FAR) == []
    assert not continuity.on_open(at(6), at(6), 10.0, FAR)
    fetch = wish(continuity, 10.0, at(6) + 1_000)
    assert fetch == Fetch(stream(), at(3), 5, Urgency.HOLE)
    rows = [row(3), row(4), row(5), row(6, closed=False)]
    events = continuity.on_rows(fetch, rows, 11.0, at(6) + 2_000)
    assert events == [row(3), row(4), candle(at(5))]
    assert continuity.on_open(at(6), at(6), 11.0, FAR)


def test_a_close_just_behind_the_next_update_needs_no_fetch() -> None:
    continuity = started(3)
    assert not continuity.on_open(at(4), at(4), 10.0, FAR)
    assert continuity.tick(10.2, at(4) + 200) == ([], None)
    assert continuity.on_closed(candle(at(3)), 10.4, FAR) == [candle(at(3))]
    assert continuity.on_open(at(4), at(4), 10.5, FAR)


def test_a_forming_candle_never_goes_back_in_time() -> None:
    """Two connections carry a stream while one replaces the other, and one of them is slow."""
    continuity = started(3)
    assert continuity.on_open(at(3), at(3) + 5_000, 0.0, FAR)
    assert not continuity.on_open(at(3), at(3) + 4_000, 0.1, FAR)
    assert continuity.on_open(at(3), at(3) + 5_000, 0.2, FAR)


def test_the_last_row_of_a_replica_that_lags_is_not_taken_for_final() -> None:
    continuity = started(3)
    fetch = wish(continuity, 5.0, at(4) + 5_000)
    assert fetch.urgency is Urgency.OVERDUE
    assert continuity.on_rows(fetch, [row(3, price=77)], 5.0, at(4) + 5_000) == []
    fetch = wish(continuity, 7.0, at(4) + 7_000)
    assert continuity.on_rows(fetch, [row(3), row(4, closed=False)], 7.0, at(4) + 7_000) == [row(3)]


def test_a_row_that_stays_the_last_for_long_is_final() -> None:
    """Some venues have no row while nobody trades."""
    continuity = started(3)
    fetch = wish(continuity, 15.0, at(4) + 15_000)
    assert continuity.on_rows(fetch, [row(3)], 15.0, at(4) + 15_000) == [row(3)]


def test_what_was_corrected_while_nobody_looked_is_found_after_a_restart() -> None:
    recent = (row(1), row(2, price=77))
    continuity = Continuity(
        stream(), ContinuityRules(verify_interval_s=60.0), 0.0, resume_after_ms=at(2), recent=recent
    )
    fetch = wish(continuity, 60.0, at(3) + 30_000)
    assert fetch == Fetch(stream(), at(1), 3, Urgency.VERIFY)
    rows = [row(1), row(2), row(3, closed=False)]
    assert continuity.on_rows(fetch, rows, 60.0, at(3) + 30_000) == []
    fetch = wish(continuity, 66.0, at(3) + 36_000)
    assert fetch.urgency is Urgency.DOUBT
    [event] = continuity.on_rows(fetch, rows[1:], 66.0, at(3) + 36_000)
    assert event == Revision(row(2).replace(revision=1))


def test_what_has_not_come_to_the_store_is_known_to_the_next_one_too() -> None:
    """Candle 2 and the gap of candle 3 were delivered, and the store is still without them."""
    before = started(3, deadline_s=5.0)
    before.on_closed(candle(at(4)), 10.0, FAR)
    assert before.tick(16.0, at(5) + 1_000)[0] == [Gap(stream(), at(3), at(3), GapReason.UNREPAIRED), candle(at(4))]
    continuity = Continuity(
        stream(),
        ContinuityRules(verify_interval_s=60.0),
        20.0,
        resume_after_ms=at(4),
        recent=(row(0), row(1)),
        memory=before.memory,
    )
    fetch = wish(continuity, 20.0, at(5) + 5_000)
    assert fetch == Fetch(stream(), at(3), 3, Urgency.GAP)
    rows = [row(3), row(4), row(5, closed=False)]
    assert continuity.on_rows(fetch, rows, 20.0, at(5) + 5_000) == [Revision(row(3).replace(revision=1))]
    fetch = wish(continuity, 80.0, at(5) + 55_000)
    assert fetch == Fetch(stream(), at(0), 6, Urgency.VERIFY)
    rows = [row(0), row(1), row(2, price=77), *rows]
    assert continuity.on_rows(fetch, rows, 80.0, at(5) + 55_000) == []
    fetch = wish(continuity, 86.0, at(6) + 1_000)
    assert continuity.on_rows(fetch, rows[2:], 86.0, at(6) + 1_000) == [Revision(rows[2].replace(revision=1))]


def test_the_first_catch_up_compares_what_is_stored() -> None:
    """A process may not live until the first comparison by the clock; the second request asks for what is new alone."""
    recent = (row(1), row(2, price=77))
    continuity = Continuity(stream(), ContinuityRules(), 0.0, resume_after_ms=at(2), recent=recent)
    fetch = wish(continuity, 0.0, at(4) + 10_000)
    assert (fetch.urgency, fetch.start_ms) == (Urgency.OVERDUE, at(1))
    rows = [row(1), row(2), row(3), row(4, closed=False)]
    assert continuity.on_rows(fetch, rows, 0.0, at(4) + 11_000) == [row(3)]
    fetch = wish(continuity, 5.0, at(4) + 16_000)
    assert (fetch.urgency, fetch.start_ms) == (Urgency.DOUBT, at(2))
    assert continuity.on_rows(fetch, rows[1:], 5.0, at(4) + 16_000) == [Revision(row(2).replace(revision=1))]
    fetch = wish(continuity, 70.0, at(5) + 21_000)
    assert (fetch.urgency, fetch.start_ms) == (Urgency.OVERDUE, at(4))


def test_a_doubt_outlasts_a_long_catch_up() -> None:
    """More candles come with the doubt than are remembered otherwise."""
    recent = tuple(row(n, price=77) for n in range(60))
    continuity = Continuity(stream(), ContinuityRules(), 0.0, resume_after_ms=at(59), recent=recent)
    fetch = wish(continuity, 0.0, at(150) + 30_000)
    rows = [row(0), *recent[1:], *(row(n) for n in range(60, 150)), row(150, closed=False)]
    assert continuity.on_rows(fetch, rows, 0.0, at(150) + 30_000) == rows[60:150]
    fetch = wish(continuity, 6.0, at(150) + 36_000)
    assert (fetch.urgency, fetch.start_ms) == (Urgency.DOUBT, at(0))
    assert continuity.on_rows(fetch, rows, 6.0, at(150) + 36_000) == [Revision(row(0).replace(revision=1))]


def test_a_hole_of_the_venue_is_a_gap() -> None:
    continuity = started(3)
    continuity.on_closed(candle(at(6)), 10.0, FAR)
    fetch = wish(continuity, 10.0, at(7) + 1_000)
    events = continuity.on_rows(fetch, [row(3), row(6), row(7, closed=False)], 11.0, at(7) + 2_000)
    assert events == [row(3), Gap(stream(), at(4), at(5), GapReason.VENUE), candle(at(6))]


def test_a_row_missing_just_now_may_only_be_late() -> None:
    """Replicas lag: the newest interval is not called missing on the first answer."""
    continuity = started(3)
    continuity.on_closed(candle(at(4)), 10.0, FAR)
    fetch = wish(continuity, 12.0, at(4) + 5_000)
    assert continuity.on_rows(fetch, [row(4, closed=False)], 13.0, at(4) + 5_000) == []
    fetch = wish(continuity, 15.0, at(4) + 7_000)
    assert continuity.on_rows(fetch, [row(3), row(4, closed=False)], 15.0, at(4) + 7_000) == [row(3), candle(at(4))]


def test_past_the_deadline_a_gap_goes_out_and_the_repair_is_a_revision() -> None:
    continuity = started(3, deadline_s=30.0)
    continuity.on_closed(candle(at(5)), 100.0, FAR)
    continuity.on_fetch_failed(wish(continuity, 100.0, at(6)), 110.0)
    events, _ = continuity.tick(130.0, at(6) + 30_000)
    assert events == [Gap(stream(), at(3), at(4), GapReason.UNREPAIRED), candle(at(5))]
    fetch = wish(continuity, 140.0, at(6) + 40_000)
    assert fetch.urgency is Urgency.GAP
    rows = [row(3), row(4), row(5), row(6, closed=False)]
    events = continuity.on_rows(fetch, rows, 141.0, at(6) + 41_000)
    assert events == [Revision(row(3).replace(revision=1)), Revision(row(4).replace(revision=1))]


def test_an_overdue_candle_is_fetched_without_any_message() -> None:
    continuity = started(3)
    assert continuity.tick(30.0, at(4) + 2_900) == ([], None)
    fetch = wish(continuity, 31.0, at(4) + 3_100)
    assert fetch.urgency is Urgency.OVERDUE
    assert continuity.on_rows(fetch, [row(3), row(4, closed=False)], 31.0, at(4) + 3_100) == [row(3)]


def test_a_forming_row_is_never_taken_as_closed() -> None:
    continuity = started(3)
    fetch = wish(continuity, 31.0, at(4) + 3_100)
    assert continuity.on_rows(fetch, [row(3, closed=False)], 31.0, at(4) + 3_100) == []


def test_a_row_that_closed_a_moment_ago_is_left_to_settle() -> None:
    continuity = started(3)
    continuity.on_closed(candle(at(5)), 10.0, FAR)
    fetch = wish(continuity, 10.0, at(6))
    events = continuity.on_rows(fetch, [row(3), row(4), row(5), row(6)], 10.0, at(7) + 100)
    assert events == [row(3), row(4), candle(at(5))]


def test_a_correction_is_believed_once_rest_confirms_it() -> None:
    continuity = started(3)
    continuity.on_closed(candle(at(3)), 10.0, FAR)
    assert continuity.on_closed(candle(at(3), price=7), 11.0, FAR) == []
    fetch = wish(continuity, 20.0, at(4) + 20_000)
    assert fetch.urgency is Urgency.DOUBT
    corrected = row(3, price=7)
    events = continuity.on_rows(fetch, [corrected, row(4, closed=False)], 20.0, at(4) + 20_000)
    assert events == [Revision(corrected.replace(revision=1))]


def test_a_contradiction_that_rest_does_not_confirm_is_forgotten() -> None:
    continuity = started(3)
    continuity.on_closed(candle(at(3)), 10.0, FAR)
    continuity.on_closed(candle(at(3), price=7), 11.0, FAR)
    fetch = wish(continuity, 20.0, at(4) + 20_000)
    assert continuity.on_rows(fetch, [row(3), row(4, closed=False)], 20.0, at(4) + 20_000) == []
    assert continuity.tick(90.0, at(4) + 30_000) == ([], None)


def test_a_verification_finds_a_silent_correction() -> None:
    continuity = started(3, verify_interval_s=600.0)
    continuity.on_closed(candle(at(3)), 10.0, FAR)
    fetch = wish(continuity, 600.0, at(4) + 30_000)
    assert fetch.urgency is Urgency.VERIFY
    rows = [row(0), row(1, price=7), row(2), row(3), row(4, closed=False)]
    assert continuity.on_rows(fetch, rows, 600.0, at(4) + 30_000) == []
    fetch = wish(continuity, 606.0, at(4) + 36_000)
    assert continuity.on_rows(fetch, rows[1:], 606.0, at(4) + 36_000) == [Revision(row(1, price=7).replace(revision=1))]


def test_short_candles_are_verified_before_they_are_forgotten() -> None:
    second = 1_000
    rules = ContinuityRules(verify_interval_s=600.0)
    continuity = Continuity(stream("1s"), rules, 0.0, resume_after_ms=START - second)
    now_s = 0
    while now_s < 200:
        now_s += 1
        open_ms = START + (now_s - 1) * second
        assert len(continuity.on_closed(candle(open_ms, tf="1s"), now_s, FAR)) == 1
        _, fetch = continuity.tick(now_s, open_ms + second)
        if fetch is not None:
            assert fetch.urgency is Urgency.VERIFY
            assert fetch.start_ms == START
            break
    assert now_s == 144


@pytest.mark.parametrize("moment", [at(3) - MINUTE + 2_500, at(3)])
def test_a_candle_closed_before_its_time_is_not_believed(moment: int) -> None:
    continuity = started(3)
    assert continuity.on_closed(candle(at(3)), 10.0, moment) == []
    assert continuity.counters.implausible == 1


def test_a_resumed_stream_fetches_what_was_missed() -> None:
    continuity = Continuity(stream(), ContinuityRules(), 0.0, resume_after_ms=at(3))
    fetch = wish(continuity, 0.0, at(8) + 5_000)
    assert fetch == Fetch(stream(), at(4), 6, Urgency.OVERDUE)
    rows = [*(row(n) for n in range(4, 8)), row(8, closed=False)]
    assert continuity.on_rows(fetch, rows, 0.0, at(8) + 5_000) == rows[:-1]


def test_a_long_hole_is_filled_page_by_page_without_giving_up() -> None:
    continuity = Continuity(stream(), ContinuityRules(max_rows=10, deadline_s=5.0), 0.0, resume_after_ms=at(-1))
    continuity.on_closed(candle(at(100)), 0.0, FAR)
    delivered: list[Event] = []
    now = 0.0
    while continuity.repairing:
        now += 4.0
        fetch = wish(continuity, now, at(101) + 5_000)
        assert fetch.limit == 10
        assert fetch.start_ms is not None
        first = (fetch.start_ms - START) // MINUTE
        delivered += continuity.on_rows(fetch, [row(n) for n in range(first, first + 10)], now, at(101) + 5_000)
    assert [e.open_time_ms for e in delivered if isinstance(e, Candle)] == [at(n) for n in range(101)]


def test_a_new_listing_starts_with_its_first_candle() -> None:
    continuity = Continuity(stream(), ContinuityRules(), 0.0)
    fetch = wish(continuity, 0.0, at(0))
    assert continuity.on_rows(fetch, [], 0.0, at(0)) == []
    assert continuity.on_open(at(5), at(5), 1.0, FAR)
    assert continuity.on_closed(candle(at(5)), 2.0, FAR) == [candle(at(5))]


def test_a_fetch_without_an_answer_is_asked_again() -> None:
    continuity = started(3)
    wish(continuity, 31.0, at(4) + 3_100)
    assert continuity.tick(60.0, at(4) + 30_000) == ([], None)
    assert wish(continuity, 125.0, at(5) + 40_000).urgency is Urgency.OVERDUE


def test_the_newest_rows_alone_prove_no_gap() -> None:
    """A health reading asks for the newest rows: what is older than they are was not asked for."""
    continuity = started(3)
    reading = Fetch(stream(), None, 2, Urgency.VERIFY)
    assert continuity.on_rows(reading, [row(6), row(7, closed=False)], 10.0, at(7) + 30_000) == []
    assert continuity.expected_ms == at(3)


def test_an_event_time_that_has_not_come_does_not_silence_the_stream() -> None:
    continuity = started(3)
    assert not continuity.on_open(at(3), at(3) + 86_400_000, 0.0, at(3) + 2_000)
    assert continuity.on_open(at(3), at(3) + 1_000, 0.0, at(3) + 2_000)


def test_a_three_day_candle_keeps_its_own_phase() -> None:
    """Binance's 3d candles start on the day of listing; the epoch does not matter."""
    day = 86_400_000
    first = day * 19_001
    continuity = Continuity(stream("3d"), ContinuityRules(), 0.0)
    fetch = wish(continuity, 0.0, first + 4 * day)
    rows = [
        candle(first, tf="3d", source=Source.REST),
        candle(first + 3 * day, tf="3d", closed=False, source=Source.REST),
    ]
    assert continuity.on_rows(fetch, rows, 0.0, first + 4 * day) == rows[:1]
    assert continuity.on_open(first + 3 * day, first, 1.0, FAR)
    assert not continuity.on_open(first + 4 * day, first, 1.0, FAR)
    assert continuity.counters.implausible == 1


class ModelVenue:
    """A venue with one candle a minute: some do not exist, some are corrected later; socket and REST lose some."""

    def __init__(self, rng: random.Random, minutes: int) -> None:
        self.rng = rng
        self.exists = [rng.random() > 0.05 for _ in range(minutes)]
        self.corrected = {n: rng.randrange(n + 2, minutes + 5) for n in range(minutes) if rng.random() < 0.02}
        self.lossy = rng.uniform(0.0, 0.5)

    def value(self, n: int, now_n: float, source: Source, *, closed: bool = True) -> Candle:
        price = 9_999 if n in self.corrected and now_n >= self.corrected[n] else 0
        return candle(at(n), source=source, closed=closed, price=price)

    def rest(self, start_ms: int | None, limit: int, now_n: float) -> list[Candle]:
        upto = int(now_n)
        have = [n for n in range(min(upto + 1, len(self.exists))) if self.exists[n]]
        have = have[-limit:] if start_ms is None else [n for n in have if at(n) >= start_ms][:limit]
        return [self.value(n, now_n, Source.REST, closed=n < upto) for n in have]


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32), minutes=st.integers(5, 120), resume=st.booleans())
def test_contract_against_a_lossy_venue(seed: int, minutes: int, resume: bool) -> None:
    rng = random.Random(seed)
    venue = ModelVenue(rng, minutes)
    rules = ContinuityRules(history=10, verify_interval_s=300.0, deadline_s=20.0)
    now_s = 0.0
    continuity = Continuity(stream(), rules, now_s, resume_after_ms=at(-1) if resume else None)
    out: list[Event] = []
    in_flight: list[tuple[float, Fetch, list[Candle] | None, int]] = []
    socket: list[tuple[float, Candle]] = []
    closed_upto = 0
    heal_s = minutes * 60.0
    while now_s < heal_s + 1_800.0:
        now_s += rng.choice([0.1, 0.7, 3.0])
        venue_n = now_s / 60.0
        venue_ms = START + int(now_s * 1000)
        healed = now_s > heal_s
        while closed_upto < min(int(venue_n), minutes):
            if venue.exists[closed_upto]:
                for _ in range(0 if rng.random() < venue.lossy else 1 + (rng.random() < 0.1)):
                    late = now_s + (rng.uniform(0, 30) if rng.random() < 0.1 else 0.05)
                    socket.append((late, venue.value(closed_upto, venue_n, Source.WS)))
            closed_upto += 1
        for message in sorted([m for m in socket if m[0] <= now_s], key=lambda m: m[0]):
            socket.remove(message)
            out += continuity.on_closed(message[1], now_s, venue_ms)
        forming = int(venue_n)
        if forming < minutes and venue.exists[forming] and rng.random() > venue.lossy:
            before = continuity.expected_ms
            if continuity.on_open(at(forming), at(forming), now_s, venue_ms):
                assert continuity.expected_ms == at(forming), "a forming candle overtook a closed one"
                assert before in (None, at(forming))
        events, fetch = continuity.tick(now_s, venue_ms)
        out += events
        if fetch is not None:
            continuity.asked(fetch, now_s)
            failed = not healed and rng.random() < venue.lossy
            rows = None if failed else venue.rest(fetch.start_ms, fetch.limit, venue_n)
            in_flight.append((now_s + rng.uniform(0, 5.0), fetch, rows, venue_ms))
        for answer in [a for a in in_flight if a[0] <= now_s]:
            in_flight.remove(answer)
            _, fetch, rows, asked_ms = answer
            if rows is None:
                continuity.on_fetch_failed(fetch, now_s)
            else:
                out += continuity.on_rows(fetch, rows, now_s, asked_ms)

    final: dict[int, Candle] = {}
    last: int | None = None
    gaps: set[int] = set()
    for event in out:
        if isinstance(event, Gap):
            assert last is None or event.first_open_ms == last + MINUTE
            gaps.update(range(event.first_open_ms, event.last_open_ms + 1, MINUTE))
            last = event.last_open_ms
        elif isinstance(event, Revision):
            assert event.candle.open_time_ms in gaps or event.candle.open_time_ms in final
            assert event.candle.revision > 0
            final[event.candle.open_time_ms] = event.candle
        else:
            assert event.open_time_ms not in final, "delivered twice"
            assert last is None or event.open_time_ms == last + MINUTE, "out of order or a silent hole"
            final[event.open_time_ms] = last_candle = event
            last = last_candle.open_time_ms
    first = min([*final, *gaps], default=None)
    assert first is not None or not any(venue.exists)
    existing = [n for n in range(minutes) if venue.exists[n]]
    for n in existing:
        if first is None or at(n) < first:
            continue
        assert at(n) in final, f"candle {n} was lost"
        remembered = n >= minutes - 5 and venue.corrected.get(n, 0) <= minutes + 5
        if remembered:
            assert final[at(n)].same_values(venue.value(n, 10_000.0, Source.REST)), f"correction of {n} was missed"
    assert set(final) <= {at(n) for n in existing}, "a candle that never was"
