"""OKX as a simulated venue: what it says, and that the codec understands it as it was meant."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import pytest
import trio
from attrs import evolve
from sim_client import START_MS, SYMBOLS, Client, Refused, Reply, connected, get, run, simulator

from candleactors.errors import InvalidSymbol, RateLimited, RequestFailed, VenueError
from candleactors.model import DAY_MS, HOUR_MS, MINUTE_MS, Candle, Stream, Ticker, Timeframe
from candleactors.sim import Fault, FaultKind, Market, Simulator, SymbolSpec, TruthCandle
from candleactors.sim.okx import OKX_RULES
from candleactors.venues.base import Acked, Decoded, Instrument, RestRequest
from candleactors.venues.base import Refused as RefusedNames
from candleactors.venues.okx import okx

CODEC = okx()
BUSINESS = "/ws/v5/business"
MINUTE = Timeframe("1m")
BTC = {"channel": "candle1m", "instId": "BTC-USDT"}
QUIET = {"channel": "candle1m", "instId": "QUIET-USDT"}
BTC_SWAP = {"channel": "candle1m", "instId": "BTC-USDT-SWAP"}
LONG_MARKET = Market(
    5, START_MS, [SymbolSpec("SLOW", "USDT", "20", 3, 2, 0.3, 0.001, "4")], history_ms=70 * DAY_MS
)  # without trades most of the time


TALKATIVE = evolve(OKX_RULES, idleness=None)
"""A venue that does not mind silence, however long."""


def okx_stream(symbol: str, timeframe: str = "1m") -> Stream:
    return Stream("okx", symbol, Timeframe(timeframe))


def subscribe(*args: object, op: str = "subscribe", **more: object) -> str:
    return json.dumps({"op": op, "args": args} | more)


def rows(messages: list[Any], channel: str, symbol: str) -> list[list[str]]:
    wanted = {"channel": channel, "instId": symbol}
    return [row for message in messages if message.get("arg") == wanted for row in message.get("data", [])]


def is_push(message: Any) -> bool:
    return "data" in message


async def talk(sim: Simulator, path: str, *messages: str) -> list[Any]:
    """Return all that is answered within a second on a connection of its own."""
    async with connected(sim, path) as client:
        for message in messages:
            await client.say(message)
        return [message for message in await client.collect(0.5) if not is_push(message)]


class TestConversation:
    def test_every_channel_is_acknowledged_by_itself(self) -> None:
        async def body() -> None:
            sim = simulator(OKX_RULES)
            nowhere = {"channel": "candle1m", "instId": "NO-USDT"}
            async with sim.running():
                first, second, third = await talk(sim, BUSINESS, subscribe(BTC, nowhere, BTC_SWAP, id="a7"))
                assert first == {"id": "a7", "event": "subscribe", "arg": BTC, "connId": first["connId"]}
                assert (second["event"], second["code"], "arg" in second) == ("error", "60018", False)
                assert third == first | {"arg": BTC_SWAP}
                (bare,) = await talk(sim, BUSINESS, subscribe(BTC))
                assert bare == {"event": "subscribe", "arg": BTC, "connId": bare["connId"]}
                again, gone, never = await talk(
                    sim, BUSINESS, subscribe(BTC), subscribe(BTC, BTC_SWAP, op="unsubscribe", id="2")
                )
                assert [m["event"] for m in (again, gone, never)] == ["subscribe", "unsubscribe", "unsubscribe"]
                assert gone["arg"] == BTC

        run(body)

    def test_errors_are_worded_in_two_ways_with_and_without_an_id(self) -> None:
        async def body() -> None:
            sim = simulator(OKX_RULES)
            told = set()
            async with sim.running():
                for _ in range(4):
                    (error,) = await talk(
                        sim, BUSINESS, subscribe({"channel": "candle8H", "instId": "BTC-USDT"}, id="3")
                    )
                    assert error["code"] == "60018"
                    head = " channel:candle8H,instId:BTC-USDT doesn't exist. Please use the correct URL, channel and "
                    wording, _, rest = error["msg"].partition(head)
                    assert rest == "parameters referring to API document."
                    told.add((wording, error.get("id")))
            assert told == set(itertools.product(("Wrong URL or", "Subscribe failed, wrong URL or"), ("3", None)))

        run(body)

    @pytest.mark.parametrize(
        ("message", "code"),
        [
            ("nonsense", "60012"),
            ("[]", "60012"),
            ("{}", "60019"),
            ('{"op":"subscribe"}', "60012"),
            ('{"op":"subscribe","args":[]}', "60012"),
            ('{"op":"subscribe","argss":[{"channel":"candle1D","instId":"BTC-USDT"}]}', "60012"),
            ('{"op":"subscribe","args":[{"channel":"candle1D"}]}', "60012"),
            ('{"op":"subscribe","args":["candle1m:BTC-USDT"]}', "60012"),
            ('{"op":"order","args":[{}]}', "60019"),
            ('{"op":"login","args":[{}]}', "60009"),
            ('{"id":7,"op":"subscribe","args":[{"channel":"candle1m","instId":"BTC-USDT"}]}', "60033"),
            ('{"id":"a-b","op":"subscribe","args":[{"channel":"candle1m","instId":"BTC-USDT"}]}', "60033"),
            ("[" * 50_000, "60012"),
        ],
    )
    def test_what_is_no_request(self, message: str, code: str) -> None:
        async def body() -> None:
            sim = simulator(OKX_RULES)
            async with sim.running():
                (error,) = await talk(sim, BUSINESS, message)
            assert (error["event"], error["code"]) == ("error", code)

        run(body)

    def test_candles_are_on_one_path_alone(self) -> None:
        async def body() -> None:
            sim = simulator(OKX_RULES)
            tickers = {"channel": "tickers", "instId": "BTC-USDT"}
            async with sim.running():
                for path, candle, ticker in (("business", None, "60018"), ("public", "60018", None)):
                    replies = await talk(sim, f"/ws/v5/{path}", subscribe(BTC), subscribe(tickers))
                    assert [reply.get("code") for reply in replies] == [candle, ticker]
                await trio.sleep(1)
                replies = await talk(
                    sim, "/ws/v5/private", subscribe(BTC), subscribe({"channel": "orders", "instId": "A"})
                )
                assert [reply["code"] for reply in replies] == ["60018", "60011"]
                for path in ("/ws/v5/other", "/ws", "/", "/ws/v5/business/x"):
                    await trio.sleep(1)
                    with pytest.raises((Refused, ExceptionGroup)):
                        await talk(sim, path)

        run(body)

    def test_ping_and_pong_are_text(self) -> None:
        async def body() -> None:
            sim = simulator(OKX_RULES)
            async with sim.running(), connected(sim, BUSINESS) as client:
                for _ in range(4):
                    await trio.sleep(25)
                    await client.say("ping")
                    assert await client.receive_text() == "pong"
                await client.collect(100)
                assert trio.current_time() == pytest.approx(130)
                assert client.ending == (4004, "No data received")
                assert sim.counters.violations == {"idle": 1}

        run(body)

    def test_pushes_keep_a_connection_alive(self) -> None:
        async def body() -> None:
            sim = simulator(OKX_RULES)
            async with sim.running(), connected(sim, BUSINESS) as client:
                await client.say(subscribe(BTC))
                assert len(await client.collect(300)) > 100
                assert client.ending is None

        run(body)

    @pytest.mark.parametrize(("each_counts", "closes"), [(True, False), (False, False), (True, True)])
    def test_480_subscriptions_an_hour(self, each_counts: bool, closes: bool) -> None:
        close = evolve(OKX_RULES).max_streams_close if closes else None

        async def body() -> None:
            rules = evolve(TALKATIVE, each_channel_counts=each_counts, too_frequent_close=close)
            sim = simulator(rules)
            async with sim.running(), connected(sim, BUSINESS) as client:
                for turn in range(240):
                    await client.say(subscribe(BTC, BTC_SWAP, op="unsubscribe" if turn % 2 else "subscribe"))
                replies = [reply for reply in await client.collect(1) if not is_push(reply)]
                assert len(replies) == 480
                await client.say(subscribe(QUIET, id="9"))
                (reply,) = [reply for reply in await client.collect(1) if not is_push(reply)]
                assert (reply["id"], reply.get("code")) == ("9", "60014" if each_counts else None)
                assert sim.counters.violations == ({"subscription_rate": 1} if each_counts else {})
                assert (client.ending is not None) == closes
                if not closes:
                    await texts(client, 3600)
                    await client.say(subscribe(QUIET, id="10"))
                    (reply,) = [reply for reply in await client.collect(1) if not is_push(reply)]
                    assert (reply["id"], reply["event"]) == ("10", "subscribe")

        run(body)

    def test_at_most_a_hundred_channels(self) -> None:
        async def body() -> None:
            sim = simulator(OKX_RULES, market=Market(7, START_MS))
            symbols = [name for name in sim.dialect.symbols if name.endswith("-SWAP")]
            channels = [
                {"channel": f"candle{bar}", "instId": name}
                for name in symbols
                for bar in ("1m", "1H", "4H", "1D", "5m", "1Dutc")
            ]
            async with sim.running(), connected(sim, BUSINESS) as client:
                await client.say(subscribe(*channels[:100]))
                await client.collect(0.5)
                assert not client.close
                await client.say(subscribe(channels[100]))
                await client.collect(0.5)
                assert client.ending == (4003, "Subscription amount exceeds the limit 100")

        run(body)

    def test_three_connections_a_second(self) -> None:
        async def body() -> None:
            sim = simulator(OKX_RULES)
            async with sim.running():
                for _ in range(2):
                    for _ in range(3):
                        await talk_briefly(sim)
                    with pytest.raises((Refused, ExceptionGroup)):
                        await talk_briefly(sim)
                    await trio.sleep(1.1)

        run(body)


async def talk_briefly(sim: Simulator) -> None:
    async with connected(sim, BUSINESS):
        pass


async def texts(client: Client, for_s: float) -> list[str]:
    found: list[str] = []
    with trio.move_on_after(for_s):
        while (text := await client.receive_text()) is not None:
            found.append(text)
    return found


class TestPushes:
    def test_at_most_one_a_second_and_every_minute_is_closed(self) -> None:
        async def body() -> None:
            sim = simulator(OKX_RULES)
            async with sim.running(), connected(sim, BUSINESS) as client:
                await client.say(subscribe(BTC, QUIET))
                seconds = [await client.collect(1) for _ in range(20 * 60)]
                for second in seconds:
                    assert sum(row[8] == "0" for row in rows(second, "candle1m", "BTC-USDT")) <= 1
                said = list(itertools.chain(*seconds))
                for symbol in ("BTC-USDT", "QUIET-USDT"):
                    closed = [row for row in rows(said, "candle1m", symbol) if row[8] == "1"]
                    assert [int(row[0]) for row in closed] == [START_MS + n * MINUTE_MS for n in range(19)]
                flat = [row for row in rows(said, "candle1m", "QUIET-USDT") if row[5] in ("0", "0.0")]
                assert flat
                assert all(row[1] == row[2] == row[3] == row[4] and row[8] == "1" for row in flat)
                for row in rows(said, "candle1m", "BTC-USDT"):
                    assert len(row) == 9
                    assert all(isinstance(element, str) for element in row)

        run(body)

    @pytest.mark.parametrize(
        ("channel", "hour"),
        [("candle6H", 4), ("candle6Hutc", 6), ("candle12H", 4), ("candle1D", 16), ("candle1Dutc", 0), ("candle4H", 8)],
    )
    def test_plain_channels_open_in_utc_plus_8(self, channel: str, hour: int) -> None:
        async def body() -> None:
            sim = simulator(OKX_RULES)  # it is 9 o'clock
            async with sim.running(), connected(sim, BUSINESS) as client:
                await client.say(subscribe({"channel": channel, "instId": "BTC-USDT"}))
                opened = {int(row[0]) for row in rows(await client.collect(20), channel, "BTC-USDT")}
                assert {open_ms % DAY_MS for open_ms in opened} == {hour * HOUR_MS}
                bar = channel.removeprefix("candle")
                assert int((await get(sim, candles(bar=bar, limit=1))).json["data"][0][0]) in opened

        run(body)

    def test_the_volumes_of_a_swap_differ(self) -> None:
        async def body() -> None:
            sim = simulator(OKX_RULES)
            async with sim.running(), connected(sim, BUSINESS) as client:
                await client.say(subscribe(BTC, BTC_SWAP))
                said = await client.collect(62)
                (spot,) = [row for row in rows(said, "candle1m", "BTC-USDT") if row[8] == "1"]
                (swap,) = [row for row in rows(said, "candle1m", "BTC-USDT-SWAP") if row[8] == "1"]
                assert spot[:5] == swap[:5]
                assert (spot[5], spot[6], spot[7]) == (swap[6], swap[7], swap[7])
                assert float(swap[5]) == pytest.approx(100 * float(swap[6]))

        run(body)


def candles(**params: Any) -> str:
    return "/api/v5/market/candles?" + urlencode({"instId": "BTC-USDT"} | params)


def history(**params: Any) -> str:
    return "/api/v5/market/history-candles?" + urlencode({"instId": "BTC-USDT"} | params)


def opens(reply: Reply) -> list[int]:
    assert (reply.status, reply.json["code"]) == (200, "0")
    return [(int(row[0]) - START_MS) // MINUTE_MS for row in reply.json["data"]]


class TestRest:
    def test_candles_are_newest_first_and_the_first_is_forming(self) -> None:
        async def body() -> None:
            sim = simulator(OKX_RULES)
            await trio.sleep(30)
            reply = await get(sim, candles())
            assert opens(reply) == list(range(0, -100, -1))
            assert [row[8] for row in reply.json["data"]] == ["0"] + ["1"] * 99
            assert opens(await get(sim, history(limit=3))) == [-1, -2, -3]
            assert opens(await get(simulator(evolve(OKX_RULES, history_has_forming=True)), history(limit=3))) == [
                0,
                -1,
                -2,
            ]

        run(body)

    def test_both_ends_are_exclusive(self) -> None:
        async def body() -> None:
            sim = simulator(OKX_RULES)
            at = {n: START_MS + n * MINUTE_MS for n in range(-50, 10)}
            for path in (candles, history):
                assert opens(await get(sim, path(after=at[-10], limit=2))) == [-11, -12]
                assert opens(await get(sim, path(after=at[-10], before=at[-13]))) == [-11, -12]
                assert opens(await get(sim, path(after=at[-10] + 1, before=at[-13] - 1))) == [-10, -11, -12, -13]
                assert opens(await get(sim, path(after=at[-10], before=at[-40], limit=2))) == [-11, -12]
                newest = opens(await get(sim, path(before=at[-40], limit=2)))
                assert newest == ([0, -1] if path is candles else [-1, -2])
                assert opens(await get(sim, path(after=at[-10], before=at[-11]))) == []

        run(body)

    def test_at_most_300_rows_and_1440_recent_ones(self) -> None:
        async def body() -> None:
            sim = simulator(OKX_RULES, market=Market(7, START_MS, SYMBOLS[:1], history_ms=2 * DAY_MS))
            assert len(opens(await get(sim, candles(limit=301)))) == 300
            end = START_MS - 1400 * MINUTE_MS
            assert opens(await get(sim, candles(after=end, limit=300)))[-1] == -1439
            assert opens(await get(sim, candles(after=START_MS - 1439 * MINUTE_MS))) == []
            assert opens(await get(sim, history(after=end, limit=300)))[-1] == -1700

        run(body)

    @pytest.mark.parametrize(
        ("target", "status", "code"),
        [
            (candles(instId="NO-USDT"), 200, "51001"),
            (candles(instId="BTCUSDT"), 200, "51001"),
            (candles(instId=""), 400, "50014"),
            (candles(bar="8H"), 400, "51000"),
            (candles(bar="1d"), 400, "51000"),
            (candles(bar="1s"), 400, "51000"),
            (history(bar="1s"), 200, "0"),
            (candles(limit=0), 400, "51000"),
            (candles(after="x"), 400, "51000"),
            ("/api/v5/public/instruments", 400, "50014"),
            ("/api/v5/public/instruments?instType=ALL", 400, "51000"),
            ("/api/v5/market/klines", 404, "404"),
        ],
    )
    def test_errors(self, target: str, status: int, code: str) -> None:
        async def body() -> None:
            reply = await get(simulator(OKX_RULES), target)
            assert (reply.status, reply.json["code"]) == (status, code)

        run(body)

    def test_every_path_has_a_budget_of_its_own(self) -> None:
        async def body() -> None:
            sim = simulator(OKX_RULES)
            paths = {
                candles(limit=1): 40,
                history(limit=1): 20,
                "/api/v5/public/time": 10,
                "/api/v5/public/instruments?instType=SPOT": 20,
                "/api/v5/market/tickers?instType=SPOT": 20,
            }
            for target, most in paths.items():
                replies = [await get(sim, target) for _ in range(most + 1)]
                assert [reply.status for reply in replies] == [200] * most + [429]
                assert replies[-1].json == {"code": "50011", "msg": "Too Many Requests", "data": []}
                assert "retry-after" not in replies[-1].headers
            await trio.sleep(2)
            assert (await get(sim, "/api/v5/public/time")).status == 200
            assert sim.counters.violations == {"rest_rate": 5}

        run(body)


async def ask(sim: Simulator, request: RestRequest) -> Reply:
    """Send what the codec wants to have sent."""
    query = f"?{urlencode(request.params)}" if request.params else ""
    return await get(sim, request.path + query)


async def fetched(sim: Simulator, stream: Stream, start_ms: int | None, limit: int) -> list[Candle]:
    now_ms = sim.now_ms()
    reply = await ask(sim, CODEC.klines(stream, start_ms, None, limit, now_ms))
    CODEC.check_answer(reply.status, reply.headers, reply.body)
    return CODEC.parse_klines(stream, reply.body, now_ms, 7)


def assert_true(found: list[Candle], truth: list[TruthCandle]) -> None:
    for candle, true in zip(found, truth, strict=True):
        assert (candle.open_time_ms, candle.close_time_ms) == (true.open_time_ms, true.close_time_ms)
        assert candle.values()[:6] == true.values()[:6]
        assert candle.values()[6:] == (None, None, None)


class TestCodec:
    """The codec against the simulator, which share nothing."""

    @pytest.mark.parametrize("timeframe", ["1s", "1m", "5m"])
    def test_pushes(self, timeframe: str) -> None:
        streams = [okx_stream(s, timeframe) for s in ("BTC-USDT", "BTC-USDT-SWAP", "QUIET-USDT-SWAP", "币安人生-USDT")]
        watched = {CODEC.stream_name(stream): stream for stream in streams}

        async def body() -> None:
            sim = simulator(OKX_RULES)
            session = CODEC.session()
            total: list[tuple[str, Candle]] = []
            async with sim.running(), connected(sim, CODEC.websocket_url("")) as client:
                await client.say(session.subscribe(5, list(watched)).decode())
                first = decode(session.decode, await texts(client, 0.5), watched)
                assert first.replies == [Acked(5, (name,)) for name in watched]
                for _ in range(60 if timeframe == "1s" else 60 * 12):
                    decoded = decode(session.decode, await texts(client, 1), watched)
                    assert (decoded.rejected, decoded.ignored, decoded.replies) == ([], 0, [])
                    total += decoded.closed
                    now_ms = sim.now_ms()
                    for name, wire in decoded.open.items():
                        forming = wire.to_candle(watched[name], now_ms)
                        series = sim.market.series(sim.dialect.symbols[forming.symbol], forming.timeframe)
                        assert not forming.closed
                        assert forming.open_time_ms in (series.floor(now_ms), series.floor(now_ms - 1_000))
                await client.say(CODEC.unsubscribe(6, list(watched)).decode())
                last = decode(session.decode, await texts(client, 0.5), watched)
                assert [reply for reply in last.replies if reply] == [Acked(6, (name,)) for name in watched]
                ping = session.ping()
                assert ping is not None
                await client.say(ping.decode())
                assert decode(session.decode, await texts(client, 10), watched).ignored == 1
            for name, stream in watched.items():
                found = [candle for one, candle in total if one == name]
                truth = sim.truth(stream.symbol, stream.timeframe, START_MS, sim.now_ms())
                assert len(found) > (40 if timeframe == "1s" else 1)
                assert_true(found, truth[: len(found)])

        run(body)

    @pytest.mark.parametrize("wrong", ["NO-USDT", "NO-USDT-SWAP"])
    def test_refusals_name_the_culprit_however_they_are_worded(self, wrong: str) -> None:
        async def body() -> None:
            sim = simulator(OKX_RULES)
            good, bad = CODEC.stream_name(okx_stream("BTC-USDT")), CODEC.stream_name(okx_stream(wrong))
            async with sim.running():
                for _ in range(4):
                    await trio.sleep(1)
                    async with connected(sim, BUSINESS) as client:
                        await client.say(CODEC.subscribe(5, [good, bad]).decode())
                        decoded = decode(CODEC.decode, await texts(client, 0.5), {})
                    ack, refusal = decoded.replies
                    assert ack == Acked(5, (good,))
                    assert isinstance(refusal, RefusedNames)
                    assert refusal.request_id in (5, None)
                    assert (refusal.code, refusal.names, refusal.voids, refusal.passing) == (
                        60018,
                        (bad,),
                        False,
                        False,
                    )

        run(body)

    def test_other_refusals(self) -> None:
        async def body() -> None:
            sim = simulator(evolve(OKX_RULES, subscriptions_per_hour=1))
            names = [CODEC.stream_name(okx_stream(symbol)) for symbol in ("BTC-USDT", "ETH-USDT")]
            async with sim.running(), connected(sim, BUSINESS) as client:
                await client.say(CODEC.subscribe(5, names).decode())
                await client.say('{"id":"6","op":"subscribe","argss":[{"channel":"candle1m","instId":"BTC-USDT"}]}')
                sim.inject(Fault(FaultKind.REFUSE_SUBSCRIBE, duration_s=5))
                await client.say(CODEC.subscribe(7, names[:1]).decode())
                replies = decode(CODEC.decode, await texts(client, 0.5), {}).replies
            said = [(r.request_id, r.code, r.names, r.voids, r.passing) for r in replies if isinstance(r, RefusedNames)]
            assert said == [
                (5, 60014, None, True, True),
                (6, 60012, None, True, False),
                (7, 64007, None, True, True),
            ]

        run(body)

    def test_notices_and_nonsense(self) -> None:
        async def body() -> None:
            sim = simulator(OKX_RULES)
            async with sim.running(), connected(sim, BUSINESS) as client:
                for kind in (FaultKind.MALFORMED, FaultKind.TRUNCATED):
                    sim.inject(Fault(kind))
                    decoded = decode(CODEC.decode, await texts(client, 0.5), {})
                    assert len(decoded.rejected) == 1
                sim.inject(Fault(FaultKind.SHUTDOWN, delay_s=20))
                decoded = decode(CODEC.decode, await texts(client, 5), {})
                assert (decoded.closing_soon, decoded.rejected) == (True, [])
                assert await texts(client, 60) == []
                assert client.ending is not None

        run(body)

    @pytest.mark.parametrize("symbol", ["SLOW-USDT", "SLOW-USDT-SWAP"])
    @pytest.mark.parametrize("timeframe", [t.text for t in CODEC.rules.timeframes])
    def test_rest_of_every_timeframe(self, timeframe: str, symbol: str) -> None:
        stream = okx_stream(symbol, timeframe)
        series = LONG_MARKET.series("SLOWUSDT", stream.timeframe)

        async def body() -> None:
            sim = simulator(OKX_RULES, market=LONG_MARKET)
            await trio.sleep(7.5)
            now_ms = sim.now_ms()
            newest = await fetched(sim, stream, None, 20)
            assert [candle.closed for candle in newest[:-1]] == [True] * (len(newest) - 1)
            assert newest[-1].closed == (timeframe == "1s")
            if timeframe != "1s":
                assert newest[-1].open_time_ms == series.floor(now_ms)
            back_ms = min(stream.timeframe.nominal_ms * 230, 60 * DAY_MS)
            start_ms = series.floor(now_ms - back_ms)
            found: list[Candle] = []
            while start_ms <= now_ms - 2_000:
                limit = CODEC.rules.klines_limit
                part = await fetched(sim, stream, start_ms, limit)
                end_ms = stream.timeframe.advance(start_ms, limit)
                assert all(start_ms <= candle.open_time_ms < end_ms for candle in part)
                found += part
                start_ms = end_ms
            closed = [candle for candle in found if candle.closed]
            truth = LONG_MARKET.truth("SLOWUSDT", stream.timeframe, series.floor(now_ms - back_ms), now_ms)
            assert len(truth) > 0 or timeframe == "3M"
            assert_true(closed, truth)
            assert sim.counters.violations == {}

        run(body)

    def test_a_window_that_begins_before_what_recent_candles_hold(self) -> None:
        async def body() -> None:
            sim = simulator(OKX_RULES, market=LONG_MARKET)
            stream = okx_stream("SLOW-USDT")
            for back in (1_300, 1_339, 1_340, 1_341, 1_439, 1_440, 1_500, 5_000):
                start_ms = START_MS - back * MINUTE_MS
                found = await fetched(sim, stream, start_ms, 100)
                assert_true(found, LONG_MARKET.truth("SLOWUSDT", MINUTE, start_ms, start_ms + 100 * MINUTE_MS))

        run(body)

    def test_what_is_missing_stays_missing(self) -> None:
        """A row that the venue lost, and one that was corrected."""

        async def body() -> None:
            sim = simulator(OKX_RULES)
            async with sim.running():
                await trio.sleep(60)
                sim.inject(Fault(FaultKind.HALT, duration_s=180))
                await trio.sleep(400)
                sim.inject(Fault(FaultKind.CORRECTION, symbol="BTC-USDT-SWAP", count=1))
                now_ms = sim.now_ms()
                found = await fetched(sim, okx_stream("BTC-USDT"), START_MS, 100)
                truth = sim.truth("BTC-USDT", MINUTE, START_MS, now_ms)
                assert len(truth) < (now_ms - START_MS) // MINUTE_MS
                assert_true([candle for candle in found if candle.closed], truth)

        run(body)

    def test_the_clock_the_lists_and_the_tickers(self) -> None:
        async def body() -> None:
            sim = simulator(OKX_RULES)
            await trio.sleep(100)
            reply = await ask(sim, CODEC.server_time())
            assert CODEC.parse_server_time(reply.headers, reply.body) == sim.now_ms()
            listed: dict[str, Instrument] = {}
            page = None
            while True:
                reply = await ask(sim, CODEC.instruments(page))
                CODEC.check_answer(reply.status, reply.headers, reply.body)
                answer = CODEC.parse_instruments(reply.body, page)
                listed |= {i.symbol: i for i in answer.instruments}
                page = answer.next
                if page is None:
                    break
            assert {i.unified for i in listed.values()} == {
                *("BTC/USDT", "ETH/USDT", "QUIET/USDT", "币安人生/USDT"),
                *("BTC/USDT:USDT", "ETH/USDT:USDT", "QUIET/USDT:USDT"),
            }
            assert listed.keys() == sim.dialect.symbols.keys()
            assert all(instrument.trades for instrument in listed.values())
            tickers: dict[str, Ticker] = {}
            for request in CODEC.tickers():
                reply = await ask(sim, request)
                CODEC.check_answer(reply.status, reply.headers, reply.body)
                tickers |= {ticker.symbol: ticker for ticker in CODEC.parse_tickers(reply.body)}
            assert tickers.keys() == listed.keys()
            spot, swap = tickers["BTC-USDT"], tickers["BTC-USDT-SWAP"]
            day = sim.market.series("BTCUSDT", Timeframe("1d")).row(START_MS // DAY_MS * DAY_MS, sim.now_ms())
            assert day is not None  # the market began today
            assert (spot.last, spot.change, spot.volume) == (swap.last, swap.change, swap.volume)
            assert spot.volume == Decimal(day.bar.volume).scaleb(-5)
            assert (spot.quote_volume, swap.quote_volume) == (Decimal(day.bar.quote_volume).scaleb(-7), None)
            assert spot.change is not None
            assert float(spot.change) == pytest.approx(day.bar.close / day.bar.open - 1, abs=1e-8)

        run(body)

    def test_symbols_come_and_go(self) -> None:
        async def body() -> None:
            late = SymbolSpec("LATE", "USDT", "3", 3, 2, 20.0, listed_ms=START_MS + 90_000)
            sim = simulator(OKX_RULES, market=Market(7, START_MS, [*SYMBOLS[:2], late]))

            async def states() -> list[tuple[str, bool]]:
                reply = await ask(sim, CODEC.instruments("SWAP"))
                return [(i.symbol, i.trades) for i in CODEC.parse_instruments(reply.body, "SWAP").instruments]

            async def refused(symbol: str) -> bool:
                name = CODEC.stream_name(okx_stream(symbol))
                said = await talk(sim, BUSINESS, CODEC.subscribe(1, [name]).decode())
                return bool(said[0]["event"] == "error")

            async with sim.running():
                btc, eth, new = (f"{base}-USDT-SWAP" for base in ("BTC", "ETH", "LATE"))
                assert await states() == [(btc, True), (eth, True), (new, False)]
                assert await refused(new)
                with pytest.raises(InvalidSymbol):
                    await fetched(sim, okx_stream(new), None, 5)
                await trio.sleep(100)
                assert await states() == [(btc, True), (eth, True), (new, True)]
                assert not await refused(new)
                assert len(await fetched(sim, okx_stream(new), None, 5)) == 1
                sim.inject(Fault(FaultKind.DELIST, symbol=eth))
                await trio.sleep(1)
                assert await states() == [(btc, True), (eth, False), (new, True)]
                assert await refused(eth)
                assert len(await fetched(sim, okx_stream(eth), None, 5)) == 5

        run(body)

    def test_errors_of_rest(self) -> None:
        async def body() -> None:
            sim = simulator(OKX_RULES)
            async with sim.running():
                with pytest.raises(InvalidSymbol):
                    await fetched(sim, okx_stream("NO-USDT"), None, 5)
                reply = await get(sim, candles(bar="8H"))
                with pytest.raises(VenueError):
                    CODEC.check_answer(reply.status, reply.headers, reply.body)
                for kind, error in ((FaultKind.REST_ERROR, RequestFailed), (FaultKind.REST_LIMIT, RateLimited)):
                    sim.inject(Fault(kind, duration_s=1))
                    with pytest.raises(error):
                        await fetched(sim, okx_stream("BTC-USDT"), None, 5)
                    await trio.sleep(2)
                assert sim.counters.violations == {}
                sim.inject(Fault(FaultKind.REST_LIMIT, duration_s=1))
                with pytest.raises(RateLimited) as caught:
                    await fetched(sim, okx_stream("BTC-USDT"), None, 5)
                assert caught.value.retry_after_s == 2.0
                await trio.sleep(1.5)
                await fetched(sim, okx_stream("BTC-USDT"), None, 5)
                assert sim.counters.violations == {"told_to_wait": 1}
                sim.inject(Fault(FaultKind.REST_STALE, duration_s=5, delay_s=600))
                stale = await fetched(sim, okx_stream("BTC-USDT"), None, 5)
                assert stale[-1].open_time_ms < sim.now_ms() - 590_000

        run(body)


def decode(decoder: Any, said: list[str], watched: Mapping[str, Stream]) -> Decoded:
    found: Decoded = decoder([text.encode() for text in said], watched, 7)
    return found
