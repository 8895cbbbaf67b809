"""The reference aggregation on examples worked out by hand."""

from __future__ import annotations

from decimal import Decimal

import pytest

from candleactors.errors import InvalidTimeframe
from candleactors.model import Candle, Event, Gap, GapReason, Revision, Source, Stream, Timeframe, Trade
from candleactors.testing import final_candles, reference_from_trades, reference_resample

MINUTE = Timeframe("1m")
NOON = 1_709_208_000_000  # 2024-02-29 12:00 UTC
DAY = 86_400_000


def minute(
    at: int,
    prices: str,
    volume: str = "1",
    quote: str | None = "10",
    trades: int | None = 1,
    taker: str | None = "0.5",
    taker_quote: str | None = "5",
    symbol: str = "BTCUSDT",
) -> Candle:
    """Return the closed candle of the minute `at` after noon; `prices` are open, high, low and close."""
    opened, high, low, closed = map(Decimal, prices.split())
    open_ms = NOON + at * 60_000
    return Candle(
        venue="binance-spot",
        symbol=symbol,
        timeframe=MINUTE,
        open_time_ms=open_ms,
        close_time_ms=open_ms + 59_999,
        open=opened,
        high=high,
        low=low,
        close=closed,
        volume=Decimal(volume),
        quote_volume=None if quote is None else Decimal(quote),
        trades=trades,
        taker_buy_volume=None if taker is None else Decimal(taker),
        taker_buy_quote_volume=None if taker_quote is None else Decimal(taker_quote),
        closed=True,
        complete=True,
        source=Source.WS,
        revision=0,
        received_ms=open_ms + 60_123,
    )


def flat(at: int, price: str) -> Candle:
    return minute(at, " ".join([price] * 4), "0", "0", 0, "0", "0")


def ohlc(candle: Candle) -> tuple[Decimal, Decimal, Decimal, Decimal]:
    return candle.open, candle.high, candle.low, candle.close


def decimals(text: str) -> tuple[Decimal, ...]:
    return tuple(map(Decimal, text.split()))


class TestResample:
    def test_five_minutes_with_trades(self) -> None:
        minutes = [
            minute(0, "100 101 99 100.5", "1.5", "150.1", 3, "0.5", "50"),
            minute(1, "100.5 104 100 103", "2.25", "230", 5, "2", "205.5"),
            minute(2, "103 103 95.5 96", "0.001", "0.0955", 1, "0", "0"),
            minute(3, "96 97 96 97", "10", "965", 7, "10", "965"),
            minute(4, "97 98 96.5 97.5", "3", "291", 2, "1", "97"),
        ]
        assert reference_resample(minutes, "5m") == [
            Candle(
                venue="binance-spot",
                symbol="BTCUSDT",
                timeframe=Timeframe("5m"),
                open_time_ms=1_709_208_000_000,
                close_time_ms=1_709_208_299_999,
                open=Decimal(100),
                high=Decimal(104),
                low=Decimal("95.5"),
                close=Decimal("97.5"),
                volume=Decimal("16.751"),
                quote_volume=Decimal("1636.1955"),
                trades=18,
                taker_buy_volume=Decimal("13.5"),
                taker_buy_quote_volume=Decimal("1317.5"),
                closed=True,
                complete=True,
                source=Source.DERIVED,
                revision=0,
                received_ms=1_709_208_300_123,
                missing=0,
            )
        ]

    def test_a_minute_without_trades_touches_no_price(self) -> None:
        minutes = [
            flat(0, "500"),
            minute(1, "100 102 99 101"),
            flat(2, "1"),
            minute(3, "101 103 100 102"),
            flat(4, "9"),
        ]
        (candle,) = reference_resample(minutes, "5m")
        assert ohlc(candle) == decimals("100 103 99 102")
        assert candle.complete

    def test_all_without_trades_are_flat_at_the_last_close(self) -> None:
        (candle,) = reference_resample([flat(0, "7"), flat(1, "8")], "2m")
        assert ohlc(candle) == decimals("8 8 8 8")
        assert candle.values()[4:] == (0, 0, 0, 0, 0)

    @pytest.mark.parametrize(
        ("volume", "trades", "has_traded"),
        [("1", 1, True), ("1", None, True), ("0", 1, True), ("1", 0, True), ("0", 0, False), ("0", None, False)],
    )
    def test_who_has_traded(self, volume: str, trades: int | None, has_traded: bool) -> None:
        minutes = [minute(0, "1 2 1 2"), minute(1, "5 9 5 8", volume, trades=trades)]
        (candle,) = reference_resample(minutes, "2m")
        assert ohlc(candle) == (decimals("1 9 1 8") if has_traded else decimals("1 2 1 2"))

    @pytest.mark.parametrize("name", ["quote_volume", "trades", "taker_buy_volume", "taker_buy_quote_volume"])
    def test_a_sum_with_an_unknown_part_is_unknown(self, name: str) -> None:
        minutes = [minute(0, "1 1 1 1"), minute(1, "1 1 1 1").replace(**{name: None}), minute(2, "1 1 1 1")]
        first, second = reference_resample(minutes, "2m")
        assert getattr(first, name) is None
        assert [value for value in first.values() if value is None] == [None]
        assert getattr(second, name) is not None

    def test_sums_have_as_many_digits_as_they_need(self) -> None:
        minutes = [
            minute(0, "1 1 1 1", "1000000000000000000000000000000"),
            minute(1, "1 1 1 1", "0.000000000000000001"),
        ]
        (candle,) = reference_resample(minutes, "2m")
        assert candle.volume == Decimal("1000000000000000000000000000000.000000000000000001")

    def test_what_is_absent_is_counted(self) -> None:
        minutes = [minute(at, "1 1 1 1") for at in (1, 2, 4, 10, 16)]
        found = reference_resample(minutes, "5m")
        assert [(each.open_time_ms, each.missing, each.complete, each.closed) for each in found] == [
            (NOON, 2, False, True),
            (NOON + 600_000, 4, False, True),
            (NOON + 900_000, 4, False, False),
        ]
        assert [each.received_ms for each in found] == [NOON + at * 60_000 + 60_123 for at in (4, 10, 16)]

    def test_the_last_interval_is_closed_once_its_last_minute_is_there(self) -> None:
        (candle,) = reference_resample([minute(4, "1 1 1 1")], "5m")
        assert candle.closed
        assert candle.missing == 4

    def test_what_constituents_miss_is_missing(self) -> None:
        minutes = [minute(0, "1 1 1 1").replace(missing=3, complete=False), minute(1, "1 1 1 1")]
        found = reference_resample(minutes, "5m")
        assert [(each.missing, each.complete) for each in found] == [(6, False)]

    def test_order_does_not_matter_and_the_last_word_counts(self) -> None:
        minutes = [minute(1, "2 2 2 2"), minute(0, "1 1 1 1"), minute(1, "3 3 3 3")]
        (candle,) = reference_resample(minutes, "2m")
        assert ohlc(candle) == decimals("1 3 1 3")
        assert candle.volume == 2

    def test_an_open_candle_is_no_constituent(self) -> None:
        minutes = [minute(0, "1 1 1 1"), minute(1, "9 9 9 9").replace(closed=False)]
        (candle,) = reference_resample(minutes, "2m")
        assert candle.high == 1
        assert candle.missing == 1

    def test_markets_are_apart(self) -> None:
        minutes = [minute(0, "2 2 2 2"), minute(0, "3 3 3 3", symbol="ADAUSDT"), minute(1, "2 2 2 2")]
        assert [(each.symbol, each.missing) for each in reference_resample(minutes, "2m")] == [
            ("ADAUSDT", 1),
            ("BTCUSDT", 0),
        ]

    def test_the_last_bar_of_a_day_is_shorter(self) -> None:
        first = minute(0, "1 1 1 1")
        minutes = [
            first.replace(open_time_ms=NOON + DAY // 2 + at, close_time_ms=NOON + DAY // 2 + at + 59_999)
            for at in range(-360_000, 120_000, 60_000)
        ]
        # 1440 = 205 * 7 + 5: the last one opens at 23:55.
        found = [(each.open_time_ms - NOON - DAY // 2, each.missing) for each in reference_resample(minutes, "7m")]
        assert found == [(-720_000, 6), (-300_000, 0), (0, 5)]

    def test_a_leap_february_has_29_days(self) -> None:
        days = [
            minute(0, "1 1 1 1").replace(timeframe=Timeframe("1d"), open_time_ms=opened, close_time_ms=opened + DAY - 1)
            for opened in range(1_706_745_600_000, 1_709_337_600_000, DAY)  # February 1st to March 1st
        ]
        assert [(each.volume, each.missing, each.closed) for each in reference_resample(days, "1M")] == [
            (Decimal(29), 0, True),
            (Decimal(1), 30, False),
        ]

    def test_what_does_not_fit_is_refused(self) -> None:
        with pytest.raises(InvalidTimeframe, match='"90s" is not made of 1m candles'):
            reference_resample([minute(0, "1 1 1 1")], "90s")
        two = minute(1, "1 1 1 1").replace(timeframe=Timeframe("2m"))
        with pytest.raises(InvalidTimeframe):
            reference_resample([minute(0, "1 1 1 1"), two], "4m")

    def test_nothing_comes_of_nothing(self) -> None:
        assert reference_resample([], "5m") == []


STREAM = Stream("binance-spot", "BTCUSDT", MINUTE)


class TestFinalCandles:
    def test_the_last_word_counts(self) -> None:
        corrected = minute(0, "2 2 2 2").replace(revision=1)
        repaired = minute(2, "3 3 3 3").replace(revision=1)
        events: list[Event] = [
            minute(0, "1 1 1 1"),
            Gap(STREAM, NOON + 60_000, NOON + 180_000, GapReason.UNREPAIRED),
            minute(4, "1 1 1 1"),
            Revision(repaired),
            Revision(corrected),
            minute(5, "1 1 1 1").replace(closed=False),
        ]
        assert final_candles(events) == [corrected, repaired, minute(4, "1 1 1 1")]

    def test_a_gap_takes_back_what_was_said(self) -> None:
        assert final_candles([minute(0, "1 1 1 1"), Gap(STREAM, NOON, NOON, GapReason.VENUE)]) == []

    def test_streams_are_apart(self) -> None:
        other = minute(0, "1 1 1 1").replace(timeframe=Timeframe("60s"))
        assert final_candles([minute(0, "1 1 1 1"), other]) == [minute(0, "1 1 1 1"), other]


def trade(
    first: int, price: str, amount: str, at_s: float, *, last: int | None = None, buy: bool | None = True
) -> Trade:
    return Trade(
        "binance-spot", "BTCUSDT", first, last or first, Decimal(price), Decimal(amount), NOON + round(at_s * 1000), buy
    )


class TestFromTrades:
    def test_two_minutes(self) -> None:
        trades = [
            trade(1, "100", "1", 0),
            trade(2, "103", "0.5", 10, last=4, buy=False),
            trade(5, "99", "2", 59.999),
            trade(6, "98", "0.25", 60),
        ]
        first, second = reference_from_trades(trades, "1m")
        assert first == Candle(
            venue="binance-spot",
            symbol="BTCUSDT",
            timeframe=MINUTE,
            open_time_ms=1_709_208_000_000,
            close_time_ms=1_709_208_059_999,
            open=Decimal(100),
            high=Decimal(103),
            low=Decimal(99),
            close=Decimal(99),
            volume=Decimal("3.5"),
            quote_volume=Decimal("349.5"),
            trades=5,
            taker_buy_volume=Decimal(3),
            taker_buy_quote_volume=Decimal(298),
            closed=True,
            complete=True,
            source=Source.DERIVED,
            revision=0,
            received_ms=1_709_208_060_000,
            missing=0,
        )
        assert ohlc(second) == decimals("98 98 98 98")
        assert (second.closed, second.complete) == (False, False)

    def test_ids_order_times_place(self) -> None:
        trades = [trade(4, "4", "1", 70), trade(3, "3", "1", 50), trade(1, "1", "1", 0), trade(2, "2", "1", 61)]
        assert [ohlc(each) for each in reference_from_trades([*trades, *trades], "1m")] == [
            decimals("1 3 1 3"),
            decimals("2 4 2 4"),
        ]

    def test_a_minute_without_trades_is_flat(self) -> None:
        first, second, third = reference_from_trades([trade(1, "5", "1", 0), trade(2, "9", "1", 130)], "1m")
        assert ohlc(second) == decimals("5 5 5 5")
        assert second.values()[4:] == (0, 0, 0, 0, 0)
        assert [each.complete for each in (first, second, third)] == [True, True, False]

    def test_missing_ids_are_missing_wherever_they_may_belong(self) -> None:
        trades = [trade(1, "1", "1", 0), trade(5, "1", "1", 130), trade(7, "1", "1", 140), trade(8, "1", "1", 200)]
        assert [each.missing for each in reference_from_trades(trades, "1m")] == [3, 3, 4, 0]

    def test_an_unknown_taker_makes_the_sums_unknown(self) -> None:
        (candle,) = reference_from_trades([trade(1, "1", "1", 0), trade(2, "1", "1", 0, buy=None)], "1m")
        assert (candle.taker_buy_volume, candle.taker_buy_quote_volume) == (None, None)
        assert candle.quote_volume == 2

    def test_nothing_comes_of_nothing(self) -> None:
        assert reference_from_trades([], "5m") == []
