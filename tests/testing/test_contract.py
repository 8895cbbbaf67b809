"""What breaks the candle contract is told, and nothing else is."""

from __future__ import annotations

from decimal import Decimal

import pytest

from candleactors.model import Candle, Event, Gap, GapReason, Revision, Source, Stream, Timeframe
from candleactors.testing import contract_breaches

NOON = 1_709_208_000_000
STREAM = Stream("binance-spot", "BTCUSDT", Timeframe("1m"))


def candle(at: int, revision: int = 0, *, closed: bool = True, symbol: str = "BTCUSDT") -> Candle:
    open_ms, one = NOON + at * 60_000, Decimal(1)
    return Candle(
        venue="binance-spot",
        symbol=symbol,
        timeframe=STREAM.timeframe,
        open_time_ms=open_ms,
        close_time_ms=open_ms + 59_999,
        open=one,
        high=one,
        low=one,
        close=one,
        volume=one,
        quote_volume=None,
        trades=None,
        taker_buy_volume=None,
        taker_buy_quote_volume=None,
        closed=closed,
        complete=closed,
        source=Source.WS,
        revision=revision,
        received_ms=open_ms + 60_000,
    )


def gap(first: int, last: int) -> Gap:
    return Gap(STREAM, NOON + first * 60_000, NOON + last * 60_000, GapReason.VENUE)


def revision(at: int, number: int, *, closed: bool = True) -> Revision:
    return Revision(candle(at, number, closed=closed))


@pytest.mark.parametrize(
    "events",
    [
        [],
        [candle(0), candle(1), gap(2, 5), candle(6)],
        [gap(0, 2), candle(3), revision(1, 1), revision(1, 2), revision(3, 1), candle(4)],
        [candle(0), candle(1, closed=False), candle(1, closed=False), candle(1), candle(2, closed=False)],
        [candle(0), candle(7, symbol="ETHUSDT"), candle(1), candle(8, symbol="ETHUSDT")],
        [candle(0, 2), revision(0, 3)],
    ],
)
def test_sound(events: list[Event]) -> None:
    assert contract_breaches(events) == []


@pytest.mark.parametrize(
    ("events", "problem"),
    [
        ([candle(0), candle(0)], "repeats or goes back, expected"),
        ([candle(1), candle(0)], "repeats or goes back, expected"),
        ([candle(0), candle(2)], "leaves a hole, expected"),
        ([candle(0), gap(2, 3)], "leaves a hole, expected"),
        ([candle(0), gap(0, 3)], "repeats or goes back, expected"),
        ([gap(0, 3), candle(3)], "repeats or goes back, expected"),
        ([candle(0), candle(0, closed=False)], "is forming although it was told of"),
        ([candle(0), revision(1, 1)], "comes before anything else about it"),
        ([revision(0, 1)], "comes before anything else about it"),
        ([candle(0), revision(0, 0)], "is revision 0 after 0"),
        ([candle(0), revision(0, 1), revision(0, 1)], "is revision 1 after 1"),
        ([candle(0), revision(0, 1, closed=False)], "is not closed"),
    ],
)
def test_broken(events: list[Event], problem: str) -> None:
    (breach,) = contract_breaches([*events])
    assert breach.startswith(f"event {len(events) - 1}, of binance-spot:BTCUSDT:1m: ")
    assert problem in breach


def test_after_a_breach_it_goes_on_from_there() -> None:
    assert len(contract_breaches([candle(0), candle(5), candle(6), candle(6), candle(7)])) == 2
