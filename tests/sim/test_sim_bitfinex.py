"""Bitfinex as a simulated venue: what it says, and that the codec understands it as it was meant."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlencode

import pytest
import trio
from attrs import evolve
from sim_client import START_MS, SYMBOLS, Client, Refused, Reply, connected, get, run, simulator

from candleactors.errors import RateLimited, RequestFailed, VenueError
from candleactors.model import DAY_MS, MINUTE_MS, Candle, Source, Stream, Timeframe
from candleactors.sim import Fault, FaultKind, Market, Simulator, SymbolSpec, TruthCandle
from candleactors.sim.bitfinex import BITFINEX_RULES
from candleactors.sim.bitfinex.wire import number
from candleactors.venues.base import Acked, Decoded, RestRequest, Session
from candleactors.venues.base import Refused as RefusedNames
from candleactors.venues.bitfinex import bitfinex

CODEC = bitfinex()
ROUTE = "/ws/2"
MINUTE = Timeframe("1m")
BTC, ETH, QUIET = "tBTCUST", "tETHUST", "tQUIET:UST"
BTC_PERPETUAL, QUIET_PERPETUAL = "tBTCF0:USTF0", "tQUIETF0:USTF0"
LONG_MARKET = Market(5, START_MS, [SymbolSpec("SLO", "USDT", "20", 3, 2, 0.3, 0.001, "4")], history_ms=70 * DAY_MS)
STAMPED = '{"event":"conf","flags":32768}'


def bitfinex_stream(symbol: str = BTC, timeframe: str = "1m") -> Stream:
    return Stream("bitfinex", symbol, Timeframe(timeframe))


def subscribe(key: str = f"trade:1m:{BTC}", **more: object) -> str:
    return json.dumps({"event": "subscribe", "channel": "candles", "key": key} | more)


def is_event(message: Any) -> bool:
    return isinstance(message, dict) and message["event"] != "info"


async def talk(sim: Simulator, *messages: str) -> list[Any]:
    """Return all that is answered within half a second on a connection of its own."""
    async with connected(sim, ROUTE) as client:
        for message in messages:
            await client.say(message)
        return [message for message in await client.collect(0.5) if is_event(message)]


async def texts(client: Client, for_s: float) -> list[bytes]:
    found: list[bytes] = []
    with trio.move_on_after(for_s):
        while (text := await client.receive_text()) is not None:
            found.append(text.encode())
    return found


class TestConversation:
    def test_it_greets_and_answers_pings(self) -> None:
        async def body() -> None:
            sim = simulator(BITFINEX_RULES)
            async with sim.running(), connected(sim, ROUTE) as client:
                await client.say('{"event":"ping","cid":1234}')
                await client.say('{"event":"ping"}')
                info, pong, bare = await client.collect(1)
            assert (info["event"], info["version"], info["platform"]) == ("info", 2, {"status": 1})
            assert pong == {"event": "pong", "ts": START_MS, "cid": 1234}
            assert bare == {"event": "pong", "ts": START_MS}

        run(body)

    def test_a_subscription_and_its_end(self) -> None:
        async def body() -> None:
            sim = simulator(BITFINEX_RULES)
            async with sim.running(), connected(sim, ROUTE) as client:
                await client.say(subscribe(subId="7"))
                _, reply, snapshot = (await client.collect(0.1))[:3]
                channel = reply["chanId"]
                assert reply == {
                    "event": "subscribed",
                    "channel": "candles",
                    "chanId": channel,
                    "key": f"trade:1m:{BTC}",
                    "subId": "7",
                }
                assert snapshot[0] == channel
                opens = [row[0] for row in snapshot[1]]
                assert len(opens) == 120
                assert opens == sorted(set(opens), reverse=True)
                await client.say(json.dumps({"event": "unsubscribe", "chanId": channel}))
                said = await client.collect(30)
                assert {"event": "unsubscribed", "status": "OK", "chanId": channel} in said
                assert said[-1] == {"event": "unsubscribed", "status": "OK", "chanId": channel}
                await client.say(subscribe())
                again = next(message for message in await client.collect(0.1) if is_event(message))
                assert again["chanId"] != channel

        run(body)

    def test_numbers_of_channels_differ_between_connections(self) -> None:
        async def body() -> None:
            sim = simulator(BITFINEX_RULES)
            async with sim.running():
                first, second = await talk(sim, subscribe(), subscribe(f"trade:5m:{BTC}"))
                (third,) = await talk(sim, subscribe())
            assert len({reply["chanId"] for reply in (first, second, third)}) == 3

        run(body)

    @pytest.mark.parametrize(
        ("message", "code", "text"),
        [
            (subscribe("trade:1m:tNOPUST", subId="5"), 10300, "symbol: invalid"),
            (subscribe("trade:2h:tBTCUST"), 10300, "key: invalid"),
            (subscribe("trade:1m:BTCUST"), 10300, "key: invalid"),
            (subscribe("nonsense"), 10300, "key: invalid"),
            ('{"event":"subscribe","channel":"candles"}', 10300, "key: invalid"),
            ('{"event":"subscribe","channel":"nope","symbol":"tBTCUSD"}', 10300, "channel: unknown"),
            ('{"event":"unsubscribe","chanId":17}', 10400, "unsubscribe: invalid"),
            ('{"event":"unsubscribe"}', 10400, "unsubscribe: invalid"),
            ('{"event":"conf","flags":"x"}', 10050, "conf: invalid"),
        ],
    )
    def test_errors_repeat_the_request(self, message: str, code: int, text: str) -> None:
        async def body() -> None:
            asked = json.loads(message)
            sim = simulator(BITFINEX_RULES)
            terse = simulator(evolve(BITFINEX_RULES, echoes_request=False))
            error = {"event": "error", "msg": text, "code": code}
            async with sim.running(), terse.running():
                assert await talk(terse, message) == [error]
                (said,) = await talk(sim, message)
            assert said == ({} if asked["event"] == "conf" else asked) | error

        run(body)

    def test_an_unknown_event(self) -> None:
        async def body() -> None:
            sim = simulator(BITFINEX_RULES)
            async with sim.running():
                (said,) = await talk(sim, '{"event":"nope","x":1}')
            assert said == {"event": "error", "msg": "event: invalid (nope)", "code": 10000}

        run(body)

    def test_what_is_no_object_gets_no_reply(self) -> None:
        async def body() -> None:
            sim = simulator(BITFINEX_RULES)
            async with sim.running():
                assert await talk(sim, "nonsense", "[]", '"x"', "{", '{"event":NaN}', "[" * 50_000, "") == []

        run(body)

    @pytest.mark.parametrize("names", [True, False])
    def test_a_second_subscription(self, names: bool) -> None:
        async def body() -> None:
            sim = simulator(evolve(BITFINEX_RULES, names_duplicate=names))
            async with sim.running():
                reply, error = await talk(sim, subscribe(), subscribe(subId="9"))
            assert error == {
                "event": "error",
                "channel": "candles",
                "key": f"trade:1m:{BTC}",
                "subId": "9",
                "msg": "subscribe: dup",
                "code": 10301,
            } | ({"chanId": reply["chanId"]} if names else {})

        run(body)

    @pytest.mark.parametrize("week", ["1W", "7D"])
    def test_both_names_of_a_week_are_one_channel(self, week: str) -> None:
        async def body() -> None:
            sim = simulator(evolve(BITFINEX_RULES, week=week))
            async with sim.running():
                reply, error = await talk(sim, subscribe(f"trade:1W:{BTC}"), subscribe(f"trade:7D:{BTC}"))
            assert (reply["key"], error["code"]) == (f"trade:{week}:{BTC}", 10301)

        run(body)

    def test_the_37th_channel(self) -> None:
        async def body() -> None:
            sim = simulator(BITFINEX_RULES, market=Market(7, START_MS))
            symbols = [symbol for symbol in sim.dialect.symbols if symbol.endswith("F0")]
            keys = [f"trade:{timeframe}:{symbol}" for symbol in symbols for timeframe in ("1m", "5m")]
            async with sim.running(), connected(sim, ROUTE) as client:
                for key in keys[:37]:
                    await client.say(subscribe(key))
                events = [message for message in await client.collect(0.5) if is_event(message)]
                assert [event["event"] for event in events] == ["subscribed"] * 36 + ["error"]
                assert (events[-1]["code"], events[-1]["msg"], client.ending) == (10305, "subscribe: limit", None)
                await client.say(json.dumps({"event": "unsubscribe", "chanId": events[0]["chanId"]}))
                await client.say(subscribe(keys[37]))
                events = [message for message in await client.collect(0.5) if is_event(message)]
                assert [event["event"] for event in events] == ["unsubscribed", "subscribed"]
                assert sim.counters.violations == {"channels": 1}

        run(body)

    def test_an_idle_connection_ends_without_a_close_frame(self) -> None:
        async def body() -> None:
            sim = simulator(BITFINEX_RULES)
            async with sim.running():
                async with connected(sim, ROUTE) as client:
                    assert len(await client.collect(1_000)) == 1
                    assert (trio.current_time(), client.ending) == (60.0, None)
                async with connected(sim, ROUTE) as client:
                    for _ in range(10):
                        await client.collect(20)
                        await client.say('{"event":"ping"}')
                    assert len(await client.collect(50)) == 1
                async with connected(sim, ROUTE) as client:
                    await client.say(subscribe(f"trade:1m:{QUIET}"))
                    assert len(await client.collect(1_000)) > 60
            assert sim.counters.violations == {"idle": 1}

        run(body)

    def test_connections_a_minute(self) -> None:
        async def body() -> None:
            sim = simulator(BITFINEX_RULES)
            async with sim.running():
                for _ in range(20):
                    async with connected(sim, ROUTE):
                        pass
                with pytest.raises((Refused, ExceptionGroup)):
                    await talk(sim)
                for path in ("/ws", "/ws/1", "/ws/2/x"):
                    await trio.sleep(61)
                    with pytest.raises((Refused, ExceptionGroup)):
                        async with connected(sim, path):
                            pass

        run(body)


class TestPushes:
    def test_every_frame_of_a_channel_ends_with_the_clock_if_asked(self) -> None:
        async def body() -> None:
            sim = simulator(BITFINEX_RULES)
            async with sim.running(), connected(sim, ROUTE) as client:
                await client.say(STAMPED)
                await client.say(subscribe())
                await client.say(subscribe(f"trade:1m:{QUIET}"))
                beats = 0
                for _ in range(600):
                    before_ms = sim.now_ms()
                    for message in await client.collect(1):
                        if isinstance(message, list):
                            assert len(message) == 3
                            assert before_ms <= message[2] <= sim.now_ms()
                            beats += message[1] == "hb"
                assert beats > 20

        run(body)

    @pytest.mark.parametrize("stamps", [True, False])
    def test_without_asking_or_where_nobody_heeds_it_there_is_none(self, stamps: bool) -> None:
        async def body() -> None:
            sim = simulator(evolve(BITFINEX_RULES, stamps=stamps))
            async with sim.running(), connected(sim, ROUTE) as client:
                if not stamps:
                    await client.say(STAMPED)
                await client.say(subscribe())
                frames = [message for message in await client.collect(30) if isinstance(message, list)]
                assert len(frames) > 10
                assert {len(frame) for frame in frames} == {2}

        run(body)

    def test_a_heartbeat_after_15_silent_seconds_of_each_channel(self) -> None:
        async def body() -> None:
            sim = simulator(BITFINEX_RULES)
            async with sim.running(), connected(sim, ROUTE) as client:
                await client.say(subscribe())
                await client.say(subscribe(f"trade:1m:{QUIET}"))
                heard: dict[int, list[tuple[float, bool]]] = {}
                while trio.current_time() < 900:
                    message = await client.receive()
                    if isinstance(message, list):
                        heard.setdefault(message[0], []).append((trio.current_time(), message[1] == "hb"))
            assert len(heard) == 2
            for times in heard.values():
                for (earlier, _), (later, beats) in itertools.pairwise(times):
                    assert later - earlier <= 15
                    assert beats == (later - earlier == 15)

        run(body)

    def test_the_previous_row_comes_again_next_to_a_new_one_and_nothing_closes(self) -> None:
        async def body() -> None:
            sim = simulator(BITFINEX_RULES)
            async with sim.running(), connected(sim, ROUTE) as client:
                await client.say(subscribe())
                rows = [m[1] for m in await client.collect(300) if isinstance(m, list) and isinstance(m[1][0], int)]
            opens = [row[0] for row in rows]
            for open_ms in range(START_MS + MINUTE_MS, START_MS + 5 * MINUTE_MS, MINUTE_MS):
                first = opens.index(open_ms)
                assert opens[first : first + 10] == [open_ms, open_ms - MINUTE_MS] * 5
                final = [row for row in rows if row[0] == open_ms - MINUTE_MS][-1]
                before = [row for row in rows[:first] if row[0] == open_ms - MINUTE_MS][-1]
                assert final == before
            assert len({tuple(row) for row in rows}) > len(set(opens))

        run(body)

    def test_minutes_without_trades_have_no_row(self) -> None:
        async def body() -> None:
            sim = simulator(BITFINEX_RULES)
            async with sim.running(), connected(sim, ROUTE) as client:
                await client.say(subscribe(f"trade:1m:{QUIET}"))
                said = [m[1] for m in await client.collect(3_600) if isinstance(m, list) and m[1] != "hb"]
            snapshot, rows = said[0], said[1:]
            until_ms = sim.now_ms()
            truth = [c for c in sim.truth(QUIET, MINUTE, START_MS, until_ms) if c.volume]
            assert 0 < len(truth) < 60
            assert {row[0] for row in rows if row[0] + MINUTE_MS <= until_ms} == {c.open_time_ms for c in truth}
            opens = [row[0] for row in snapshot]
            assert max(one - other for one, other in itertools.pairwise(opens)) > MINUTE_MS

        run(body)

    @pytest.mark.parametrize(
        ("value", "decimals", "text"),
        [
            (0, 8, "0"),
            (6725000, 2, "67250"),
            (6725010, 2, "67250.1"),
            (5, 0, "5"),
            (100, 8, "0.000001"),
            (10, 8, "1e-7"),
            (15, 8, "1.5e-7"),
            (1, 8, "1e-8"),
            (-15, 8, "-1.5e-7"),
            (-150, 2, "-1.5"),
        ],
    )
    def test_numbers(self, value: int, decimals: int, text: str) -> None:
        assert number(value, decimals) == text
        assert Decimal(text) == Decimal(value).scaleb(-decimals)
        assert float(text) == pytest.approx(value / 10**decimals)


def hist(symbol: str = BTC, timeframe: str = "1m", section: str = "hist", **params: Any) -> str:
    return f"/v2/candles/trade:{timeframe}:{symbol}/{section}?{urlencode(params)}"


def opens(reply: Reply) -> list[int]:
    assert reply.status == 200
    return [(row[0] - START_MS) // MINUTE_MS for row in reply.json]


class TestRest:
    def test_newest_first_unless_sorted_otherwise(self) -> None:
        async def body() -> None:
            sim = simulator(BITFINEX_RULES)
            await trio.sleep(30)
            assert opens(await get(sim, hist())) == list(range(0, -100, -1))
            assert opens(await get(sim, hist(limit=3, sort=-1, end=START_MS - 60_000))) == [-1, -2, -3]
            assert opens(await get(sim, hist(limit=3, sort=1, start=START_MS - 180_000))) == [-3, -2, -1]
            assert opens(await get(sim, hist(limit=3, start=START_MS - 600_000))) == [0, -1, -2]
            assert opens(await get(sim, hist(start=START_MS - 120_000, end=START_MS - 60_000))) == [-1, -2]
            assert opens(await get(sim, hist(start=START_MS + 90_000))) == []
            last = await get(sim, hist(section="last"))
            assert last.json == (await get(sim, hist(limit=1))).json[0]

        run(body)

    @pytest.mark.parametrize(
        ("target", "status", "error"),
        [
            (hist(limit=0), 500, ["error", 10020, "limit: invalid"]),
            (hist(limit=10_001), 500, ["error", 10020, "limit: invalid"]),
            (hist(sort=2), 500, ["error", 10020, "sort: invalid"]),
            (hist(start="x"), 500, ["error", 10020, "start: invalid"]),
            (hist(timeframe="2h"), 500, ["error", 10020, "time_interval: invalid"]),
            (hist(section="other"), 500, ["error", 10020, "time_interval: invalid"]),
            (hist("tNOPUST"), 200, []),
            ("/v2/tickers", 500, ["error", 10020, "symbols: invalid"]),
        ],
    )
    def test_errors(self, target: str, status: int, error: list[Any]) -> None:
        async def body() -> None:
            reply = await get(simulator(BITFINEX_RULES), target)
            assert (reply.status, reply.json) == (status, error)

        run(body)

    def test_paths_that_do_not_exist(self) -> None:
        async def body() -> None:
            sim = simulator(BITFINEX_RULES)
            for path in ("/v2/nope", "/v1/candles", "/", "/v2"):
                assert (await get(sim, path)).status == 404
            assert (await get(sim, hist(), method="POST")).status == 404

        run(body)

    def test_too_many_requests_close_an_endpoint_for_a_while(self) -> None:
        async def body() -> None:
            sim = simulator(BITFINEX_RULES)
            replies = [await get(sim, hist(limit=1)) for _ in range(31)]
            assert [reply.status for reply in replies] == [200] * 30 + [429]
            assert replies[-1].json == ["error", 11010, "ratelimit: error"]
            assert "retry-after" not in replies[-1].headers
            assert (await get(sim, "/v2/platform/status")).status == 200
            await trio.sleep(59.9)
            assert (await get(sim, hist(limit=1))).status == 429
            await trio.sleep(0.1)
            assert (await get(sim, hist(limit=1))).status == 200
            assert sim.counters.violations == {"rest_rate": 1, "told_to_wait": 1}

        run(body)

    def test_status_and_lists(self) -> None:
        async def body() -> None:
            sim = simulator(BITFINEX_RULES)
            reply = await get(sim, "/v2/platform/status")
            assert reply.json == [1]
            assert parsedate_to_datetime(reply.headers["date"]).timestamp() == START_MS // 1000
            names = "pub:list:pair:exchange,pub:list:pair:futures,pub:map:currency:sym,pub:nope"
            spot, futures, currencies, nothing = (await get(sim, f"/v2/conf/{names}")).json
            assert spot == ["BTCUST", "ETHUST", "QUIET:UST"]
            assert futures == ["BTCF0:USTF0", "ETHF0:USTF0", "QUIETF0:USTF0"]
            assert ["UST", "USDt"] in currencies
            assert nothing == []
            told, told_futures = (await get(sim, "/v2/conf/pub:info:pair,pub:info:pair:futures")).json
            assert ([pair for pair, _ in told], [pair for pair, _ in told_futures]) == (spot, futures)
            assert {tuple(facts[3:5]) for _, facts in told + told_futures} == {("0.02", "5000.0")}
            assert {tuple(facts[8:10]) for _, facts in told_futures} == {(0.01, 0.005)}
            rows = (await get(sim, f"/v2/tickers?symbols={BTC},{ETH}")).json
            assert [row[0] for row in rows] == [BTC, ETH]
            assert {len(row) for row in rows} == {12}

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


def assert_true(found: Sequence[Candle], truth: Sequence[TruthCandle]) -> None:
    for candle, true in zip(found, truth, strict=True):
        assert (candle.open_time_ms, candle.close_time_ms) == (true.open_time_ms, true.close_time_ms)
        assert candle.values() == true.values()


async def listen(client: Client, session: Session, watched: Mapping[str, Stream], for_s: float) -> Decoded:
    return session.decode(await texts(client, for_s), watched, 7)


async def join(client: Client, session: Session, watched: Mapping[str, Stream]) -> Decoded:
    for raw in session.opening():
        await client.say(raw.decode())
    for request_id, name in enumerate(watched, 1):
        await client.say(session.subscribe(request_id, [name]).decode())
    return await listen(client, session, watched, 0.05)


SAYINGS = [
    BITFINEX_RULES,
    evolve(BITFINEX_RULES, echoes_request=False, names_duplicate=False, week="7D"),
    evolve(BITFINEX_RULES, previous_again=0),
    evolve(BITFINEX_RULES, push_ms=2_000, close_lag_ms=1_500),
]


class TestCodec:
    """The codec against the simulator, which share nothing."""

    @pytest.mark.parametrize("rules", SAYINGS)
    @pytest.mark.parametrize("timeframe", ["1m", "5m"])
    def test_closed_candles_are_the_truth(self, rules: Any, timeframe: str) -> None:
        streams = [bitfinex_stream(s, timeframe) for s in (BTC, BTC_PERPETUAL, ETH, QUIET, QUIET_PERPETUAL)]
        watched = {CODEC.stream_name(stream): stream for stream in streams}

        async def body() -> None:
            sim = simulator(rules)
            await trio.sleep(77)
            session = CODEC.session()
            told: dict[str, list[Candle]] = {name: [] for name in watched}
            async with sim.running(), connected(sim, CODEC.websocket_url("")) as client:
                first = await join(client, session, watched)
                ids = range(1, len(watched) + 1) if rules.echoes_request else [None] * len(watched)
                assert first.replies == [Acked(id, (name,)) for id, name in zip(ids, watched, strict=True)]
                for turn in range(60 * 40):
                    decoded = await listen(client, session, watched, 1) if turn else first
                    assert (decoded.rejected, decoded.closing_soon) == ([], False)
                    now_ms = sim.now_ms()
                    for name, candle in decoded.closed:
                        told[name].append(candle)
                        assert candle.closed
                        assert candle.close_time_ms + 2_000 <= now_ms
                    for name, wire in decoded.open.items():
                        forming = wire.to_candle(watched[name], now_ms)
                        assert not forming.closed
                        assert not told[name] or forming.open_time_ms > told[name][-1].open_time_ms
                ended_ms = sim.now_ms()
                for name in watched:
                    raw = session.unsubscribe(9, [name])
                    assert raw is not None
                    await client.say(raw.decode())
                last = await listen(client, session, watched, 0.5)
                assert last.replies == [Acked(9, (name,)) for name in watched]
                assert await texts(client, 50) == []
            assert sim.counters.violations == {}
            for name, stream in watched.items():
                found = told[name]
                opened = found[0].open_time_ms
                truth = sim.truth(stream.symbol, stream.timeframe, opened, ended_ms - 17_000)
                assert len(truth) >= (40 if timeframe == "1m" else 8)
                by_time = {candle.open_time_ms: candle for candle in found}
                assert len(by_time) == len(found), "something was told twice"
                missing = [true.open_time_ms for true in truth if true.open_time_ms not in by_time]
                # Only what began before the channel, and had no trade until it began, is left to REST.
                assert all(open_ms < START_MS + 77_000 for open_ms in missing)
                assert_true(
                    [by_time[t.open_time_ms] for t in truth if t.open_time_ms in by_time],
                    [t for t in truth if t.open_time_ms in by_time],
                )
                for true in truth:
                    if true.open_time_ms in by_time:
                        source = by_time[true.open_time_ms].source
                        assert source is (Source.WS if true.volume else Source.FILLED)

        run(body)

    def test_without_the_clock_rows_alone_close(self) -> None:
        watched = {CODEC.stream_name(bitfinex_stream(s)): bitfinex_stream(s) for s in (BTC, QUIET)}

        async def body() -> None:
            sim = simulator(evolve(BITFINEX_RULES, stamps=False))
            session = CODEC.session()
            async with sim.running(), connected(sim, ROUTE) as client:
                found = (await join(client, session, watched)).closed
                found += (await listen(client, session, watched, 3_600)).closed
            for name, stream in watched.items():
                told = {candle.open_time_ms: candle for one, candle in found if one == name}
                opens = list(told)
                assert opens == list(range(opens[0], opens[-1] + 1, MINUTE_MS))
                truth = sim.truth(stream.symbol, MINUTE, opens[0], opens[-1] + MINUTE_MS)
                assert_true(list(told.values()), truth)
                assert len(truth) > 30

        run(body)

    def test_corrections_are_told_again(self) -> None:
        watched = {CODEC.stream_name(bitfinex_stream()): bitfinex_stream()}

        async def body() -> None:
            sim = simulator(evolve(BITFINEX_RULES, previous_again=50))
            session = CODEC.session()
            async with sim.running(), connected(sim, ROUTE) as client:
                await join(client, session, watched)
                found = list((await listen(client, session, watched, 63)).closed)
                before = sim.truth(BTC, MINUTE, START_MS, START_MS + MINUTE_MS)
                assert sim.market.correct("BTCUSDT", START_MS + 30_000, sim.now_ms())
                found += (await listen(client, session, watched, 60)).closed
            told = [candle for _, candle in found if candle.open_time_ms == START_MS]
            assert_true(told, before + sim.truth(BTC, MINUTE, START_MS, START_MS + MINUTE_MS))

        run(body)

    @pytest.mark.parametrize("kind", [FaultKind.DUPLICATE, FaultKind.DELAY, FaultKind.REORDER, FaultKind.LATE_CLOSE])
    def test_what_a_connection_can_do_to_frames(self, kind: FaultKind) -> None:
        """Out of order, which no connection does by itself, a closed candle may have to be told again."""
        watched = {CODEC.stream_name(bitfinex_stream(s)): bitfinex_stream(s) for s in (BTC, QUIET)}

        async def body() -> None:
            sim = simulator(BITFINEX_RULES)
            session = CODEC.session()
            async with sim.running(), connected(sim, ROUTE) as client:
                await join(client, session, watched)
                sim.inject(Fault(kind, duration_s=3_600, delay_s=9.0))
                decoded = await listen(client, session, watched, 1_800)
            assert decoded.rejected == []
            assert sim.counters.faults[kind] > 5
            for name, stream in watched.items():
                found = [candle for one, candle in decoded.closed if one == name]
                last = {candle.open_time_ms: candle for candle in found}
                opens = list(last)
                assert opens == list(range(opens[0], opens[-1] + 1, MINUTE_MS))
                assert len(opens) > 25
                assert_true(list(last.values()), sim.truth(stream.symbol, MINUTE, opens[0], opens[-1] + MINUTE_MS))
                if kind in (FaultKind.DUPLICATE, FaultKind.DELAY):
                    assert len(found) == len(last)

        run(body)

    @pytest.mark.parametrize("echoes", [True, False])
    def test_refusals(self, echoes: bool) -> None:
        async def body() -> None:
            sim = simulator(evolve(BITFINEX_RULES, echoes_request=echoes, max_channels=1))
            good, other = (CODEC.stream_name(bitfinex_stream(symbol)) for symbol in (BTC, ETH))
            bad = CODEC.stream_name(bitfinex_stream("tNOPUST"))
            async with sim.running(), connected(sim, ROUTE) as client:
                session = CODEC.session()

                async def replies(raw: bytes | None) -> list[Any]:
                    assert raw is not None
                    await client.say(raw.decode())
                    return (await listen(client, session, {}, 0.2)).replies

                def id(number: int) -> int | None:
                    return number if echoes else None

                (refused,) = await replies(session.subscribe(1, [bad]))
                assert refused == RefusedNames(id(1), 10300, "symbol: invalid", (bad,))
                assert await replies(session.subscribe(2, [good])) == [Acked(id(2), (good,))]
                assert await replies(session.subscribe(3, [good])) == [Acked(id(3), (good,))]
                (full,) = await replies(session.subscribe(4, [other]))
                assert full == RefusedNames(id(4), 10305, "subscribe: limit", (other,), passing=True)
                assert session.unsubscribe(5, [other]) is None
                leaving = session.unsubscribe(6, [good])
                assert await replies(leaving) == [Acked(6, (good,))]
                (unknown,) = await replies(leaving)
                assert isinstance(unknown, RefusedNames)
                assert (unknown.code, unknown.names) == (10400, None)
                sim.inject(Fault(FaultKind.REFUSE_SUBSCRIBE, duration_s=5))
                (refused,) = await replies(session.subscribe(7, [good]))
                assert isinstance(refused, RefusedNames)
                assert (refused.names, refused.request_id) == ((good,), id(7))

        run(body)

    @pytest.mark.parametrize("week", ["1W", "7D"])
    def test_weeks(self, week: str) -> None:
        stream = bitfinex_stream(timeframe="1w")
        name = CODEC.stream_name(stream)

        async def body() -> None:
            sim = simulator(evolve(BITFINEX_RULES, week=week))
            session = CODEC.session()
            async with sim.running(), connected(sim, ROUTE) as client:
                first = await join(client, session, {name: stream})
                assert first.replies == [Acked(1, (name,))]
                assert list(first.open) == [name]

        run(body)

    def test_notices_and_nonsense(self) -> None:
        watched = {CODEC.stream_name(bitfinex_stream()): bitfinex_stream()}

        async def body() -> None:
            sim = simulator(BITFINEX_RULES)
            session = CODEC.session()
            async with sim.running(), connected(sim, ROUTE) as client:
                await join(client, session, watched)
                for kind in (FaultKind.MALFORMED, FaultKind.TRUNCATED):
                    sim.inject(Fault(kind))
                    assert len((await listen(client, session, watched, 0.5)).rejected) == 1
                ping = session.ping()
                assert ping is not None
                await client.say(ping.decode())
                assert (await listen(client, session, watched, 0.2)).rejected == []
                sim.inject(Fault(FaultKind.SHUTDOWN, delay_s=20))
                decoded = await listen(client, session, watched, 5)
                assert (decoded.closing_soon, decoded.rejected) == (True, [])
                await texts(client, 60)
                assert client.ending is not None

        run(body)

    @pytest.mark.parametrize("timeframe", [t.text for t in CODEC.rules.timeframes])
    def test_rest_of_every_timeframe(self, timeframe: str) -> None:
        stream = bitfinex_stream("tSLOUST", timeframe)
        series = LONG_MARKET.series("SLOUSDT", stream.timeframe)

        async def body() -> None:
            sim = simulator(BITFINEX_RULES, market=LONG_MARKET)
            await trio.sleep(7.5)
            now_ms = sim.now_ms()
            back_ms = min(stream.timeframe.nominal_ms * 1_000, 60 * DAY_MS)
            start_ms = series.floor(now_ms - back_ms)
            found: list[Candle] = []
            while True:
                part = await fetched(sim, stream, start_ms, 400)
                found += part
                if len(part) < 400:
                    break
                start_ms = part[-1].close_time_ms + 1
            truth = LONG_MARKET.truth("SLOUSDT", stream.timeframe, series.floor(now_ms - back_ms), now_ms)
            traded = [true.as_given(frozenset()) for true in truth if true.volume]
            assert_true([candle for candle in found if candle.closed], traded)
            newest = await fetched(sim, stream, None, 20)
            assert newest == found[-20:] or len(found) < 20
            assert sim.counters.violations == {}

        run(body)

    def test_the_clock_the_lists_and_the_tickers(self) -> None:
        async def body() -> None:
            sim = simulator(BITFINEX_RULES)
            await trio.sleep(100.3)
            reply = await ask(sim, CODEC.server_time())
            assert abs(CODEC.parse_server_time(reply.headers, reply.body) - sim.now_ms()) <= 500
            reply = await ask(sim, CODEC.instruments())
            CODEC.check_answer(reply.status, reply.headers, reply.body)
            page = CODEC.parse_instruments(reply.body)
            assert page.next is None
            assert {i.symbol: i.unified for i in page.instruments} == {
                BTC: "BTC/USDT",
                ETH: "ETH/USDT",
                QUIET: "QUIET/USDT",
                BTC_PERPETUAL: "BTC/USDT:USDT",
                "tETHF0:USTF0": "ETH/USDT:USDT",
                QUIET_PERPETUAL: "QUIET/USDT:USDT",
            }
            (request,) = CODEC.tickers()
            reply = await ask(sim, request)
            CODEC.check_answer(reply.status, reply.headers, reply.body)
            tickers = {ticker.symbol: ticker for ticker in CODEC.parse_tickers(reply.body)}
            assert tickers.keys() == {i.symbol for i in page.instruments}
            day = sim.market.series("BTCUSDT", Timeframe("1d")).row(START_MS // DAY_MS * DAY_MS, sim.now_ms())
            assert day is not None  # the market began today
            ticker = tickers[BTC]
            assert (ticker.last, ticker.volume) == (
                Decimal(day.bar.close).scaleb(-2),
                Decimal(day.bar.volume).scaleb(-5),
            )
            assert ticker.quote_volume is None
            assert ticker.change is not None
            assert float(ticker.change) == pytest.approx(day.bar.close / day.bar.open - 1, abs=1e-8)

        run(body)

    def test_symbols_come_and_go(self) -> None:
        async def body() -> None:
            late = SymbolSpec("LAT", "USDT", "3", 3, 2, 20.0, futures=False, listed_ms=START_MS + 90_000)
            sim = simulator(BITFINEX_RULES, market=Market(7, START_MS, [*SYMBOLS[:2], late]))

            async def listed() -> list[str]:
                reply = await ask(sim, CODEC.instruments())
                return [i.symbol for i in CODEC.parse_instruments(reply.body).instruments if i.symbol[-2:] != "F0"]

            async def refused(symbol: str) -> bool:
                (said,) = await talk(sim, subscribe(f"trade:1m:{symbol}"))
                return bool(said["event"] == "error")

            async with sim.running():
                assert await listed() == [BTC, ETH]
                assert await refused("tLATUST")
                assert await fetched(sim, bitfinex_stream("tLATUST"), None, 5) == []
                await trio.sleep(100)
                assert await listed() == [BTC, ETH, "tLATUST"]
                assert not await refused("tLATUST")
                sim.inject(Fault(FaultKind.DELIST, symbol=ETH))
                await trio.sleep(1)
                assert await listed() == [BTC, "tLATUST"]
                assert await refused(ETH)
                assert len(await fetched(sim, bitfinex_stream(ETH), None, 5)) == 5

        run(body)

    def test_errors_of_rest(self) -> None:
        async def body() -> None:
            sim = simulator(BITFINEX_RULES)
            async with sim.running():
                reply = await get(sim, hist(limit=0))
                with pytest.raises(VenueError):
                    CODEC.check_answer(reply.status, reply.headers, reply.body)
                sim.inject(Fault(FaultKind.REST_ERROR, duration_s=1))
                with pytest.raises(RequestFailed):
                    await fetched(sim, bitfinex_stream(), None, 5)
                await trio.sleep(2)
                sim.inject(Fault(FaultKind.REST_LIMIT, duration_s=1, delay_s=30))
                with pytest.raises(RateLimited) as caught:
                    await fetched(sim, bitfinex_stream(), None, 5)
                assert caught.value.retry_after_s == 60.0
                await trio.sleep(caught.value.retry_after_s)
                await fetched(sim, bitfinex_stream(), None, 5)
                assert sim.counters.violations == {}
                sim.inject(Fault(FaultKind.REST_STALE, duration_s=5, delay_s=600))
                stale = await fetched(sim, bitfinex_stream(), None, 5)
                assert stale[-1].open_time_ms < sim.now_ms() - 590_000

        run(body)
