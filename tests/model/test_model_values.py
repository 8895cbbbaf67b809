from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candleactors.errors import ConfigError, InvalidTimeframe
from candleactors.model import Candle, Gap, GapReason, Revision, Source, Stream, Timeframe

STREAM = Stream("binance-spot", "BTCUSDT", Timeframe("1m"))


def candle(**changes: Any) -> Candle:
    values: dict[str, Any] = {
        "venue": "binance-spot",
        "symbol": "BTCUSDT",
        "timeframe": Timeframe("1m"),
        "open_time_ms": 1_700_000_040_000,
        "close_time_ms": 1_700_000_099_999,
        "open": Decimal(10),
        "high": Decimal(12),
        "low": Decimal(9),
        "close": Decimal(11),
        "volume": Decimal(5),
        "quote_volume": Decimal(50),
        "trades": 3,
        "taker_buy_volume": Decimal(2),
        "taker_buy_quote_volume": Decimal(20),
        "closed": True,
        "complete": True,
        "source": Source.WS,
        "revision": 0,
        "received_ms": 1_700_000_100_005,
    }
    return Candle(**(values | changes))


class TestCandle:
    def test_belongs_to_its_stream(self) -> None:
        assert candle().stream == STREAM
        assert candle().next_open_time_ms == 1_700_000_100_000

    def test_cannot_be_changed(self) -> None:
        with pytest.raises(AttributeError, match="immutable"):
            candle().close = Decimal(1)  # type: ignore[misc]  # the point of the test

    @pytest.mark.parametrize(
        "changes", [{"source": Source.REST}, {"revision": 4}, {"received_ms": 1}, {"close": Decimal("11.000")}]
    )
    def test_provenance_is_no_value(self, changes: dict[str, Any]) -> None:
        assert candle(**changes).same_values(candle())

    @pytest.mark.parametrize(
        "field",
        ["open", "high", "low", "close", "volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume"],
    )
    def test_every_number_is_a_value(self, field: str) -> None:
        changed = candle(**{field: Decimal("10.5")})
        assert not changed.same_values(candle())
        assert changed.values() != candle().values()

    def test_what_is_not_given_differs_from_zero(self) -> None:
        assert not candle(quote_volume=None).same_values(candle(quote_volume=Decimal(0)))
        assert not candle(trades=None).same_values(candle(trades=0))

    @pytest.mark.parametrize(
        "changes",
        [
            {},
            {"volume": Decimal(0), "trades": 0},
            {"quote_volume": None, "trades": None, "taker_buy_volume": None, "taker_buy_quote_volume": None},
            dict.fromkeys(("open", "high", "low", "close"), Decimal("0.00000001")),
        ],
    )
    def test_possible(self, changes: dict[str, Any]) -> None:
        assert candle(**changes).problem() is None

    @pytest.mark.parametrize(
        ("changes", "problem"),
        [
            ({"low": Decimal(0)}, "price"),
            ({"open": Decimal(-1)}, "price"),
            ({"close": Decimal("NaN")}, "price"),
            ({"high": Decimal("Infinity")}, "price"),
            ({"high": Decimal("10.5")}, "outside"),
            ({"low": Decimal("10.5")}, "outside"),
            ({"high": Decimal(8), "low": Decimal(13)}, "outside"),
            ({"volume": Decimal(-1)}, "volume"),
            ({"quote_volume": Decimal("NaN")}, "volume"),
            ({"taker_buy_volume": Decimal("Infinity")}, "volume"),
            ({"taker_buy_quote_volume": Decimal("-0.1")}, "volume"),
            ({"trades": -1}, "trades"),
        ],
    )
    def test_impossible(self, changes: dict[str, Any], problem: str) -> None:
        found = candle(**changes).problem()
        assert found is not None
        assert problem in found


class TestStream:
    @given(
        st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1),
        st.text(min_size=1),
        st.sampled_from(["1s", "7m", "1M"]),
    )
    def test_text_and_back(self, venue: str, symbol: str, timeframe: str) -> None:
        stream = Stream(venue, symbol, Timeframe(timeframe))
        assert Stream.parse(str(stream)) == stream

    @pytest.mark.parametrize("text", ["", "binance-spot", "binance-spot:BTCUSDT", "::", ":BTCUSDT:1m", "a::1m", "a:b:"])
    def test_other_text_is_refused(self, text: str) -> None:
        with pytest.raises(ConfigError, match="is not a stream"):
            Stream.parse(text)

    def test_the_timeframe_is_checked(self) -> None:
        with pytest.raises(InvalidTimeframe, match='did you mean "1h"'):
            Stream.parse("binance-spot:BTCUSDT:1H")


class TestGap:
    def test_counts_both_ends(self) -> None:
        opened = 1_700_000_040_000
        assert Gap(STREAM, opened, opened, GapReason.VENUE).count == 1
        assert Gap(STREAM, opened, opened + 120_000, GapReason.UNREPAIRED).count == 3

    def test_counts_calendar_months(self) -> None:
        stream = Stream("binance-spot", "BTCUSDT", Timeframe("1M"))
        assert Gap(stream, 1_704_067_200_000, 1_709_251_200_000, GapReason.VENUE).count == 3

    def test_counts_across_a_short_last_bar(self) -> None:
        stream = Stream("binance-spot", "BTCUSDT", Timeframe("7m"))
        midnight = 1_704_067_200_000
        assert Gap(stream, midnight - 5 * 60_000, midnight + 7 * 60_000, GapReason.VENUE).count == 3


def test_a_revision_is_about_the_stream_of_its_candle() -> None:
    assert Revision(candle(revision=1)).stream == STREAM
