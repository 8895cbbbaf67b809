from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from bitfinex_payloads import CODEC, MINUTE_MS, OPEN_MS, VALUES, row, stream

from candleactors.errors import (
    CandleactorsError,
    InvalidSymbol,
    LocalProtocolError,
    MalformedMessage,
    RateLimited,
    RequestFailed,
    VenueError,
)
from candleactors.model import Candle, Source
from candleactors.venues.base import Codec, RestRequest

AFTER_MS = OPEN_MS + 60 * MINUTE_MS


def parse(*rows: str, timeframe: str = "1m", now_ms: int = AFTER_MS) -> list[Candle]:
    return CODEC.parse_klines(stream(timeframe=timeframe), f"[{','.join(rows)}]".encode(), now_ms, 5)


def later(minute: int) -> str:
    return row(OPEN_MS + minute * MINUTE_MS)


class TestRequests:
    def test_from_a_start_on_the_oldest(self) -> None:
        assert CODEC.klines(stream("tBTCF0:USTF0", "1d"), 5, 9, 500) == RestRequest(
            "/v2/candles/trade:1D:tBTCF0:USTF0/hist", (("start", "5"), ("end", "9"), ("limit", "500"), ("sort", "1"))
        )

    def test_without_a_start_the_newest(self) -> None:
        path = "/v2/candles/trade:1m:tBTCUSD/hist"
        assert CODEC.klines(stream(), None, None, 1) == RestRequest(path, (("limit", "1"), ("sort", "-1")))
        assert dict(CODEC.klines(stream(), None, 9, 1).params) == {"end": "9", "limit": "1", "sort": "-1"}

    def test_the_limit_is_the_venue_s_at_most(self) -> None:
        assert dict(CODEC.klines(stream(), None, None, 100_000).params)["limit"] == str(CODEC.rules.klines_limit)
        with pytest.raises(LocalProtocolError):
            CODEC.klines(stream(), None, None, 0)

    def test_others(self) -> None:
        assert CODEC.server_time() == RestRequest("/v2/platform/status")
        path = "/v2/conf/pub:list:pair:exchange,pub:list:pair:futures,pub:map:currency:sym"
        assert CODEC.instruments() == RestRequest(path)
        assert CODEC.tickers() == (RestRequest("/v2/tickers", (("symbols", "ALL"),)),)
        codec: Codec = CODEC
        assert codec.used_weight({"x-anything": "5"}) is None


class TestKlines:
    @pytest.mark.parametrize("descending", [False, True])
    def test_either_order_is_returned_ascending(self, descending: bool) -> None:
        rows = [later(0), later(1), later(5)]
        candles = parse(*(reversed(rows) if descending else rows))
        assert [(c.open_time_ms - OPEN_MS) // MINUTE_MS for c in candles] == [0, 1, 5]
        assert all(c.closed and c.source is Source.REST for c in candles)

    def test_values_by_position(self) -> None:
        (candle,) = parse(row(values="2,3,4,1,5e-7,6"))
        assert [candle.open, candle.close, candle.high, candle.low] == [Decimal(price) for price in (2, 3, 4, 1)]
        assert candle.volume == Decimal("0.0000005")
        assert (candle.quote_volume, candle.trades, candle.taker_buy_volume) == (None, None, None)

    def test_the_running_row_is_open(self) -> None:
        now_ms = OPEN_MS + 2 * MINUTE_MS
        assert [c.closed for c in parse(later(0), later(1), now_ms=now_ms)] == [True, True]
        assert [c.closed for c in parse(later(0), later(1), now_ms=now_ms - 1)] == [True, False]

    def test_nothing(self) -> None:
        assert parse() == []

    @pytest.mark.parametrize(
        "rows",
        [
            [later(0), later(0)],
            [later(1), later(0), later(2)],
            [later(0), later(2), later(1)],
            [row(OPEN_MS + 1)],
            [row(OPEN_MS // 1000)],
            [row(10**18)],
            [row(values="0,1,1,0,1")],
            [row(values="1,1,1,2,1")],
            [row(values='1,1,1,1,"1"')],
            [row(values="1,1,1,1")],
            [row(values="1,1,1,1,null")],
            ['"error"', "10020", '"limit: invalid"'],
            ["5"],
        ],
    )
    def test_half_an_answer_is_none(self, rows: list[str]) -> None:
        with pytest.raises(MalformedMessage):
            parse(*rows)

    def test_months(self) -> None:
        assert len(parse(row(1_572_566_400_000), timeframe="1M")) == 1
        with pytest.raises(MalformedMessage):
            parse(row(1_572_566_400_000 + 86_400_000), timeframe="1M")

    @pytest.mark.parametrize("body", [b"", b"{}", b"[", b"null", b"[[]]", b"\xff", b"[" * 100_000])
    def test_nonsense(self, body: bytes) -> None:
        for parsing in (
            lambda: CODEC.parse_klines(stream(), body, AFTER_MS, 5),
            lambda: CODEC.parse_instruments(body),
            lambda: CODEC.parse_tickers(body),
        ):
            with pytest.raises(MalformedMessage):
                parsing()


class TestClock:
    def test_the_middle_of_the_header_s_second(self) -> None:
        headers = {"date": "Mon, 25 Nov 2019 16:10:00 GMT"}
        assert CODEC.parse_server_time(headers, b"[1]") == OPEN_MS + 500

    @pytest.mark.parametrize("headers", [{}, {"date": "yesterday"}, {"date": ""}])
    def test_no_header(self, headers: dict[str, str]) -> None:
        with pytest.raises(MalformedMessage):
            CODEC.parse_server_time(headers, b"[1]")


class TestInstruments:
    MAP = (
        '[["UST","USDt"],["USTF0","USDt0"],["UDC","USDC"],["ALG","ALGO"],["TESTBTC","BTC"],["XAUT","XAUt"],'
        '["EUT","EURt"],["AMP","AMPL"],["AMPF0","AMPLF0"]]'
    )

    def unified(self, spot: list[str], futures: list[str], names: str = MAP) -> dict[str, str]:
        body = f"[{json.dumps(spot)},{json.dumps(futures)},{names}]".encode()
        page = CODEC.parse_instruments(body)
        assert page.next is None
        assert all(instrument.trades for instrument in page.instruments)
        return {instrument.symbol: instrument.unified for instrument in page.instruments}

    def test_spot(self) -> None:
        pairs = ["BTCUSD", "BTCUST", "ALGUSD", "DUSK:USD", "UDCUSD", "XAUT:UST", "1INCH:USD", "BTCEUT"]
        assert self.unified(pairs, []) == {
            "tBTCUSD": "BTC/USD",
            "tBTCUST": "BTC/USDT",
            "tALGUSD": "ALGO/USD",
            "tDUSK:USD": "DUSK/USD",
            "tUDCUSD": "USDC/USD",
            "tXAUT:UST": "XAUT/USDT",
            "t1INCH:USD": "1INCH/USD",
            "tBTCEUT": "BTC/EURT",
        }

    def test_perpetuals(self) -> None:
        assert self.unified([], ["BTCF0:USTF0", "AMPF0:USTF0", "ETHF0:BTCF0"]) == {
            "tBTCF0:USTF0": "BTC/USDT:USDT",
            "tAMPF0:USTF0": "AMPL/USDT:USDT",
            "tETHF0:BTCF0": "ETH/BTC:BTC",
        }

    def test_play_money_is_not_taken_for_money(self) -> None:
        found = self.unified(["BTCUSD", "TESTBTC:TESTUSD"], ["TESTBTCF0:TESTUSDTF0"])
        assert found == {
            "tBTCUSD": "BTC/USD",
            "tTESTBTC:TESTUSD": "TESTBTC/TESTUSD",
            "tTESTBTCF0:TESTUSDTF0": "TESTBTC/TESTUSDT:TESTUSDT",
        }

    def test_tether_without_a_map(self) -> None:
        assert self.unified(["BTCUST"], ["BTCF0:USTF0"], "[]") == {
            "tBTCUST": "BTC/USDT",
            "tBTCF0:USTF0": "BTC/USDT:USDT",
        }

    def test_what_can_be_no_symbol_is_left_out(self) -> None:
        assert self.unified(["BTC", "btcusd", "BTC USD", ":", ""], ["币安人:USTF0"]) == {}

    @pytest.mark.parametrize("body", ["[[],[]]", "[[],[],[],[]]", "[[5],[],[]]", '[[],[],[["UST"]]]', "[{},{},{}]"])
    def test_another_shape(self, body: str) -> None:
        with pytest.raises(MalformedMessage):
            CODEC.parse_instruments(body.encode())


class TestTickers:
    def test_rows(self) -> None:
        body = (
            b'[["tBTCUSD",118940,43.2,118950,44.3,-3710,-0.03025608,118910,372.10417038,122620,117190],'
            b'["fUST",0.00028,0.0003,120,2.0e7,0.000189,2,31161.0,0.3,7.1e-7,null,null,5],'
            b'["tDUSK:USD",0.1,1,0.2,1,7e-7,1.5e-7,0.00000012,1e-8,0.2,0.1,null],'
            b'["tNEWUSD",null,null,null,null,null,null,null,null,null,null]]'
        )
        bitcoin, dusk = CODEC.parse_tickers(body)
        assert (bitcoin.symbol, bitcoin.last, bitcoin.change) == ("tBTCUSD", Decimal(118910), Decimal("-0.03025608"))
        assert (bitcoin.volume, bitcoin.quote_volume) == (Decimal("372.10417038"), None)
        assert (dusk.symbol, dusk.last, dusk.change) == ("tDUSK:USD", Decimal("1.2e-7"), Decimal("1.5e-7"))

    def test_a_broken_row(self) -> None:
        with pytest.raises(MalformedMessage):
            CODEC.parse_tickers(b'[["tBTCUSD",1,1,1,1,1,1,"x",1]]')
        with pytest.raises(MalformedMessage):
            CODEC.parse_tickers(b'[["tBTCUSD",1]]')


class TestErrors:
    @pytest.mark.parametrize(
        ("status", "body", "expected"),
        [
            (429, b'["error",11010,"ratelimit: error"]', RateLimited),
            (500, b'["error",11010,"ratelimit: error"]', RateLimited),
            (200, b'["error",11010,"ratelimit: error"]', RateLimited),
            (200, b'{"error":"ERR_RATE_LIMIT"}', RateLimited),
            (429, b"", RateLimited),
            (429, b"<html>", RateLimited),
            (403, b"<html>", RateLimited),
            (418, b"", RateLimited),
            (500, b'["error",20060,"maintenance"]', RequestFailed),
            (503, b'["error",11000,"ready: invalid"]', RequestFailed),
            (500, b'["error",10020,"limit: invalid"]', VenueError),
            (200, b' [ "error" ,10020,"limit: invalid"]', VenueError),
            (500, b'["error",10020,"symbol: invalid"]', InvalidSymbol),
            (404, b'["error",10001,"unknown path"]', VenueError),
            (502, b"<html>", RequestFailed),
            (404, b"", RequestFailed),
            (200, b"{}", RequestFailed),
            (200, b'["error"]', RequestFailed),
            (200, b'["error",null,null]', RequestFailed),
            (500, b'["error",1e400]', RequestFailed),
            (500, b'["error",10020,"' + b"x" * 100_000 + b'"]', RequestFailed),
            (302, b"[]", RequestFailed),
        ],
    )
    def test_what_they_mean(self, status: int, body: bytes, expected: type[CandleactorsError]) -> None:
        with pytest.raises(expected) as caught:
            CODEC.check_answer(status, {}, body)
        assert type(caught.value) is expected
        if isinstance(caught.value, RateLimited):
            assert caught.value.retry_after_s == 60.0
            assert caught.value.status == (status if status in (403, 418) else 429)

    def test_the_wait_may_be_told(self) -> None:
        with pytest.raises(RateLimited) as caught:
            CODEC.check_answer(429, {"retry-after": "7"}, b"")
        assert caught.value.retry_after_s == 7.0

    @pytest.mark.parametrize("body", [b"[]", b"[1]", f"[[{OPEN_MS},{VALUES}]]".encode(), b"", b"\xff"])
    def test_good_answers(self, body: bytes) -> None:
        CODEC.check_answer(200, {}, body)

    def test_details(self) -> None:
        with pytest.raises(VenueError) as caught:
            CODEC.check_answer(500, {}, b'["error",10020,"time_interval: invalid"]')
        error: Any = caught.value
        assert (error.code, error.status) == (10020, 500)
        assert "time_interval: invalid" in str(error)
