from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from okx_payloads import DIALECT, OPEN_MS, answer, dumps, row, stream

from candleactors.errors import (
    InvalidSymbol,
    LocalProtocolError,
    MalformedMessage,
    RateLimited,
    RequestFailed,
    VenueError,
)
from candleactors.model import Candle, Source
from candleactors.venues.base import Instrument, RestRequest

MINUTE = 60_000
LATER_MS = OPEN_MS + 100 * MINUTE


def rows(count: int, closed: bool = True) -> list[list[str]]:
    """Return rows newest first."""
    return [row(OPEN_MS + i * MINUTE, closed=closed) for i in reversed(range(count))]


def parse(*data: Any, now_ms: int = LATER_MS, symbol: str = "BTC-USDT", timeframe: str = "1m") -> list[Candle]:
    return DIALECT.parse_klines(stream(symbol, timeframe), answer(*data), now_ms, 7)


class TestKlinesRequest:
    def test_the_newest_rows(self) -> None:
        expected = RestRequest(
            "/api/v5/market/candles", (("instId", "BTC-USDT"), ("bar", "1m"), ("limit", "50")), weight=1
        )
        assert DIALECT.klines(stream(), None, None, 50) == expected
        assert DIALECT.klines(stream(), None, None, 50, OPEN_MS) == expected

    def test_a_window_excludes_its_ends(self) -> None:
        request = DIALECT.klines(stream(), OPEN_MS, None, 60, OPEN_MS + 61 * MINUTE)
        assert request.path == "/api/v5/market/candles"
        params = dict(request.params)
        assert params["before"] == str(OPEN_MS - 1)
        assert params["after"] == str(OPEN_MS + 60 * MINUTE)
        assert params["limit"] == "60"

    def test_an_end_shortens_the_window(self) -> None:
        for end, after in ((OPEN_MS + 5 * MINUTE, OPEN_MS + 5 * MINUTE + 1), (LATER_MS, OPEN_MS + 60 * MINUTE)):
            params = dict(DIALECT.klines(stream(), OPEN_MS, end, 60).params)
            assert params["after"] == str(after)
        params = dict(DIALECT.klines(stream(), None, LATER_MS, 60).params)
        assert params["after"] == str(LATER_MS + 1)
        assert "before" not in params

    @pytest.mark.parametrize("timeframe", ["1m", "1d", "1w", "1M", "3M"])
    def test_the_window_is_what_the_rules_promise(self, timeframe: str) -> None:
        watched = stream(timeframe=timeframe)
        start_ms = watched.timeframe.floor(OPEN_MS)
        limit = DIALECT.rules.klines_limit
        for asked in (1, limit, limit + 1, 10_000):
            params = dict(DIALECT.klines(watched, start_ms, None, asked).params)
            assert params["after"] == str(watched.timeframe.advance(start_ms, min(asked, limit)))
            assert params["limit"] == str(min(asked, limit))

    def test_old_rows_are_kept_elsewhere(self) -> None:
        now_ms = OPEN_MS + 7_000
        for back, path, weight in (
            (1, "candles", 1),
            (1340, "candles", 1),
            (1341, "history-candles", 2),
            (50_000, "history-candles", 2),
        ):
            request = DIALECT.klines(stream(), OPEN_MS - back * MINUTE, None, 100, now_ms - 7_000)
            assert (request.path, request.weight) == (f"/api/v5/market/{path}", weight)
        assert DIALECT.klines(stream(), OPEN_MS, None, 100).path == "/api/v5/market/history-candles"

    def test_seconds_are_history_from_the_beginning(self) -> None:
        seconds = stream(timeframe="1s")
        for start_ms in (None, OPEN_MS):
            assert DIALECT.klines(seconds, start_ms, None, 10, OPEN_MS).path == "/api/v5/market/history-candles"

    def test_no_rows(self) -> None:
        with pytest.raises(LocalProtocolError):
            DIALECT.klines(stream(), None, None, 0)

    def test_weights_keep_every_path_within_its_own_limit(self) -> None:
        rules = DIALECT.rules
        limits = {
            "/api/v5/market/candles": 40,
            "/api/v5/market/history-candles": 20,
            "/api/v5/market/tickers": 20,
            "/api/v5/public/instruments": 20,
            "/api/v5/public/time": 10,
        }
        requests = [
            DIALECT.klines(stream(), None, None, 1),
            DIALECT.klines(stream(timeframe="1s"), None, None, 1),
            *DIALECT.tickers(),
            DIALECT.instruments(),
            DIALECT.server_time(),
        ]
        assert {request.path for request in requests} == set(limits)
        assert rules.rest_window_s == 2.0
        for request in requests:
            assert rules.rest_weight // request.weight == limits[request.path]


class TestKlinesAnswer:
    def test_rows_ascend(self) -> None:
        candles = parse(*rows(5))
        assert [candle.open_time_ms for candle in candles] == [OPEN_MS + i * MINUTE for i in range(5)]
        assert {(candle.closed, candle.source, candle.received_ms) for candle in candles} == {(True, Source.REST, 7)}
        assert (str(candles[0].volume), str(candles[0].quote_volume)) == ("1.57843610", "121697.290334105")
        assert parse() == []

    def test_the_volume_of_a_swap(self) -> None:
        (candle,) = parse(row(closed=True, vol="4070", volCcy="40.7"), symbol="BTC-USDT-SWAP")
        assert candle.volume == Decimal("40.7")

    def test_the_last_row_is_forming(self) -> None:
        data = [row(OPEN_MS + MINUTE), row(closed=True)]
        assert [c.closed for c in parse(*data, now_ms=OPEN_MS + 90_000)] == [True, False]

    def test_a_row_is_closed_only_if_its_time_is_over(self) -> None:
        assert [c.closed for c in parse(*rows(3), now_ms=OPEN_MS + 2 * MINUTE)] == [True, True, False]
        assert [c.closed for c in parse(*rows(1), now_ms=OPEN_MS + MINUTE - 1)] == [False]

    def test_a_row_is_closed_only_if_the_venue_says_so(self) -> None:
        data = [row(OPEN_MS + MINUTE), row()]
        assert [c.closed for c in parse(*data, now_ms=OPEN_MS + MINUTE + 5_000)] == [False, False]
        assert [c.closed for c in parse(row(), now_ms=LATER_MS)] == [False]

    def test_a_row_before_a_closed_one_is_closed(self) -> None:
        assert [c.closed for c in parse(row(OPEN_MS + MINUTE, closed=True), row())] == [True, True]

    def test_a_row_that_stays_unfinished_is_not_passed_over(self) -> None:
        with pytest.raises(MalformedMessage, match="unfinished"):
            parse(row(OPEN_MS + MINUTE), row(), now_ms=OPEN_MS + MINUTE + 10_001)

    @pytest.mark.parametrize(
        "data",
        [
            [row(closed=True), row(closed=True)],
            [row(closed=True), row(OPEN_MS + MINUTE, closed=True)],
            [row(OPEN_MS + 1, closed=True)],
            [row(closed=True, c="0")],
            [row(closed=True, h="1")],
            [row(closed=True, confirm="")[:5]],
            [row(closed=True, ts="x")],
            [{}],
            [row(closed=True, confirm="3")],
        ],
    )
    def test_one_impossible_row_spoils_all(self, data: list[Any]) -> None:
        with pytest.raises(MalformedMessage):
            parse(*data)

    @pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"code":"0"}', b'{"code":"51001","msg":"","data":[]}'])
    def test_no_answer(self, body: bytes) -> None:
        with pytest.raises(MalformedMessage):
            DIALECT.parse_klines(stream(), body, LATER_MS, 7)

    def test_documented_rows(self) -> None:
        body = (  # of the documentation, with open times that can be
            b'{"code":"0","msg":"","data":[["1597026360000","3.721","3.743","3.677","3.708","8422410","22698348.04828491",'
            b'"12698348.04828491","0"],["1597026300000","3.731","3.799","3.494","3.72","24912403","67632347.24399722",'
            b'"37632347.24399722","1"]]}'
        )
        first, second = DIALECT.parse_klines(stream(), body, 1_597_026_383_085, 7)
        assert (first.closed, second.closed) == (True, False)
        assert (str(first.volume), str(first.quote_volume)) == ("24912403", "37632347.24399722")


class TestOtherAnswers:
    def test_the_clock(self) -> None:
        assert DIALECT.parse_server_time({}, answer({"ts": "1597026383085"})) == 1_597_026_383_085
        wrong: tuple[list[Any], ...] = (
            [],
            [{"ts": "1597026383"}],
            [{"ts": "x" * 13}],
            [{"ts": "1597026383085"}] * 2,
            [{}],
        )
        for data in wrong:
            with pytest.raises(MalformedMessage):
                DIALECT.parse_server_time({}, answer(*data))

    def test_instruments_come_in_two_pages(self) -> None:
        first = DIALECT.instruments()
        assert (first.path, first.params) == ("/api/v5/public/instruments", (("instType", "SPOT"),))
        spot = {"instType": "SPOT", "uly": "", "settleCcy": ""}
        page = DIALECT.parse_instruments(
            answer(
                spot | {"instId": "BTC-USDT", "baseCcy": "BTC", "quoteCcy": "USDT", "state": "live"},
                spot | {"instId": "OLD-USDT", "baseCcy": "OLD", "quoteCcy": "USDT", "state": "suspend"},
                {"instType": "SPOT", "instId": "NEW-USDT", "state": "preopen"},
            )
        )
        assert page.instruments == (
            Instrument("BTC-USDT", "BTC/USDT", True),
            Instrument("OLD-USDT", "OLD/USDT", False),
            Instrument("NEW-USDT", "NEW/USDT", False),
        )
        assert page.next is not None
        assert DIALECT.instruments(page.next).params == (("instType", "SWAP"),)
        swap = {"instType": "SWAP", "baseCcy": "", "quoteCcy": "", "state": "live"}
        page = DIALECT.parse_instruments(
            answer(
                swap | {"instId": "BTC-USDT-SWAP", "uly": "BTC-USDT", "settleCcy": "USDT", "ctValCcy": "BTC"},
                swap | {"instId": "BTC-USD-SWAP", "uly": "BTC-USD", "settleCcy": "BTC", "ctValCcy": "USD"},
                {"instType": "SWAP", "instId": "NEW-USDT-SWAP", "uly": "", "settleCcy": "", "state": "preopen"},
            ),
            page.next,
        )
        assert [i.unified for i in page.instruments] == ["BTC/USDT:USDT", "BTC/USD:BTC", "NEW/USDT:USDT"]
        assert [i.trades for i in page.instruments] == [True, True, False]
        assert page.next is None

    def test_no_third_page(self) -> None:
        with pytest.raises(LocalProtocolError):
            DIALECT.instruments("FUTURES")

    def test_tickers(self) -> None:
        assert [request.params for request in DIALECT.tickers()] == [(("instType", "SPOT"),), (("instType", "SWAP"),)]
        documented = {"last": "9999.99", "open24h": "9000", "vol24h": "2222", "volCcy24h": "2221", "sodUtc0": "2222"}
        spot = documented | {"instType": "SPOT", "instId": "BTC-USDT"}
        swap = documented | {"instType": "SWAP", "instId": "BTC-USDT-SWAP"}
        new = documented | {"instType": "SPOT", "instId": "NEW-USDT", "open24h": ""}
        never = documented | {"instType": "SPOT", "instId": "NO-USDT", "last": ""}
        first, second, third = DIALECT.parse_tickers(answer(spot, swap, new, never))
        assert (first.venue, first.symbol, first.last) == ("okx", "BTC-USDT", Decimal("9999.99"))
        assert first.change == Decimal("0.11111000")
        assert (first.volume, first.quote_volume) == (Decimal(2222), Decimal(2221))
        assert (second.volume, second.quote_volume) == (Decimal(2221), None)
        assert (third.symbol, third.change) == ("NEW-USDT", None)
        for broken in ({"last": "x"}, {"open24h": "-1"}, {"vol24h": None}):
            with pytest.raises(MalformedMessage):
                DIALECT.parse_tickers(answer(spot | broken))

    def test_a_fall_is_negative(self) -> None:
        fallen = {"instType": "SPOT", "instId": "A-B", "last": "2", "open24h": "3", "vol24h": "0", "volCcy24h": "0"}
        (ticker,) = DIALECT.parse_tickers(answer(fallen))
        assert ticker.change == Decimal("-0.33333333")


class TestErrors:
    def check(self, status: int, body: bytes, **headers: str) -> None:
        DIALECT.check_answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)

    def test_good_answers(self) -> None:
        self.check(200, answer(*rows(3)))
        self.check(200, b'{"data":[], "msg":"", "code" : "0"}')

    @pytest.mark.parametrize("status", [200, 429])
    @pytest.mark.parametrize("code", ["50011", "50061"])
    def test_too_often(self, status: int, code: str) -> None:
        with pytest.raises(RateLimited) as caught:
            self.check(status, answer(code=code, msg="Too Many Requests"))
        assert (caught.value.status, caught.value.retry_after_s) == (429, 2.0)

    def test_how_long_to_wait(self) -> None:
        with pytest.raises(RateLimited) as caught:
            self.check(429, b"<html>", retry_after="17")
        assert caught.value.retry_after_s == 17.0

    def test_a_firewall(self) -> None:
        with pytest.raises(RateLimited) as caught:
            self.check(403, b"<html>")
        assert (caught.value.status, caught.value.retry_after_s) == (403, None)

    @pytest.mark.parametrize("status", [200, 400, 404])
    def test_no_such_symbol(self, status: int) -> None:
        with pytest.raises(InvalidSymbol):
            self.check(status, answer(code="51001", msg="Instrument ID doesn't exist"))

    @pytest.mark.parametrize(
        ("status", "body"),
        [
            (503, answer(code="50001", msg="Service temporarily unavailable")),
            (200, answer(code="50004")),
            (200, answer(code="50013")),
            (400, answer(code="50026")),
            (500, b""),
            (502, b"<html>"),
            (503, answer()),
            (200, b"<html>maintenance</html>"),
            (200, b""),
            (404, b"[]"),
            (400, answer(code="x")),
            (400, answer(code="0")),
            (302, b""),
        ],
    )
    def test_out_of_order(self, status: int, body: bytes) -> None:
        with pytest.raises(RequestFailed) as caught:
            self.check(status, body)
        assert caught.value.status == status

    @pytest.mark.parametrize("status", [200, 400, 403])
    def test_other_refusals(self, status: int) -> None:
        with pytest.raises(VenueError) as caught:
            self.check(status, dumps({"code": "51000", "msg": "Parameter bar error", "data": []}))
        assert (caught.value.code, caught.value.status) == (51000, status)

    def test_no_weight_is_told(self) -> None:
        assert DIALECT.used_weight({}) is None
