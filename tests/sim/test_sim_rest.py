"""REST of the simulator: semantics, errors and weights, on bytes that came over an HTTP connection."""

from __future__ import annotations

from decimal import Decimal
from urllib.parse import quote

import pytest
import trio
import trio.testing
from sim_client import START_MS, SYMBOLS, fetch, get, run, simulator

from candleactors.model import MINUTE_MS, Timeframe
from candleactors.sim import ASTER_RULES, SPOT_RULES, USDM_RULES, BinanceRules, Market, SymbolSpec
from candleactors.sim.binance.dialect import BinanceDialect

VENUES = pytest.mark.parametrize("rules", [SPOT_RULES, USDM_RULES, ASTER_RULES], ids=lambda rules: rules.name)


def klines(rules: BinanceRules, **params: object) -> str:
    values = {"symbol": "BTCUSDT", "interval": "1m"} | params
    return f"{rules.api}/klines?" + "&".join(f"{k}={quote(str(v))}" for k, v in values.items() if v is not None)


@VENUES
def test_rows_agree_with_the_truth_and_the_last_one_is_running(rules: BinanceRules) -> None:
    async def body() -> None:
        sim = simulator(rules)
        await trio.sleep(90)
        for interval in ("1m", "5m", "1h"):
            rows = (await get(sim, klines(rules, interval=interval))).json
            truth = sim.truth("BTCUSDT", Timeframe(interval), 0, sim.now_ms())
            assert len(rows) == len(truth) + 1
            for row, candle in zip(rows, truth, strict=False):
                assert row[0] == candle.open_time_ms
                assert row[6] == candle.venue_close_ms
                assert [type(value) for value in row] == [int, str, str, str, str, str, int, str, int, str, str, str]
                values = tuple(
                    (int if isinstance(v, int) else Decimal)(row[i])
                    for i, v in zip((1, 2, 3, 4, 5, 7, 8, 9, 10), candle.values(), strict=True)
                )
                assert values == candle.values()
            assert rows[-1][0] <= sim.now_ms() < rows[-1][6]

    run(body)


@VENUES
def test_start_end_and_limit(rules: BinanceRules) -> None:
    async def body() -> None:
        sim = simulator(rules)

        async def opens(**params: object) -> list[int]:
            return [(row[0] - START_MS) // MINUTE_MS for row in (await get(sim, klines(rules, **params))).json]

        at = START_MS - 100 * MINUTE_MS
        assert await opens(limit=3) == [-2, -1, 0]
        assert await opens(startTime=at, limit=3) == [-100, -99, -98]
        assert await opens(startTime=at + 1, limit=2) == [-99, -98]
        assert await opens(endTime=at, limit=3) == [-102, -101, -100]
        assert await opens(endTime=at - 1, limit=1) == [-101]
        assert await opens(startTime=at, endTime=at + 2 * MINUTE_MS) == [-100, -99, -98]
        assert await opens(startTime=at, endTime=at) == [-100]
        assert await opens(startTime=at, endTime=at - 1) == []
        assert await opens(startTime=START_MS + MINUTE_MS) == []
        assert await opens(startTime=0, limit=1) == [-360]
        assert await opens(endTime=0) == []
        assert len(await opens()) == 361

    run(body)


@pytest.mark.parametrize(("rules", "most"), [(SPOT_RULES, 1000), (USDM_RULES, 1500)])
def test_a_limit_beyond_the_ceiling_is_cut_to_it(rules: BinanceRules, most: int) -> None:
    async def body() -> None:
        market = Market(7, START_MS, [SymbolSpec("BTC", "USDT", "5")], history_ms=1600 * MINUTE_MS)
        sim = simulator(rules, market=market)
        assert len((await get(sim, klines(rules, limit=5000))).json) == most
        assert len((await get(sim, klines(rules))).json) == 500

    run(body)


@VENUES
@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"symbol": "NOPEUSDT"}, -1121),
        ({"symbol": "btcusdt"}, -1100),
        ({"symbol": "BTC/USDT"}, -1100),
        ({"symbol": None}, -1102),
        ({"symbol": ""}, -1102),
        ({"interval": None}, -1102),
        ({"interval": "7m"}, -1120),
        ({"limit": "many"}, -1100),
        ({"limit": "-1"}, -1100),
        ({"limit": 0}, -1130),
        ({"startTime": "yesterday"}, -1100),
    ],
)
def test_bad_parameters_are_refused_with_the_code_of_the_venue(
    rules: BinanceRules, params: dict[str, object], code: int
) -> None:
    async def body() -> None:
        reply = await get(simulator(rules), klines(rules, **params))
        assert reply.status == 400
        assert reply.json["code"] == code
        assert reply.json["msg"]

    run(body)


def test_second_klines_exist_on_spot_only_and_so_do_symbols_that_are_not_ascii() -> None:
    async def body() -> None:
        spot, usdm = simulator(SPOT_RULES), simulator(USDM_RULES)
        assert len((await get(spot, klines(SPOT_RULES, interval="1s", limit=90))).json) == 90
        assert (await get(usdm, klines(USDM_RULES, interval="1s"))).json["code"] == -1120
        name = SYMBOLS[-1].symbol
        assert (await get(spot, klines(SPOT_RULES, symbol=name))).status == 200
        assert (await get(usdm, klines(USDM_RULES, symbol=name))).json["code"] == -1121

    run(body)


def test_decimals_are_written_as_the_venue_writes_them() -> None:
    async def body() -> None:
        for rules, price, volume in ((SPOT_RULES, 8, 8), (USDM_RULES, 2, 5)):
            row = (await get(simulator(rules), klines(rules, limit=1))).json[0]
            assert [len(value.partition(".")[2]) for value in row[1:6]] == [price] * 4 + [volume]

    run(body)


@VENUES
def test_time_ping_and_the_symbol_list(rules: BinanceRules) -> None:
    async def body() -> None:
        sim = simulator(rules)
        await trio.sleep(1.5)
        assert (await get(sim, f"{rules.api}/time")).json == {"serverTime": START_MS + 1500}
        assert (await get(sim, f"{rules.api}/ping")).json == {}
        info = (await get(sim, f"{rules.api}/exchangeInfo")).json
        names = [s["symbol"] for s in info["symbols"]]
        assert names == [s.symbol for s in SYMBOLS if s.spot and (s.futures or not rules.futures)]
        assert all(s["status"] == "TRADING" and s["filters"] for s in info["symbols"])
        assert info["rateLimits"][0]["limit"] == rules.weight_per_minute
        one = (await get(sim, f"{rules.api}/exchangeInfo?symbol=ETHUSDT")).json["symbols"]
        if not rules.futures:
            assert [s["symbol"] for s in one] == ["ETHUSDT"]

    run(body)


def test_a_symbol_appears_when_it_is_listed_and_is_marked_while_halted() -> None:
    async def body() -> None:
        new = SymbolSpec("NEW", "USDT", "5", listed_ms=START_MS + 60_000)
        sim = simulator(SPOT_RULES, market=Market(1, START_MS, [SYMBOLS[0], new]))

        async def listed() -> dict[str, str]:
            info = (await get(sim, "/api/v3/exchangeInfo")).json
            return {s["symbol"]: s["status"] for s in info["symbols"]}

        assert await listed() == {"BTCUSDT": "TRADING"}
        assert (await get(sim, klines(SPOT_RULES, symbol="NEWUSDT"))).json["code"] == -1121
        await trio.sleep(61)
        sim.market.halt("BTCUSDT", sim.now_ms(), sim.now_ms() + 1000)
        assert await listed() == {"BTCUSDT": "HALT", "NEWUSDT": "TRADING"}
        assert len((await get(sim, klines(SPOT_RULES, symbol="NEWUSDT"))).json) == 1

    run(body)


@VENUES
def test_tickers_agree_with_the_trades_of_the_day(rules: BinanceRules) -> None:
    async def body() -> None:
        sim = simulator(rules)
        await trio.sleep(30)
        one = (await get(sim, f"{rules.api}/ticker/24hr?symbol=BTCUSDT")).json
        trades = sim.market.tape("BTCUSDT").trades(0, sim.now_ms() + 1)
        assert one["count"] == len(trades)
        assert float(one["lastPrice"]) == trades[-1].price / 100
        assert float(one["highPrice"]) == max(t.price for t in trades) / 100
        everything = (await get(sim, f"{rules.api}/ticker/24hr")).json
        assert one in everything
        mini = (await get(sim, f"{rules.api}/ticker/24hr?symbol=BTCUSDT&type=MINI")).json
        assert "priceChange" not in mini
        assert mini["volume"] == one["volume"]

    run(body)


def test_weights_are_counted_a_minute_and_told_on_every_answer() -> None:
    async def body() -> None:
        spot, usdm = simulator(SPOT_RULES), simulator(USDM_RULES)

        async def used(sim: object, target: str) -> int:
            reply = await get(sim, target)  # type: ignore[arg-type]  # a Simulator; the pair is only named once
            return int(reply.headers["x-mbx-used-weight-1m"])

        assert await used(spot, klines(SPOT_RULES)) == 2
        assert await used(spot, "/api/v3/time") == 3
        assert await used(spot, "/api/v3/exchangeInfo") == 23
        assert await used(spot, "/api/v3/ticker/24hr?symbol=BTCUSDT") == 25
        assert await used(spot, "/api/v3/ticker/24hr") == 105
        assert await used(spot, klines(SPOT_RULES, symbol="NOPE")) == 107
        total = 0
        for limit, weight in ((1, 1), (99, 1), (100, 2), (499, 2), (500, 5), (1000, 5), (1001, 10), (1500, 10)):
            total += weight
            assert await used(usdm, klines(USDM_RULES, limit=limit)) == total
        assert await used(usdm, klines(USDM_RULES)) == total + 5
        await trio.sleep(60)
        assert await used(spot, "/api/v3/time") == 1

    run(body)


def test_beyond_the_weight_429_then_418_for_those_who_go_on_and_the_ban_grows() -> None:
    async def body() -> None:
        sim = simulator(SPOT_RULES)
        for _ in range(75):
            assert (await get(sim, "/api/v3/ticker/24hr")).status == 200
        await trio.sleep(10)
        refused = await get(sim, "/api/v3/ticker/24hr")
        assert (refused.status, refused.headers["retry-after"], refused.json["code"]) == (429, "50", -1003)
        for _ in range(9):
            assert (await get(sim, "/api/v3/ping")).status == 429
        banned = await get(sim, "/api/v3/ping")
        assert (banned.status, banned.headers["retry-after"]) == (418, "120")
        assert str(sim.now_ms() + 120_000) in banned.json["msg"]
        await trio.sleep(119)
        assert (await get(sim, "/api/v3/ping")).status == 418
        await trio.sleep(1)
        assert (await get(sim, "/api/v3/ping")).status == 200
        assert sim.counters.violations == {"weight": 1, "told_to_wait": 11}
        assert isinstance(sim.dialect, BinanceDialect)
        sim.dialect.weights.ban(sim.now_ms())
        assert (await get(sim, "/api/v3/ping")).headers["retry-after"] == "240"

    run(body)


def test_those_who_wait_as_told_are_served_again() -> None:
    async def body() -> None:
        sim = simulator(USDM_RULES)
        for _ in range(61):
            reply = await get(sim, "/fapi/v1/ticker/24hr")
        assert reply.status == 429
        await trio.sleep(int(reply.headers["retry-after"]))
        assert (await get(sim, "/fapi/v1/ping")).status == 200
        assert sim.counters.violations == {"weight": 1}

    run(body)


def test_unknown_paths_and_methods_and_the_other_venues_api() -> None:
    async def body() -> None:
        sim = simulator(SPOT_RULES)
        assert (await get(sim, "/fapi/v1/time")).status == 404
        assert (await get(sim, "/api/v3/nope")).status == 404
        assert (await get(sim, "/")).status == 404
        assert (await get(sim, "/api/v3/time", method="POST")).status == 405

    run(body)


def test_a_connection_is_kept_alive_and_closed_when_idle() -> None:
    async def body() -> None:
        sim = simulator(SPOT_RULES)
        ours, theirs = trio.testing.memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sim.serve_stream, theirs)
            for _ in range(3):
                assert (await fetch(ours, "/api/v3/time")).status == 200
            started_s = trio.current_time()
            assert await ours.receive_some(1) == b""
            assert trio.current_time() - started_s == pytest.approx(SPOT_RULES.http_idle_s)

    run(body)


@pytest.mark.parametrize("data", [b"\x16\x03\x01 hello\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"GET /" + b"a" * 40_000])
def test_what_is_no_http_gets_an_error_and_the_end(data: bytes) -> None:
    async def body() -> None:
        sim = simulator(SPOT_RULES)
        ours, theirs = trio.testing.memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sim.serve_stream, theirs)
            await ours.send_all(data)
            answer = b""
            while part := await ours.receive_some(4096):
                answer += part
            assert answer.startswith(b"HTTP/1.1 4")

    run(body)
