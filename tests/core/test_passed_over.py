"""Intervals that were delivered as gaps: when they are looked at again, and what fills them."""

from __future__ import annotations

from decimal import Decimal

from candleactors.core.passed_over import PassedOver
from candleactors.model import Candle, Gap, GapReason, Source, Stream, Timeframe

MINUTE = Timeframe("1m")
STREAM = Stream("binance-spot", "BTCUSDT", MINUTE)


def at(n: int) -> int:
    return n * 60_000


def row(n: int) -> Candle:
    one = Decimal(1)
    return Candle(
        venue=STREAM.venue, symbol=STREAM.symbol, timeframe=MINUTE, open_time_ms=at(n), close_time_ms=at(n + 1) - 1,
        open=one, high=one, low=one, close=one, volume=one, quote_volume=one, trades=1, taker_buy_volume=one,
        taker_buy_quote_volume=one, closed=True, complete=True, source=Source.REST, revision=0, received_ms=0,
    )  # fmt: skip


def gap(first: int, last: int) -> Gap:
    return Gap(STREAM, at(first), at(last), GapReason.UNREPAIRED)


def passed_over(*gaps: Gap) -> PassedOver:
    return PassedOver(MINUTE, gaps, 0.0)


def looked_at(known: PassedOver, now_s: float) -> list[int]:
    """Look at everything that is due, at a venue that has only what follows each, and return where that begins."""
    first = []
    while (stretch := known.due(now_s)) is not None:
        first.append(stretch.first_ms // 60_000)
        known.looked(stretch.first_ms, [row(stretch.until_ms // 60_000)], now_s)
    return first


def test_every_gap_is_looked_at_though_the_first_ones_stay() -> None:
    """A look at one postpones no other that its rows do not reach."""
    known = passed_over(*(gap(10 * n, 10 * n + 1) for n in range(5)))
    assert looked_at(known, 0.0) == [0, 10, 20, 30, 40]
    assert looked_at(known, 1.0) == []
    assert looked_at(known, 15.0) == [0, 10, 20, 30, 40]


def test_one_answer_may_be_a_look_at_several() -> None:
    known = passed_over(gap(1, 1), gap(3, 3), gap(9, 9))
    known.looked(at(1), [row(2), row(4)], 0.0)
    stretch = known.due(0.0)
    assert stretch is not None
    assert stretch.first_ms == at(9)


def test_what_the_venue_has_shown_three_times_is_believed() -> None:
    known = passed_over(gap(1, 2))
    for now_s in (0.0, 15.0, 75.0):
        assert looked_at(known, now_s) == [1]
    assert known.next_due_s() == float("inf")
    assert known.fill(at(2)), "a row that turns up after all"
    assert known.gaps(STREAM) == (gap(1, 1),)


def test_no_answer_shows_nothing() -> None:
    known = passed_over(gap(1, 2))
    for now_s in (0.0, 15.0, 75.0, 375.0, 1_275.0, 2_175.0):
        assert known.due(now_s) is not None
        known.looked(at(1), [], now_s)
    assert known.next_due_s() == 2_175.0 + 900.0


def test_filling_the_middle_leaves_both_ends() -> None:
    known = passed_over(gap(1, 5))
    assert known.fill(at(3))
    assert not known.fill(at(3))
    assert known.gaps(STREAM) == (gap(1, 2), gap(4, 5))
