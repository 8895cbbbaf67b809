"""When candles close at a venue that never says so, against a server that knows the truth."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise

import msgspec
import pytest
from attrs import define, frozen
from bitfinex_payloads import MINUTE_MS, OPEN_MS, update
from hypothesis import given, settings
from hypothesis import strategies as st

from candleactors.model import DAY_MS, Timeframe
from candleactors.venues.bitfinex_candle import Flat, Row, Told, Update
from candleactors.venues.bitfinex_closing import MAX_FLAT, Closing, Inferred
from candleactors.venues.bitfinex_rules import GRACE_MS

MINUTE = Timeframe("1m")
PROVEN_MS = MINUTE_MS - 1 + GRACE_MS
"""How long after its beginning the clock proves that a minute is over."""


def at(minute: int, ms: int = 0) -> int:
    return OPEN_MS + minute * MINUTE_MS + ms


def said(inferred: Inferred) -> tuple[list[tuple[int, str, str]], tuple[int, str] | None]:
    """Return what was inferred as minutes, prices and volumes; the volume of an interval without trades is ``-``."""
    closed = [
        (
            (told.open_time_ms - OPEN_MS) // MINUTE_MS,
            bytes((told.after if isinstance(told, Flat) else told).row.close).decode(),
            "-" if isinstance(told, Flat) else bytes(told.row.volume).decode(),
        )
        for told in inferred.closed
    ]
    forming = inferred.forming
    if forming is None:
        return closed, None
    return closed, ((forming.open_time_ms - OPEN_MS) // MINUTE_MS, bytes(forming.row.close).decode())


Said = tuple[list[tuple[int, str, str]], tuple[int, str] | None]


@define
class Watch:
    """A channel that is told in minutes. Heartbeats fill the time between what it is told, unless it is `lossy`."""

    closing: Closing
    stamped: bool = True
    lossy: bool = False
    clock_ms: int | None = None

    def row(self, minute: int, price: str, sent_ms: int, volume: str = "1") -> Said:
        return self._tell(sent_ms, [update(at(minute), price, sent_ms, volume=volume)])

    def snapshot(self, sent_ms: int, *rows: tuple[int, str]) -> Said:
        return self._tell(sent_ms, [update(at(minute), price, sent_ms) for minute, price in rows])

    def heartbeat(self, sent_ms: int) -> Said:
        return self._tell(sent_ms, None)

    def _tell(self, sent_ms: int, rows: list[Update] | None) -> Said:
        found: list[Inferred] = []
        if self.stamped and self.clock_ms is not None and not self.lossy:
            while sent_ms - self.clock_ms > 15_000:
                self.clock_ms += 15_000
                found.append(self.closing.on_instant(self.clock_ms))
        if rows is None:
            found.append(self.closing.on_instant(sent_ms))
        else:
            found.append(self.closing.on_rows(rows, sent_ms if self.stamped else None))
        self.clock_ms = max(sent_ms, self.clock_ms or 0)
        forming = [one.forming for one in found if one.forming is not None]
        return said(Inferred([told for one in found for told in one.closed], forming[-1] if forming else None))


@pytest.fixture
def watch() -> Watch:
    return Watch(Closing(MINUTE))


@pytest.fixture
def unstamped() -> Watch:
    return Watch(Closing(MINUTE), stamped=False)


class TestByTheClock:
    def test_a_candle_is_closed_a_grace_after_its_end(self, watch: Watch) -> None:
        assert watch.row(0, "5", at(0, 10)) == ([], (0, "5"))
        assert watch.heartbeat(at(0, PROVEN_MS - 1)) == ([], None)
        assert watch.heartbeat(at(0, PROVEN_MS)) == ([(0, "5", "1")], None)
        assert watch.heartbeat(at(1, 15_000)) == ([], None)

    def test_a_later_row_waits_for_the_grace_and_is_forming_then(self, watch: Watch) -> None:
        watch.row(0, "5", at(0, 10))
        assert watch.row(1, "6", at(1, 10)) == ([], None)
        assert watch.row(1, "7", at(1, 20)) == ([], None)
        assert watch.row(0, "8", at(1, 30)) == ([], (0, "8"))
        assert watch.heartbeat(at(1, GRACE_MS)) == ([(0, "8", "1")], (1, "7"))

    def test_the_row_that_passes_the_grace_is_the_forming_one(self, watch: Watch) -> None:
        watch.row(0, "5", at(0, 10))
        watch.row(1, "6", at(1, 10))
        assert watch.row(1, "7", at(1, 5_000)) == ([(0, "5", "1")], (1, "7"))

    def test_repeats_say_nothing(self, watch: Watch) -> None:
        watch.row(0, "5", at(0, 10))
        assert watch.row(0, "5", at(0, 20)) == ([], None)
        assert watch.row(1, "6", at(1, 5_000)) == ([(0, "5", "1")], (1, "6"))
        assert watch.row(0, "5", at(1, 5_001)) == ([], None)
        assert watch.row(1, "6", at(1, 5_002)) == ([], None)

    def test_a_late_change_closes_once_more(self, watch: Watch) -> None:
        watch.row(0, "5", at(0, 10))
        watch.row(1, "6", at(1, 5_000))
        assert watch.row(0, "5", at(1, 6_000), volume="2") == ([(0, "5", "2")], None)
        assert watch.row(0, "5", at(1, 6_001), volume="2") == ([], None)

    def test_minutes_that_began_and_ended_unseen_are_flat(self, watch: Watch) -> None:
        watch.row(0, "5", at(0, 10))
        assert watch.heartbeat(at(3, GRACE_MS)) == ([(0, "5", "1"), (1, "5", "-"), (2, "5", "-")], None)
        assert watch.row(5, "6", at(5, 10)) == ([(3, "5", "-")], None)
        assert watch.heartbeat(at(5, GRACE_MS)) == ([(4, "5", "-")], (5, "6"))

    def test_a_late_row_takes_the_place_of_a_flat_one_and_moves_those_after_it(self, watch: Watch) -> None:
        watch.row(0, "5", at(0, 10))
        watch.heartbeat(at(4, GRACE_MS))
        assert watch.row(2, "6", at(4, 3_000)) == ([(2, "6", "1"), (3, "6", "-")], None)
        assert watch.heartbeat(at(5, GRACE_MS)) == ([(4, "6", "-")], None)
        assert watch.row(2, "6", at(5, 3_000), volume="2") == ([(2, "6", "2")], None)  # at the same price

    def test_a_late_row_does_not_move_what_follows_a_later_row(self, watch: Watch) -> None:
        watch.row(0, "5", at(0, 10))
        watch.row(1, "6", at(1, 10))
        watch.heartbeat(at(3, GRACE_MS))
        assert watch.row(0, "7", at(3, 3_000)) == ([(0, "7", "1")], None)
        assert watch.heartbeat(at(4, GRACE_MS)) == ([(3, "6", "-")], None)

    def test_what_is_long_closed_does_not_change(self, watch: Watch) -> None:
        watch.row(0, "5", at(0, 10))
        watch.heartbeat(at(6, GRACE_MS))
        assert watch.row(0, "6", at(6, 3_000)) == ([], None)
        assert watch.row(1, "6", at(6, 3_000)) == ([(m, "6", "1" if m == 1 else "-") for m in range(1, 6)], None)


class TestTheBeginning:
    def test_a_snapshot_proves_its_last_rows_closed_with_what_lies_between(self, watch: Watch) -> None:
        rows = [(minute, str(minute)) for minute in (1, 2, 3, 4, 5, 7, 9, 10)]
        closed, forming = watch.snapshot(at(10, 30_000), *rows)
        assert [(minute, volume) for minute, _, volume in closed] == [
            (3, "1"),
            (4, "1"),
            (5, "1"),
            (6, "-"),
            (7, "1"),
            (8, "-"),
            (9, "1"),
        ]
        assert forming == (10, "10")

    def test_a_snapshot_right_after_a_boundary_leaves_the_last_minute_open(self, watch: Watch) -> None:
        assert watch.snapshot(at(2, 100), (0, "5"), (1, "6"), (2, "7")) == ([(0, "5", "1")], (1, "6"))
        assert watch.heartbeat(at(2, GRACE_MS)) == ([(1, "6", "1")], (2, "7"))

    def test_minutes_that_began_before_it_are_not_flat_for_want_of_a_row(self, watch: Watch) -> None:
        assert watch.snapshot(at(5, 30_000), (2, "5")) == ([(2, "5", "1")], None)
        assert watch.heartbeat(at(7, GRACE_MS)) == ([(6, "5", "-")], None)

    def test_unless_a_later_row_comes_in_time(self, watch: Watch) -> None:
        assert watch.snapshot(at(5, 30_000), (2, "5")) == ([(2, "5", "1")], None)
        assert watch.row(5, "6", at(5, 40_000)) == ([], (5, "6"))
        assert watch.heartbeat(at(6, GRACE_MS)) == ([(5, "6", "1")], None)
        other = Watch(Closing(MINUTE))
        other.snapshot(at(3, 30_000), (3, "5"))
        assert other.row(5, "6", at(5, 40_000)) == ([(3, "5", "1"), (4, "5", "-")], (5, "6"))

    def test_an_empty_snapshot(self, watch: Watch) -> None:
        assert watch.snapshot(at(0, 10)) == ([], None)
        assert watch.heartbeat(at(3, 10)) == ([], None)  # nobody knows a price
        assert watch.row(3, "5", at(3, 20)) == ([], (3, "5"))
        assert watch.heartbeat(at(5, GRACE_MS)) == ([(3, "5", "1"), (4, "5", "-")], None)

    def test_a_second_snapshot_says_nothing_new(self, watch: Watch) -> None:
        rows = [(minute, "5") for minute in range(100, 140)] + [(5_000, "5"), (5_001, "5")]
        watch.snapshot(at(5_001, 30_000), *rows)
        assert watch.snapshot(at(5_001, 31_000), *rows) == ([], None)


class TestWithoutTheClock:
    def test_a_later_row_closes_at_once(self, unstamped: Watch) -> None:
        assert unstamped.snapshot(0, (0, "5"), (1, "6")) == ([(0, "5", "1")], (1, "6"))
        assert unstamped.row(2, "7", 0) == ([(1, "6", "1")], (2, "7"))
        assert unstamped.row(1, "6", 0) == ([], None)
        assert unstamped.row(1, "8", 0) == ([(1, "8", "1")], None)
        assert unstamped.row(4, "9", 0) == ([(2, "7", "1"), (3, "7", "-")], (4, "9"))

    @pytest.mark.parametrize("minutes", [MAX_FLAT, MAX_FLAT + 1])
    def test_a_run_that_is_too_long_is_left_to_others(self, unstamped: Watch, minutes: int) -> None:
        unstamped.row(0, "5", 0)
        closed, forming = unstamped.row(1 + minutes, "6", 0)
        assert forming == (1 + minutes, "6")
        assert len(closed) == 1 + (minutes if minutes == MAX_FLAT else 0)
        assert unstamped.row(3 + minutes, "7", 0)[0] == [(1 + minutes, "6", "1"), (2 + minutes, "6", "-")]

    def test_a_clock_that_comes_late_counts_from_then_on(self, unstamped: Watch) -> None:
        unstamped.row(0, "5", 0)
        assert unstamped.heartbeat(at(3, 1_000)) == ([(0, "5", "1")], None)
        unstamped.stamped = True
        assert unstamped.heartbeat(at(5, GRACE_MS)) == ([(4, "5", "-")], None)


class TestLostFrames:
    @pytest.fixture
    def watch(self) -> Watch:
        return Watch(Closing(MINUTE, beats=True))

    def test_a_silence_that_is_too_long_leaves_what_was_before_it_to_others(self, watch: Watch) -> None:
        watch.row(0, "5", at(0, 50_000))
        watch.lossy = True
        assert watch.row(1, "6", at(1, 10_001)) == ([], (1, "6"))
        assert watch.heartbeat(at(1, 25_001)) == ([], None)
        watch.lossy = False
        assert watch.heartbeat(at(3, GRACE_MS)) == ([(1, "6", "1"), (2, "6", "-")], None)

    def test_a_server_without_heartbeats_may_be_silent(self) -> None:
        watch = Watch(Closing(MINUTE), lossy=True)
        watch.row(0, "5", at(0, 50_000))
        assert watch.row(2, "6", at(2, 10_000)) == ([(0, "5", "1"), (1, "5", "-")], (2, "6"))
        assert watch.heartbeat(at(2, 50_000)) == ([], None)  # too late to be one to count on
        early = watch.closing.beats
        assert watch.row(3, "7", at(3, 20_000)) == ([(2, "6", "1")], (3, "7"))
        watch.heartbeat(at(3, 35_000))
        assert (early, watch.closing.beats) == (False, True)
        assert watch.row(4, "8", at(4, 20_000)) == ([], (4, "8"))

    def test_nor_is_anything_flat_that_began_before_its_end(self, watch: Watch) -> None:
        watch.row(0, "5", at(0, 50_000))
        watch.lossy = True
        assert watch.heartbeat(at(5, 30_000)) == ([], None)
        watch.lossy = False
        assert watch.row(7, "6", at(7, 10)) == ([], (7, "6"))

    def test_a_silence_of_a_heartbeat_is_none(self, watch: Watch) -> None:
        watch.row(0, "5", at(0, 55_000))
        watch.lossy = True
        assert watch.heartbeat(at(1, 15_000)) == ([(0, "5", "1")], None)


class TestAbsurdities:
    @pytest.mark.parametrize("ahead_ms", [50 * 365 * DAY_MS, 30 * MINUTE_MS])
    def test_an_instant_ahead_of_all_others_is_survived_without_heartbeats(self, ahead_ms: int) -> None:
        watch = Watch(Closing(MINUTE), lossy=True)
        watch.row(0, "5", at(0, 10))
        closed, _ = watch.heartbeat(at(0, ahead_ms))
        assert closed[0] == (0, "5", "1")
        for sent_ms in (20, 30):
            assert watch.row(0, "6", at(0, sent_ms))[1] is None
        assert watch.row(0, "7", at(0, 40)) == ([], (0, "7"))
        watch.lossy, watch.clock_ms = False, at(0, 40)
        assert watch.row(1, "8", at(1, 5_000)) == ([(0, "7", "1")], (1, "8"))

    @pytest.mark.parametrize("ahead_ms", [50 * 365 * DAY_MS, 30 * MINUTE_MS])
    def test_an_instant_ahead_of_all_others_is_survived(self, ahead_ms: int) -> None:
        watch = Watch(Closing(MINUTE, beats=True), lossy=True)
        watch.row(0, "5", at(0, 10))
        assert watch.heartbeat(at(0, ahead_ms)) == ([], None)
        assert watch.row(0, "6", at(0, 20)) == ([], (0, "6"))
        watch.row(0, "6", at(0, 30))
        assert watch.row(0, "7", at(0, 40)) == ([], (0, "7"))
        watch.lossy, watch.clock_ms = False, at(0, 40)
        assert watch.row(1, "8", at(1, 5_000)) == ([(0, "7", "1")], (1, "8"))

    def test_a_single_frame_of_old_is_only_late(self, watch: Watch) -> None:
        watch.row(0, "5", at(0, 10))
        watch.row(1, "6", at(1, 5_000))
        watch.row(2, "7", at(2, 5_000))
        for sent_ms in range(1, 10):
            assert watch.row(0, "8", at(0, sent_ms)) == ([], None)  # older than what is known
            assert watch.heartbeat(at(2, 5_000 + sent_ms)) == ([], None)
        assert watch.row(0, "8", at(0, 59_000)) == ([(0, "8", "1")], None)
        assert watch.row(2, "8", at(2, 6_000)) == ([], (2, "8"))
        assert watch.heartbeat(at(3, 5_000)) == ([(2, "8", "1")], None)

    def test_frames_that_overtake_each_other(self, watch: Watch) -> None:
        watch.row(0, "6", at(0, 20))
        assert watch.row(0, "5", at(0, 10)) == ([], None)
        assert watch.row(0, "7", at(0, 20)) == ([], (0, "7"))

    def test_a_row_far_ahead_is_survived_without_the_clock(self, unstamped: Watch) -> None:
        unstamped.row(0, "5", 0)
        unstamped.row(10_000_000, "6", 0)
        assert unstamped.row(1, "7", 0) == ([], (1, "7"))
        assert unstamped.row(2, "8", 0) == ([(1, "7", "1")], (2, "8"))

    def test_another_phase_of_two_weeks_begins_anew(self) -> None:
        closing = Closing(Timeframe("14d"))
        first = OPEN_MS - OPEN_MS % DAY_MS
        closing.on_rows([update(first, "5", first + 1)], first + 1)
        other = first + DAY_MS
        told = closing.on_rows([update(other, "6", other + 1)], other + 1)
        assert (told.closed, told.forming and told.forming.open_time_ms) == ([], other)
        told = closing.on_rows([update(other + 14 * DAY_MS, "7", other + 1)], None)
        assert [one.open_time_ms for one in told.closed] == [other]


def test_months_are_as_long_as_they_are() -> None:
    closing = Closing(Timeframe("1M"))
    november, december, february = 1_572_566_400_000, 1_575_158_400_000, 1_580_515_200_000
    closing.on_rows([update(november, "5", december - 10_000)], december - 10_000)
    assert closing.on_instant(december + GRACE_MS - 2).closed == []
    assert [one.open_time_ms for one in closing.on_instant(december + GRACE_MS - 1).closed] == [november]
    told = closing.on_rows([update(february, "6", february)], None)
    assert [one.open_time_ms for one in told.closed] == [december, 1_577_836_800_000]


# A server that knows the truth


@frozen
class Trade:
    time_ms: int
    price: int
    volume: int
    seen_ms: int
    """When the server takes it into its row: at once, or late."""

    @property
    def minute_ms(self) -> int:
        return self.time_ms - self.time_ms % MINUTE_MS


def row_of(trades: Sequence[Trade], open_ms: int, now_ms: int) -> Row | None:
    """Return the server's row at `now_ms`."""
    mine = sorted((t for t in trades if t.minute_ms == open_ms and t.seen_ms <= now_ms), key=lambda t: t.time_ms)
    if not mine:
        return None
    prices = [trade.price for trade in mine]
    values = (prices[0], prices[-1], max(prices), min(prices), sum(trade.volume for trade in mine))
    return Row(open_ms, *(msgspec.Raw(str(value).encode()) for value in values))


@st.composite
def markets(draw: st.DrawFn) -> tuple[list[Trade], int, int]:
    """Return trades in some minutes, when the channel is subscribed, and the last instant of the story."""
    minutes = draw(st.integers(3, 14))
    subscribed_ms = at(draw(st.integers(0, minutes - 2)), draw(st.integers(0, MINUTE_MS - 1)))
    most = draw(st.sampled_from((4, 8, 30)))
    times = draw(st.lists(st.integers(0, minutes * MINUTE_MS - 1), min_size=1, max_size=most))
    trades = []
    for index, time in enumerate(sorted(times)):
        time_ms = OPEN_MS + time
        late_ms = 0
        # What is late in a minute that nobody knew of is found over REST, not here.
        if time_ms - time_ms % MINUTE_MS >= subscribed_ms and draw(st.integers(0, 2)) == 0:
            late_ms = draw(st.sampled_from((30_000, 61_000, 70_000, 100_000, 150_000)))
        trades.append(Trade(time_ms, draw(st.integers(1, 9)) * 100 + index, draw(st.integers(1, 5)), time_ms + late_ms))
    return trades, subscribed_ms, at(minutes + 3)


def frames(
    trades: list[Trade], subscribed_ms: int, until_ms: int, resend: list[bool]
) -> list[tuple[int, list[Row] | None]]:
    """Return what the server sends: instants, and rows or ``None`` for a heartbeat."""
    opens = sorted({trade.minute_ms for trade in trades})
    first = [row for open_ms in opens if (row := row_of(trades, open_ms, subscribed_ms)) is not None]
    sent: list[tuple[int, list[Row] | None]] = [(subscribed_ms, first)]
    for index, trade in enumerate(sorted(trades, key=lambda t: t.seen_ms)):
        if trade.seen_ms <= subscribed_ms:
            continue
        while trade.seen_ms - sent[-1][0] > 15_000:
            sent.append((sent[-1][0] + 15_000, None))
        wanted = [trade.minute_ms - MINUTE_MS] if resend[index % len(resend)] else []
        for open_ms in (trade.minute_ms, *wanted):
            row = row_of(trades, open_ms, trade.seen_ms)
            if row is not None:
                sent.append((trade.seen_ms, [row]))
    while sent[-1][0] < until_ms:
        sent.append((sent[-1][0] + 15_000, None))
    return sent


def values(told: Told) -> tuple[Decimal, ...]:
    row = told.after.row if isinstance(told, Flat) else told.row
    numbers = tuple(Decimal(bytes(raw).decode()) for raw in (row.open, row.high, row.low, row.close, row.volume))
    return (*[numbers[3]] * 4, Decimal(0)) if isinstance(told, Flat) else numbers


@settings(max_examples=600)
@given(markets(), st.lists(st.booleans(), min_size=1, max_size=5), st.booleans())
def test_closed_candles_are_ascending_gapless_and_true(
    market: tuple[list[Trade], int, int], resend: list[bool], stamped: bool
) -> None:
    trades, subscribed_ms, until_ms = market
    sent = frames(trades, subscribed_ms, until_ms, resend)
    closing = Closing(MINUTE)
    told: dict[int, Told] = {}
    ended_ms = 0
    for sent_ms, rows in sent:
        if rows is None:
            if not stamped:
                continue
            inferred = closing.on_instant(sent_ms)
        else:
            clock = sent_ms if stamped else None
            inferred = closing.on_rows([Update(1, row, sent_ms) for row in rows], clock)
        for one in inferred.closed:
            open_ms = one.open_time_ms
            assert open_ms + PROVEN_MS <= sent_ms or not stamped
            assert open_ms in told or open_ms > max(told, default=0), "not ascending"
            told[open_ms] = one
        if inferred.forming is not None:
            assert inferred.forming.open_time_ms > max(told, default=0)
            assert inferred.forming.row == row_of(trades, inferred.forming.open_time_ms, inferred.forming.event_time_ms)
        ended_ms = sent_ms if stamped or rows else ended_ms
    known = sent[0][1]
    newest_known_ms = known[-1].open_time_ms if known else subscribed_ms - subscribed_ms % MINUTE_MS
    for one_ms, other_ms in pairwise(told):
        if other_ms != one_ms + MINUTE_MS:
            holes = range(one_ms + MINUTE_MS, other_ms, MINUTE_MS)
            assert stamped
            assert newest_known_ms < min(holes)
            assert max(holes) <= subscribed_ms
    last: Row | None = None
    for open_ms in range(min(told, default=0), max(told, default=-1) + 1, MINUTE_MS):
        last = row_of(trades, open_ms, ended_ms) or last
        if open_ms in told:
            true = row_of(trades, open_ms, ended_ms)
            assert last is not None
            expected: Told = Flat(open_ms, Update(1, last, 0)) if true is None else Update(1, true, 0)
            assert values(told[open_ms]) == values(expected)
    if stamped and trades:
        assert told, "nothing ever closed"
        assert max(told) + 2 * MINUTE_MS > until_ms - 15_000
