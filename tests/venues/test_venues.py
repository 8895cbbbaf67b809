from __future__ import annotations

import json

import pytest
from binance_payloads import VENUES, stream, watching

from candleactors.errors import InvalidSymbol, InvalidTimeframe, UnknownVenue
from candleactors.model import Timeframe
from candleactors.venues import codec, names


def test_every_name_has_a_codec_of_that_name() -> None:
    assert list(names()) == sorted(names())
    assert set(VENUES) <= set(names())
    for name in names():
        assert codec(name).rules.venue == name


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("binance-spto", "binance-spot"),
        ("Binance-Spot", "binance-spot"),
        ("binance-usd-m", "binance-usdm"),
        ("nyse", None),
    ],
)
def test_an_unknown_venue_is_told_the_nearest(name: str, nearest: str | None) -> None:
    with pytest.raises(UnknownVenue) as caught:
        codec(name)
    assert caught.value.nearest == nearest
    assert f'"{name}"' in str(caught.value)


@pytest.mark.parametrize("venue", names())
class TestRules:
    def test_timeframes_are_sorted_and_unique(self, venue: str) -> None:
        timeframes = codec(venue).rules.timeframes
        assert list(timeframes) == sorted(set(timeframes), key=lambda t: t.nominal_ms)
        assert Timeframe("1m") in timeframes

    def test_addresses_are_encrypted_and_without_path(self, venue: str) -> None:
        for endpoints in filter(None, (codec(venue).rules.endpoints, codec(venue).rules.testnet)):
            for url, scheme in ((endpoints.websocket, "wss:"), (endpoints.rest, "https:")):
                assert url.startswith(scheme + "//")
                assert "/" not in url.removeprefix(scheme + "//")

    def test_limits_are_positive(self, venue: str) -> None:
        rules = codec(venue).rules
        assert min(rules.max_streams_per_connection, rules.max_names_per_request, rules.connects) > 0
        assert min(rules.messages_per_s, rules.connects_window_s, rules.rest_weight, rules.klines_limit) > 0


class TestBinance:
    @pytest.mark.parametrize(
        ("venue", "url"),
        [
            ("binance-spot", "wss://stream.binance.com:9443/stream"),
            ("binance-usdm", "wss://fstream.binance.com/market/stream"),
            ("aster", "wss://fstream.asterdex.com/stream"),
        ],
    )
    def test_url(self, venue: str, url: str) -> None:
        dialect = codec(venue)
        assert dialect.websocket_url(dialect.rules.endpoints.websocket) == url
        assert dialect.websocket_url(dialect.rules.endpoints.websocket + "/") == url

    def test_one_second_is_for_spot_alone(self) -> None:
        assert codec("binance-spot").stream_name(stream(timeframe="1s")) == "btcusdt@kline_1s"
        with pytest.raises(InvalidTimeframe, match="USD-M"):
            codec("binance-usdm").stream_name(stream(timeframe="1s"))
        with pytest.raises(InvalidTimeframe, match="Aster"):
            codec("aster").stream_name(stream(timeframe="1s"))

    def test_a_name_must_fit_a_frame_of_all_of_them(self) -> None:
        longest = codec("binance-spot").stream_name(stream("1000000CHEEMSUSDT_260327", "15m"))
        assert 1024 * (len(longest) + 3) < 64 << 10

    @pytest.mark.parametrize(
        ("timeframe", "nearest"), [("7m", None), ("60m", "1h"), ("24h", "1d"), ("2M", None), ("30d", None)]
    )
    def test_other_timeframes_are_refused(self, timeframe: str, nearest: str | None) -> None:
        with pytest.raises(InvalidTimeframe) as caught:
            codec("binance-spot").stream_name(stream(timeframe=timeframe))
        assert caught.value.nearest == nearest

    @pytest.mark.parametrize(
        "symbol", ["", " ", "BTC USDT", "BTC/USDT", "BTC@USDT", 'BTC"', "BTC\\USDT", "BTC\nUSDT", "A&B", "A" * 65, "A?"]
    )
    def test_symbols_that_would_break_a_name_are_refused(self, symbol: str) -> None:
        with pytest.raises(InvalidSymbol):
            codec("binance-spot").stream_name(stream(symbol))

    def test_lower_case_is_no_symbol_but_a_near_miss(self) -> None:
        with pytest.raises(InvalidSymbol) as caught:
            codec("binance-spot").stream_name(stream("btcusdt"))
        assert caught.value.nearest == "BTCUSDT"

    def test_names_of_different_streams_differ(self) -> None:
        streams = [stream(s, t) for s in ("BTCUSDT", "币安人生USDT", "ÜBERUSDT") for t in ("1m", "1M", "15m")]
        assert len(watching(*streams)) == len(streams)

    @pytest.mark.parametrize("venue", VENUES)
    def test_requests(self, venue: str) -> None:
        dialect = codec(venue).session()
        wanted = ["btcusdt@kline_1m", "币安人生usdt@kline_1M"]
        assert json.loads(dialect.subscribe(1, wanted)) == {"method": "SUBSCRIBE", "params": wanted, "id": 1}
        leaving = dialect.unsubscribe(2, wanted)
        assert leaving is not None
        assert json.loads(leaving) == {"method": "UNSUBSCRIBE", "params": wanted, "id": 2}
        listing = dialect.list_subscriptions(3)
        assert listing is not None
        assert json.loads(listing) == {"method": "LIST_SUBSCRIPTIONS", "id": 3}
