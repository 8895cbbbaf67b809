from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from bybit_payloads import (
    LINEAR,
    MARKETS,
    OPEN_MS,
    RECEIVED_MS,
    SPOT,
    WIRE,
    answer,
    dumps,
    refusal,
    row,
    rows,
    stream,
)

from candleactors.errors import (
    InvalidSymbol,
    LocalProtocolError,
    MalformedMessage,
    RateLimited,
    RequestFailed,
    VenueError,
)
from candleactors.model import MINUTE_MS, Source, Ticker, Timeframe
from candleactors.venues.base import Codec, Instrument, InstrumentPage, RestRequest
from candleactors.venues.bybit import BybitCodec

FIVE_MS = 5 * MINUTE_MS
LATER_MS = 2_000_000_000_000


def parse(body: bytes, now_ms: int = LATER_MS, dialect: BybitCodec = LINEAR, timeframe: str = "5m") -> list[Any]:
    return dialect.parse_klines(stream(timeframe=timeframe, dialect=dialect), body, now_ms, RECEIVED_MS)


class TestKlinesRequest:
    def test_the_newest(self) -> None:
        assert LINEAR.klines(stream(), None, None, 20) == RestRequest(
            "/v5/market/kline",
            (("category", "linear"), ("symbol", "BTCUSDT"), ("interval", "5"), ("limit", "20")),
        )

    def test_from_a_start_on_no_more_is_asked_for_than_fits(self) -> None:
        request = SPOT.klines(stream(dialect=SPOT), OPEN_MS, None, 5000)
        assert request.weight == 1
        params = dict(request.params)
        assert params["category"] == "spot"
        assert params["limit"] == "1000"
        assert params["start"] == str(OPEN_MS)
        assert int(params["end"]) == OPEN_MS + 1000 * FIVE_MS - 1
        assert int(params["end"]) + 1 == Timeframe("5m").advance(OPEN_MS, 1000)
        assert SPOT.rules.windowed_klines

    @pytest.mark.parametrize("offset_ms", [0, 1, FIVE_MS - 1])
    @pytest.mark.parametrize("start_ms", [OPEN_MS, None])
    def test_an_end_reads_the_same_whether_it_belongs_to_what_is_asked_for(
        self, start_ms: int | None, offset_ms: int
    ) -> None:
        params = dict(LINEAR.klines(stream(), start_ms, OPEN_MS + 3 * FIVE_MS + offset_ms, 10).params)
        assert int(params["end"]) == OPEN_MS + 4 * FIVE_MS - 1
        assert ("start" in params) is (start_ms is not None)

    def test_an_end_beyond_the_window(self) -> None:
        params = dict(LINEAR.klines(stream(), OPEN_MS, OPEN_MS + 50 * FIVE_MS, 10).params)
        assert int(params["end"]) == OPEN_MS + 10 * FIVE_MS - 1

    def test_months(self) -> None:
        start_ms = 1_669_852_800_000  # 2022-12-01
        params = dict(LINEAR.klines(stream(timeframe="1M"), start_ms, None, 2).params)
        assert params["end"] == "1675209599999"  # 2023-01-31T23:59:59.999
        assert params["interval"] == "M"

    @pytest.mark.parametrize(("timeframe", "interval"), WIRE.items())
    def test_intervals(self, timeframe: str, interval: str) -> None:
        assert dict(LINEAR.klines(stream(timeframe=timeframe), None, None, 1).params)["interval"] == interval

    def test_no_rows(self) -> None:
        with pytest.raises(LocalProtocolError):
            LINEAR.klines(stream(), None, None, 0)


class TestKlines:
    def test_newest_first_becomes_oldest_first(self) -> None:
        body = rows(*(row(OPEN_MS + n * FIVE_MS) for n in (2, 1, 0)))
        candles = parse(body)
        assert [c.open_time_ms - OPEN_MS for c in candles] == [0, FIVE_MS, 2 * FIVE_MS]
        first = candles[0]
        assert (first.open, first.high, first.low, first.close) == tuple(
            map(Decimal, ("16649.50", "16677.5", "16608", "16677"))
        )
        assert (str(first.volume), str(first.quote_volume)) == ("2.0810", "34666.4005")
        assert (first.trades, first.taker_buy_volume, first.taker_buy_quote_volume) == (None, None, None)
        assert (first.source, first.received_ms, first.stream) == (Source.REST, RECEIVED_MS, stream())
        assert first.close_time_ms == OPEN_MS + FIVE_MS - 1

    def test_documented(self) -> None:
        body = (
            b'{"retCode":0,"retMsg":"OK","result":{"symbol":"BTCUSD","category":"linear","list":[["1670608800000",'
            b'"17071","17073","17027","17055.5","268611","15.74462667"],["1670605200000","17071.5","17071.5","17061",'
            b'"17071","4177","0.24469757"]]},"retExtInfo":{},"time":1672025956592}'
        )
        candles = LINEAR.parse_klines(stream("BTCUSD", "1h"), body, LATER_MS, 7)
        assert [str(c.close) for c in candles] == ["17071", "17055.5"]

    def test_nothing(self) -> None:
        assert parse(rows()) == []

    @pytest.mark.parametrize("venue_first", [True, False])
    def test_a_row_is_closed_once_both_clocks_say_so(self, venue_first: bool) -> None:
        said = [row(OPEN_MS + FIVE_MS), row()]
        for now_ms, closed in (
            (OPEN_MS + FIVE_MS - 1, [False, False]),
            (OPEN_MS + FIVE_MS, [True, False]),
            (OPEN_MS + 2 * FIVE_MS - 1, [True, False]),
            (OPEN_MS + 2 * FIVE_MS, [True, True]),
        ):
            answered_ms, told_ms = (now_ms, LATER_MS) if venue_first else (LATER_MS, now_ms)
            assert [c.closed for c in parse(rows(*said, time=answered_ms), told_ms)] == closed

    def test_months(self) -> None:
        december, january = 1_669_852_800_000, 1_672_531_200_000
        candles = parse(rows(row(january), row(december)), january + 1, timeframe="1M")
        assert [c.closed for c in candles] == [True, False]
        assert candles[0].close_time_ms == january - 1

    @pytest.mark.parametrize(
        "said",
        [
            [row(), row(OPEN_MS + FIVE_MS)],  # ascending
            [row(), row()],
            [row(OPEN_MS + 1)],
            [row(0)],
            [["", *row()[1:]]],
            [["-1", *row()[1:]]],
            [["1672324800000.0", *row()[1:]]],
            [["１672324800000", *row()[1:]]],
            [[OPEN_MS, *row()[1:]]],
            [row()[:6]],
            [row(OPEN_MS, "16649.50", "16648", "16608", "16677", "2.0810", "34666.4005")],
            [row(OPEN_MS, "16649.50", "16677.5", "16608", "16677", "-1", "34666.4005")],
            [row(OPEN_MS, "16649.50", "16677.5", "16608", "16677", "1e3", "34666.4005")],
            [row(OPEN_MS, "0", "0", "0", "0", "0", "0")],
            ["1672324800000"],
            [None],
        ],
    )
    def test_one_bad_row_spoils_the_answer(self, said: list[Any]) -> None:
        good = row(OPEN_MS + 7 * FIVE_MS)
        for body in (rows(*said), rows(good, *said)):
            with pytest.raises(MalformedMessage):
                parse(body)
        assert len(parse(rows(good, row()))) == 2

    def test_further_elements_do_not_matter(self) -> None:
        assert len(parse(rows([*row(), "new"]))) == 1

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"[]",
            b"\xff",
            refusal(10001, "params error"),
            rows(row(), symbol="ETHUSDT"),
            rows(row(), category="spot"),
            rows(row(), time=0),
            rows(row(), time=10**18),
            answer({"list": []}),
            answer({"symbol": "BTCUSDT", "category": "linear"}),
            dumps({"retCode": 0, "retMsg": "OK", "result": {"symbol": "BTCUSDT", "category": "linear", "list": []}}),
            rows(row())[:-1],
            rows(row()) + b" " * (5 << 20),
        ],
    )
    def test_no_answer(self, body: bytes) -> None:
        with pytest.raises(MalformedMessage):
            parse(body)

    def test_the_market_is_checked(self) -> None:
        assert len(parse(rows(row(), category="spot"), dialect=SPOT)) == 1
        with pytest.raises(MalformedMessage):
            parse(rows(row()), dialect=SPOT)


class TestServerTime:
    def test_documented(self) -> None:
        body = (
            b'{"retCode":0,"retMsg":"OK","result":{"timeSecond":"1688639403","timeNano":"1688639403423213947"},'
            b'"retExtInfo":{},"time":1688639403423}'
        )
        assert LINEAR.server_time() == RestRequest("/v5/market/time")
        assert LINEAR.parse_server_time({}, body) == 1_688_639_403_423

    @pytest.mark.parametrize("nanoseconds", ["", "1688639403423", "-1688639403423213947", "9" * 19, 1, None])
    def test_absurd(self, nanoseconds: Any) -> None:
        with pytest.raises(MalformedMessage):
            LINEAR.parse_server_time({}, answer({"timeSecond": "1688639403", "timeNano": nanoseconds}))


def contract(symbol: str, base: str, quote: str, kind: str = "LinearPerpetual", **changes: Any) -> dict[str, Any]:
    return {
        "symbol": symbol,
        "contractType": kind,
        "status": "Trading",
        "baseCoin": base,
        "quoteCoin": quote,
        "settleCoin": quote,
        "launchTime": "1758175736000",
        "deliveryTime": "0",
    } | changes


def listed(*said: dict[str, Any], cursor: Any = "", category: str = "linear") -> bytes:
    return answer({"category": category, "list": list(said), "nextPageCursor": cursor})


class TestInstruments:
    def test_requests(self) -> None:
        path = "/v5/market/instruments-info"
        assert LINEAR.instruments() == RestRequest(path, (("category", "linear"), ("limit", "1000")))
        assert SPOT.instruments("a=b").params == (("category", "spot"), ("limit", "1000"), ("cursor", "a=b"))

    def test_linear(self) -> None:
        body = listed(
            contract("0GUSDT", "0G", "USDT"),
            contract("BTCPERP", "BTC", "USDC"),
            contract("BTCUSDT-25DEC26", "BTC", "USDT", "LinearFutures", deliveryTime="1798185600000"),
            contract("NEWUSDT", "NEW", "USDT", status="PreLaunch"),
        )
        assert LINEAR.parse_instruments(body) == InstrumentPage(
            (
                Instrument("0GUSDT", "0G/USDT:USDT", trades=True),
                Instrument("BTCPERP", "BTC/USDC:USDC", trades=True),
                Instrument("BTCUSDT-25DEC26", "BTC/USDT:USDT-261225", trades=True),
                Instrument("NEWUSDT", "NEW/USDT:USDT", trades=False),
            )
        )

    def test_spot(self) -> None:
        body = answer(
            {"category": "spot", "list": [{"symbol": "BTCUSDT", "baseCoin": "BTC", "quoteCoin": "USDT", "status": "x"}]}
        )
        assert SPOT.parse_instruments(body) == InstrumentPage((Instrument("BTCUSDT", "BTC/USDT", trades=False),))

    def test_pages(self) -> None:
        page = LINEAR.parse_instruments(listed(contract("0GUSDT", "0G", "USDT"), cursor="first%3D0G%26last%3DZ"))
        assert page.next == "first=0G&last=Z"
        assert LINEAR.parse_instruments(listed(cursor="plain")).next == "plain"
        assert LINEAR.parse_instruments(listed(cursor=None), "plain").next is None
        assert LINEAR.parse_instruments(listed(cursor=""), "plain").next is None

    def test_pages_without_end(self) -> None:
        with pytest.raises(MalformedMessage):
            LINEAR.parse_instruments(listed(cursor="a%3Db"), "a=b")

    @pytest.mark.parametrize(
        "body",
        [
            b"{}",
            listed(category="spot"),
            listed(contract("X", "B", "Q", "LinearFutures")),
            listed(contract("X", "B", "Q", "LinearFutures", deliveryTime=None)),
            listed(contract("X", "B", "Q", "LinearFutures", deliveryTime="9" * 40)),
            listed({"symbol": "X"}),
            listed(cursor="x" * 2_000),
            listed(contract("\ud800", "B", "Q")),
            listed(cursor=7),
        ],
    )
    def test_malformed(self, body: bytes) -> None:
        with pytest.raises(MalformedMessage):
            LINEAR.parse_instruments(body)

    def test_a_half_surrogate_written_as_an_escape(self) -> None:
        body = listed(contract("X", "B", "Q")).replace(b'"X"', b'"\\ud800"')
        with pytest.raises(MalformedMessage):
            LINEAR.parse_instruments(body)


class TestTickers:
    def test_requests(self) -> None:
        assert SPOT.tickers() == (RestRequest("/v5/market/tickers", (("category", "spot"),)),)

    def test_linear(self) -> None:
        body = answer(
            {
                "category": "linear",
                "list": [
                    {
                        "symbol": "BTCUSDT",
                        "price24hPcnt": "-0.158315",
                        "lastPrice": "66666.60",
                        "turnover24h": "4936790807.6521",
                        "volume24h": "73191.3870",
                        "bid1Price": "",
                    },
                    {"symbol": "NEWUSDT", "price24hPcnt": "", "lastPrice": ""},
                    {"symbol": "ODDUSDT", "price24hPcnt": "", "lastPrice": "1", "volume24h": "", "turnover24h": ""},
                ],
            }
        )
        assert LINEAR.parse_tickers(body) == [
            Ticker(
                "bybit-linear",
                "BTCUSDT",
                Decimal("66666.60"),
                Decimal("-0.158315"),
                Decimal("73191.3870"),
                Decimal("4936790807.6521"),
            ),
            Ticker("bybit-linear", "ODDUSDT", Decimal(1), None, None, None),
        ]
        with pytest.raises(MalformedMessage):
            SPOT.parse_tickers(body)

    @pytest.mark.parametrize(
        "changes", [{"lastPrice": "x"}, {"price24hPcnt": "+1"}, {"volume24h": "-1"}, {"symbol": 1}]
    )
    def test_malformed(self, changes: dict[str, Any]) -> None:
        ticker = {"symbol": "A", "lastPrice": "1", "price24hPcnt": "0", "volume24h": "1", "turnover24h": "1"}
        assert len(LINEAR.parse_tickers(answer({"category": "linear", "list": [ticker]}))) == 1
        with pytest.raises(MalformedMessage):
            LINEAR.parse_tickers(answer({"category": "linear", "list": [ticker | changes]}))


def check(status: int, body: bytes, **headers: str) -> None:
    LINEAR.check_answer(status, {key.replace("_", "-"): value for key, value in headers.items()}, body)


class TestCheckAnswer:
    @pytest.mark.parametrize("dialect", MARKETS)
    def test_good(self, dialect: BybitCodec) -> None:
        dialect.check_answer(200, {}, rows(row()))
        dialect.check_answer(200, {}, json.dumps(json.loads(rows(row())), indent=1).encode())
        dialect.check_answer(200, {}, b'{"time":1,"retMsg":"OK","retCode":0}')

    @pytest.mark.parametrize("body", [b"access too frequent", b"", refusal(0, ""), refusal(10001, "symbol")])
    def test_403_is_a_ban_of_the_address(self, body: bytes) -> None:
        for headers, wait_s in (({}, 600.0), ({"retry_after": "30"}, 600.0), ({"retry_after": "900"}, 900.0)):
            with pytest.raises(RateLimited) as caught:
                check(403, body, **headers)
            assert (caught.value.status, caught.value.retry_after_s) == (403, wait_s)

    @pytest.mark.parametrize("status", [200, 429])
    @pytest.mark.parametrize(
        ("reset_ms", "wait_s"), [(2_500, 2.5), (0, 1.0), (-9_000, 1.0), (10**9, 600.0), (300, 1.0)]
    )
    def test_10006_says_when_it_counts_anew(self, status: int, reset_ms: int, wait_s: float) -> None:
        body = refusal(10006, "Too many visits!")
        with pytest.raises(RateLimited) as caught:
            check(status, body, x_bapi_limit_reset_timestamp=str(RECEIVED_MS + reset_ms))
        assert (caught.value.status, caught.value.retry_after_s) == (429, wait_s)
        assert "Too many visits!" in str(caught.value)

    @pytest.mark.parametrize("reset", ["", "soon", "-1", "9" * 20])
    def test_10006_without_a_time(self, reset: str) -> None:
        with pytest.raises(RateLimited) as caught:
            check(200, refusal(10006, "Too many visits!"), x_bapi_limit_reset_timestamp=reset)
        assert caught.value.retry_after_s is None

    def test_other_limits(self) -> None:
        with pytest.raises(RateLimited) as caught:
            check(429, b"slow down", retry_after="7")
        assert (caught.value.status, caught.value.retry_after_s) == (429, 7.0)
        with pytest.raises(RateLimited) as caught:
            check(418, b"")
        assert (caught.value.status, caught.value.retry_after_s) == (418, None)
        with pytest.raises(RateLimited) as caught:
            check(200, refusal(10018, "Exceeded the IP Rate Limit."))
        assert (caught.value.status, caught.value.retry_after_s) == (403, 600.0)

    @pytest.mark.parametrize(
        "text", ["params error: symbol invalid", "Not supported symbols", "params error: Symbol Is Invalid"]
    )
    def test_an_unknown_symbol(self, text: str) -> None:
        with pytest.raises(InvalidSymbol):
            check(200, refusal(10001, text))

    @pytest.mark.parametrize(
        ("code", "text"), [(10001, "Invalid period!"), (10005, "symbol permission"), (-7, ""), (10**20, "?")]
    )
    def test_other_refusals(self, code: int, text: str) -> None:
        for status in (200, 400, 404):
            with pytest.raises(VenueError) as caught:
                check(status, refusal(code, text))
            assert (caught.value.code, caught.value.status) == (code, status)

    @pytest.mark.parametrize(
        ("status", "body"),
        [
            (200, b""),
            (200, b"<html>maintenance</html>"),
            (200, b'{"retCode":"0"}'),
            (200, refusal(10016, "Internal System Error.")),
            (200, refusal(10000, "Server Timeout")),
            (404, b""),
            (404, refusal(0, "")),
            (302, rows(row())),
            (500, refusal(10001, "symbol invalid")),
            (502, b"<html>"),
            (503, rows(row())),
            (504, b""),
        ],
    )
    def test_failures_that_pass(self, status: int, body: bytes) -> None:
        with pytest.raises(RequestFailed) as caught:
            check(status, body)
        assert caught.value.status == status

    def test_a_good_beginning_is_no_good_answer(self) -> None:
        body = rows(row()).replace(b'"retMsg"', b'"retCode":10001,"retMsg"')
        check(200, body)
        with pytest.raises(MalformedMessage):
            parse(body)


@pytest.mark.parametrize("dialect", MARKETS)
def test_what_a_user_used_is_not_what_the_address_used(dialect: Codec) -> None:
    assert dialect.used_weight({"x-bapi-limit": "50", "x-bapi-limit-status": "49"}) is None
