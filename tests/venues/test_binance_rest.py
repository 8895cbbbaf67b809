from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from binance_payloads import OPEN_MS, VENUES, stream

from candleactors.errors import (
    CandleactorsError,
    InvalidSymbol,
    LocalProtocolError,
    MalformedMessage,
    RateLimited,
    RequestFailed,
    VenueError,
)
from candleactors.model import DAY_MS, MINUTE_MS, Candle, Source, Ticker, Timeframe
from candleactors.venues import codec
from candleactors.venues.base import Instrument, RestRequest

SPOT = codec("binance-spot")
USDM = codec("binance-usdm")
AFTER_MS = OPEN_MS + DAY_MS


def row(open_ms: int = OPEN_MS, **changes: Any) -> list[Any]:
    values = {
        "open_ms": open_ms,
        "open": "0.04110000",
        "high": "0.04150000",
        "low": "0.04100000",
        "close": "0.04140000",
        "volume": "243.00000000",
        "end_ms": open_ms + MINUTE_MS - 1,
        "quote": "9.98730000",
        "trades": 2,
        "taker": "143.00000000",
        "taker_quote": "5.87730000",
        "unused": "0",
    }
    return list((values | changes).values())


def parse(*rows: Any, timeframe: str = "1m", now_ms: int = AFTER_MS) -> list[Candle]:
    return SPOT.parse_klines(stream(timeframe=timeframe), json.dumps(rows).encode(), now_ms, 5)


class TestRequests:
    def test_klines(self) -> None:
        assert SPOT.klines(stream(), None, None, 500) == RestRequest(
            "/api/v3/klines", (("symbol", "BTCUSDT"), ("interval", "1m"), ("limit", "500")), 2
        )
        assert USDM.klines(stream(timeframe="1M"), 0, 9, 1500) == RestRequest(
            "/fapi/v1/klines",
            (("symbol", "BTCUSDT"), ("interval", "1M"), ("startTime", "0"), ("endTime", "9"), ("limit", "1500")),
            10,
        )

    @pytest.mark.parametrize(
        ("limit", "weight"), [(1, 1), (99, 1), (100, 2), (499, 2), (500, 5), (1000, 5), (1001, 10), (1500, 10)]
    )
    def test_weight_of_usdm_klines(self, limit: int, weight: int) -> None:
        assert USDM.klines(stream(), None, None, limit).weight == weight
        assert SPOT.klines(stream(), None, None, limit).weight == 2

    def test_the_limit_is_the_venue_s_at_most(self) -> None:
        assert dict(SPOT.klines(stream(), None, None, 5_000).params)["limit"] == "1000"
        assert dict(USDM.klines(stream(), None, None, 5_000).params)["limit"] == "1500"
        with pytest.raises(LocalProtocolError):
            SPOT.klines(stream(), None, None, 0)

    def test_others(self) -> None:
        assert SPOT.server_time() == RestRequest("/api/v3/time")
        assert USDM.server_time() == RestRequest("/fapi/v1/time")
        assert SPOT.instruments() == RestRequest("/api/v3/exchangeInfo", weight=20)
        assert USDM.instruments() == RestRequest("/fapi/v1/exchangeInfo", weight=1)


class TestRows:
    @pytest.mark.parametrize("venue", VENUES)
    def test_every_value(self, venue: str) -> None:
        watched = stream(venue=venue)
        (candle,) = codec(venue).parse_klines(watched, json.dumps([row()]).encode(), AFTER_MS, 5)
        assert candle == Candle(
            venue=venue,
            symbol="BTCUSDT",
            timeframe=Timeframe("1m"),
            open_time_ms=OPEN_MS,
            close_time_ms=OPEN_MS + MINUTE_MS - 1,
            open=Decimal("0.0411"),
            high=Decimal("0.0415"),
            low=Decimal("0.0410"),
            close=Decimal("0.0414"),
            volume=Decimal(243),
            quote_volume=Decimal("9.9873"),
            trades=2,
            taker_buy_volume=Decimal(143),
            taker_buy_quote_volume=Decimal("5.8773"),
            closed=True,
            complete=True,
            source=Source.REST,
            revision=0,
            received_ms=5,
        )

    def test_none(self) -> None:
        assert parse() == []

    def test_closed_only_once_the_venue_s_clock_has_passed_its_end(self) -> None:
        rows = [row(), row(OPEN_MS + MINUTE_MS)]
        end_ms = OPEN_MS + 2 * MINUTE_MS
        assert [c.closed for c in parse(*rows, now_ms=end_ms - 1)] == [True, False]
        assert [c.closed for c in parse(*rows, now_ms=end_ms)] == [True, True]

    @pytest.mark.parametrize("end_ms", [OPEN_MS + 41_646, OPEN_MS - 5, 0, OPEN_MS + DAY_MS])
    def test_the_close_time_of_an_outage_says_nothing(self, end_ms: int) -> None:
        (candle,) = parse(row(end_ms=end_ms), now_ms=OPEN_MS + 50_000)
        assert not candle.closed
        assert candle.close_time_ms == OPEN_MS + MINUTE_MS - 1

    def test_holes_are_the_reader_s_business(self) -> None:
        assert len(parse(row(), row(OPEN_MS + 60 * MINUTE_MS))) == 2

    def test_more_elements_are_tolerated(self) -> None:
        assert len(parse([*row(), "new", None, {}])) == 1

    @pytest.mark.parametrize("phase", range(3))
    def test_any_phase_of_3_days(self, phase: int) -> None:
        opened = OPEN_MS - OPEN_MS % DAY_MS + phase * DAY_MS
        (candle,) = parse(row(opened), timeframe="3d", now_ms=opened + 3 * DAY_MS - 1)
        assert not candle.closed
        assert candle.close_time_ms == opened + 3 * DAY_MS - 1

    def test_months(self) -> None:
        february_ms = 1_706_745_600_000
        (candle,) = parse(row(february_ms), timeframe="1M", now_ms=february_ms + 29 * DAY_MS)
        assert candle.closed
        assert candle.close_time_ms == february_ms + 29 * DAY_MS - 1

    @pytest.mark.parametrize(
        "bad",
        [
            None,
            {},
            [],
            row()[:10],
            row(open=0.0411),
            row(open=None),
            row(volume=243),
            row(open="NaN"),
            row(low="0"),
            row(low="-1"),
            row(high="0.0413"),
            row(close="1e-2"),
            row(quote="Infinity"),
            row(taker=""),
            row(open="9" * 65),
            row(open="\ud800"),
            row(trades="2"),
            row(trades=-1),
            row(trades=2.0),
            row(trades=2**53),
            row(OPEN_MS + 1),
            row(OPEN_MS + 30_000),
            row(-MINUTE_MS),
            row(0),
            row(OPEN_MS * 1000),
            [str(OPEN_MS), *row()[1:]],
            row(end_ms=None),
        ],
        ids=lambda bad: str(bad)[:60],
    )
    def test_one_bad_row_spoils_the_answer(self, bad: Any) -> None:
        for rows in ([bad], [row(OPEN_MS - MINUTE_MS), bad], [bad, row(OPEN_MS + MINUTE_MS)]):
            with pytest.raises(MalformedMessage) as caught:
                parse(*rows)
            assert len(caught.value.excerpt) <= 201

    @pytest.mark.parametrize("steps", [[0, 0], [1, 0], [0, 1, 1], [0, 2, 1]])
    def test_rows_out_of_order_or_twice_spoil_the_answer(self, steps: list[int]) -> None:
        with pytest.raises(MalformedMessage, match="order"):
            parse(*(row(OPEN_MS + n * MINUTE_MS) for n in steps))


BODIES = [
    b"",
    b"null",
    b"{}",
    b"<html>busy</html>",
    b'{"code":-1121,"msg":"Invalid symbol."}',
    b"\xff\xfe",
    b'{"serverTime":"1"}',
    b'{"serverTime":5}',
    b'{"symbols":{}}',
    b'{"symbols":[{"symbol":1,"status":"TRADING"}]}',
    b'{"symbols":[{"symbol":"BTCUSDT"}]}',
    b'{"symbols":[{"symbol":"\\ud800","status":"TRADING"}]}',
    b"[" * 1_000_000,
    b'{"a":' * 100_000,
    json.dumps([row()]).encode()[:-1],
    json.dumps([row(unused="\xff")], ensure_ascii=False).encode("latin-1"),
    b" " * (65 << 20),
]


@pytest.mark.parametrize("body", BODIES, ids=lambda body: repr(body[:20]))
def test_answers_that_are_none(body: bytes) -> None:
    for parser in (
        lambda: SPOT.parse_klines(stream(), body, AFTER_MS, 5),
        lambda: SPOT.parse_server_time({}, body),
        lambda: SPOT.parse_instruments(body),
    ):
        with pytest.raises(MalformedMessage) as caught:
            parser()
        assert len(str(caught.value)) < 500


def test_server_time() -> None:
    assert SPOT.parse_server_time({}, b'{"serverTime":1499827319559,"new":1}') == 1499827319559


def test_symbols() -> None:
    spot = """{"timezone":"UTC","symbols":[
        {"symbol":"BTCUSDT","status":"TRADING","baseAsset":"BTC","quoteAsset":"USDT","filters":[{}]},
        {"symbol":"OLDUSDT","status":"BREAK","baseAsset":"OLD","quoteAsset":"USDT"},
        {"symbol":"币安人生USDT","status":"TRADING","baseAsset":"币安人生","quoteAsset":"USDT"}]}"""
    assert SPOT.parse_instruments(spot.encode()).instruments == (
        Instrument("BTCUSDT", "BTC/USDT", trades=True),
        Instrument("OLDUSDT", "OLD/USDT", trades=False),
        Instrument("币安人生USDT", "币安人生/USDT", trades=True),
    )
    futures = """{"symbols":[{"symbol":"BTCUSDT","status":"TRADING","baseAsset":"BTC","quoteAsset":"USDT",
        "marginAsset":"USDT","contractType":"PERPETUAL","deliveryDate":4133404800000},
        {"symbol":"BTCUSDT_261225","status":"TRADING","baseAsset":"BTC","quoteAsset":"USDT","marginAsset":"USDT",
        "contractType":"CURRENT_QUARTER","deliveryDate":1798185600000}]}"""
    assert USDM.parse_instruments(futures.encode()).instruments == (
        Instrument("BTCUSDT", "BTC/USDT:USDT", trades=True),
        Instrument("BTCUSDT_261225", "BTC/USDT:USDT-261225", trades=True),
    )


def test_tickers() -> None:
    body = b"""[{"symbol":"BNBBTC","priceChange":"-94.99","priceChangePercent":"-95.960","lastPrice":"4.00000200",
        "volume":"8913.30000000","quoteVolume":"15.30000000","count":76}]"""
    expected = Ticker(
        "binance-spot", "BNBBTC", Decimal("4.000002"), Decimal("-0.9596"), Decimal("8913.3"), Decimal("15.3")
    )
    assert SPOT.parse_tickers(body) == [expected]
    (request,) = SPOT.tickers()
    assert (request.path, request.weight) == ("/api/v3/ticker/24hr", 80)
    with pytest.raises(MalformedMessage):
        SPOT.parse_tickers(body.replace(b"-95.960", b"--95"))


class TestAnswers:
    @pytest.mark.parametrize("status", [200, 201, 204])
    def test_success(self, status: int) -> None:
        SPOT.check_answer(status, {}, b"anything")

    @pytest.mark.parametrize("status", [429, 418, 403])
    @pytest.mark.parametrize(
        ("headers", "wait_s"),
        [
            ({"retry-after": "7"}, 7.0),
            ({"retry-after": " 120 "}, 120.0),
            ({"retry-after": "0"}, 0.0),
            ({"retry-after": "999999999"}, 259_200.0),
            ({}, None),
            ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),
            ({"retry-after": "-5"}, None),
            ({"retry-after": "nan"}, None),
            ({"retry-after": "9" * 5_000}, None),
            ({"retry-after": "٣"}, None),
            ({"retry-after": ""}, None),
        ],
    )
    def test_rate_limited(self, status: int, headers: dict[str, str], wait_s: float | None) -> None:
        with pytest.raises(RateLimited) as caught:
            SPOT.check_answer(status, headers, b'{"code":-1003,"msg":"Too much request weight used."}')
        assert (caught.value.status, caught.value.retry_after_s) == (status, wait_s)

    def test_too_much_weight_by_its_code(self) -> None:
        with pytest.raises(RateLimited):
            SPOT.check_answer(400, {}, b'{"code":-1003,"msg":"Way too much request weight used; IP banned until 1."}')

    @pytest.mark.parametrize("status", [500, 502, 503, 504, 520, 302, 100])
    @pytest.mark.parametrize("body", [b"", b"<html>", b'{"code":-1008,"msg":"Server is currently overloaded"}'])
    def test_broken(self, status: int, body: bytes) -> None:
        with pytest.raises(RequestFailed) as caught:
            SPOT.check_answer(status, {}, body)
        assert caught.value.status == status

    def test_the_symbol_is_unknown(self) -> None:
        with pytest.raises(InvalidSymbol):
            SPOT.check_answer(400, {}, b'{"code":-1121,"msg":"Invalid symbol."}')

    @pytest.mark.parametrize(
        ("status", "code", "message"), [(400, -1120, "Invalid interval."), (451, 0, "restricted location")]
    )
    def test_refused(self, status: int, code: int, message: str) -> None:
        with pytest.raises(VenueError, match=message) as caught:
            SPOT.check_answer(status, {}, json.dumps({"code": code, "msg": message}).encode())
        assert (caught.value.code, caught.value.status) == (code, status)

    @pytest.mark.parametrize(
        "body",
        [b"", b"\xff", b"<html>", b"[]", b'{"code":"x","msg":"y"}', b'{"code":-1121}', b'{"a":' * 20_000, b"x" * 10**6],
        ids=lambda body: repr(body[:20]),
    )
    def test_an_unreadable_refusal_is_no_answer(self, body: bytes) -> None:
        with pytest.raises(RequestFailed):
            SPOT.check_answer(404, {}, body)

    def test_a_long_message_is_cut(self) -> None:
        for status in (400, 429, 500):
            with pytest.raises(CandleactorsError) as caught:
                SPOT.check_answer(status, {}, json.dumps({"code": -1, "msg": "x" * 50_000}).encode())
            assert len(str(caught.value)) < 300

    @pytest.mark.parametrize(
        ("text", "weight"), [("17", 17), (" 6000 ", 6000), ("", None), ("-1", None), ("1e3", None), ("9" * 5_000, None)]
    )
    def test_used_weight(self, text: str, weight: int | None) -> None:
        assert SPOT.used_weight({"x-mbx-used-weight-1m": text}) == weight

    def test_used_weight_is_not_always_told(self) -> None:
        assert SPOT.used_weight({}) is None
