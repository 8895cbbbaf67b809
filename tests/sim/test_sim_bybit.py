"""Bybit as a simulated venue: what it says, and that the codec understands it as it was meant."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from urllib.parse import urlencode

import pytest
import trio
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from sim_client import START_MS, SYMBOLS, Client, Refused, Reply, connected, get, run, simulator

from candleactors.errors import InvalidSymbol, MalformedMessage, RateLimited, RequestFailed, VenueError
from candleactors.model import DAY_MS, MINUTE_MS, Candle, Source, Stream, Timeframe
from candleactors.sim import Counters, Fault, FaultKind, Market, Outage, Simulator, SymbolSpec
from candleactors.sim.bybit import BYBIT_LINEAR_RULES, BYBIT_SPOT_RULES, BybitRules
from candleactors.sim.dialect import Request
from candleactors.venues import bybit
from candleactors.venues.base import Acked, Decoded, Instrument, RestRequest
from candleactors.venues.base import Refused as RefusedNames
from candleactors.venues.bybit import BybitCodec

SPOT, LINEAR = bybit.spot(), bybit.linear()
MARKETS = pytest.mark.parametrize(
    ("rules", "dialect"), [(BYBIT_SPOT_RULES, SPOT), (BYBIT_LINEAR_RULES, LINEAR)], ids=["spot", "linear"]
)
NAME = "kline.1.BTCUSDT"
DELIVERY_MS = 1_766_649_600_000  # 2025-12-25 08:00
CONTRACTS = (
    SymbolSpec("BTC", "USDT", "67250", 2, 5, 90.0, 0.0001, "0.02"),
    SymbolSpec("BTC", "USDC", "67240", 1, 3, 9.0, 0.0001, "0.02"),
    SymbolSpec("ETH", "USDT", "3120", 2, 4, 20.0, 0.0001, "0.4"),
    SymbolSpec("NEW", "USDT", "1", 4, 0, 20.0, 0.0001, "5", listed_ms=START_MS + 5 * MINUTE_MS),
    SymbolSpec("SPOTTY", "USDT", "1", 4, 0, futures=False),
)


def path(rules: BybitRules) -> str:
    return f"/v5/public/{rules.category}"


def stream(dialect: BybitCodec, symbol: str = "BTCUSDT", timeframe: str = "1m") -> Stream:
    return Stream(dialect.rules.venue, symbol, Timeframe(timeframe))


def watching(dialect: BybitCodec, *streams: Stream) -> dict[str, Stream]:
    return {dialect.stream_name(each): each for each in streams}


def dump(message: object) -> str:
    return json.dumps(message, separators=(",", ":"))


async def replies(client: Client, *messages: object, wait_s: float = 0.1) -> list[str]:
    """Return the texts, pushes excepted, that come after `messages`."""
    for message in messages:
        await client.say(message if isinstance(message, str) else dump(message))
    found: list[str] = []
    with trio.move_on_after(wait_s):
        while (text := await client.receive_text()) is not None:
            if '"topic"' not in text:
                found.append(text)
    return found


async def talk(rules: BybitRules, *messages: object, market: Market | None = None) -> list[str]:
    """Return what is answered on a connection of its own, with its identifier left out."""
    sim = simulator(rules, market=market)
    async with sim.running(), connected(sim, path(rules)) as client:
        said = [json.loads(text) for text in await replies(client, *messages)]
    assert len({message.pop("conn_id") for message in said}) <= 1
    return [dump(message) for message in said]


def ask(op: str, *args: object, **more: object) -> dict[str, object]:
    return {"op": op, "args": list(args)} | more


async def collect(client: Client, for_s: float) -> list[bytes]:
    """Return every text message of the next seconds as bytes."""
    found: list[bytes] = []
    with trio.move_on_after(for_s):
        while (text := await client.receive_text()) is not None:
            found.append(text.encode())
    return found


class TestConversation:
    @MARKETS
    def test_acknowledgements(self, rules: BybitRules, dialect: BybitCodec) -> None:
        said = run(
            lambda: talk(
                rules, ask("subscribe", NAME, req_id="7"), ask("unsubscribe", NAME), ask("unsubscribe", "x", req_id="8")
            )
        )
        if rules.linear:
            assert said == [
                '{"success":true,"ret_msg":"","req_id":"7","op":"subscribe"}',
                '{"success":true,"ret_msg":"","req_id":"","op":"unsubscribe"}',
                '{"success":true,"ret_msg":"","req_id":"8","op":"unsubscribe"}',
            ]
        else:
            assert said == [
                '{"success":true,"ret_msg":"subscribe","req_id":"7","op":"subscribe"}',
                '{"success":true,"ret_msg":"unsubscribe","op":"unsubscribe"}',
                '{"success":true,"ret_msg":"unsubscribe","req_id":"8","op":"unsubscribe"}',
            ]

    @MARKETS
    def test_pongs(self, rules: BybitRules, dialect: BybitCodec) -> None:
        bare, numbered = run(lambda: talk(rules, {"op": "ping"}, {"op": "ping", "req_id": "5"}))
        assert bare == (
            '{"success":true,"ret_msg":"pong","req_id":"","op":"ping"}'
            if rules.linear
            else '{"success":true,"ret_msg":"pong","op":"ping"}'
        )
        assert numbered == '{"success":true,"ret_msg":"pong","req_id":"5","op":"ping"}'

    @MARKETS
    @pytest.mark.parametrize(("asked", "echoed"), [(3, "3"), (-1, "-1"), ("3", "3"), (True, None), (3.0, None)])
    def test_numbers_of_requests_come_back_as_text(
        self, rules: BybitRules, dialect: BybitCodec, asked: object, echoed: str | None
    ) -> None:
        for said in run(lambda: talk(rules, ask("subscribe", NAME, req_id=asked), {"op": "ping", "req_id": asked})):
            assert json.loads(said).get("req_id") == (echoed or ("" if rules.linear else None))

    @MARKETS
    def test_one_bad_topic_refuses_the_whole_request(self, rules: BybitRules, dialect: BybitCodec) -> None:
        async def body() -> None:
            sim = simulator(rules)
            async with sim.running(), connected(sim, path(rules)) as client:
                for bad in ("kline.1.NOPEUSDT", "kline.7.BTCUSDT", "kline.1.btcusdt", "kline.1.币安人生USDT", "hello"):
                    (text,) = await replies(client, ask("subscribe", NAME, bad, "kline.D.NOPE", req_id="3"))
                    expected = f"error:handler not found,topic:{bad}" if rules.linear else f"Invalid symbol :[{bad}]"
                    assert json.loads(text) == {
                        "success": False,
                        "ret_msg": expected,
                        "conn_id": json.loads(text)["conn_id"],
                        "req_id": "3",
                        "op": "subscribe",
                    }
                assert sim.connections[0].names == ()
                assert await collect(client, 60) == []

        run(body)

    def test_a_topic_is_subscribed_once_only_on_the_linear_market(self) -> None:
        twice = (ask("subscribe", NAME), ask("subscribe", "kline.1.ETHUSDT", NAME, req_id="2"))
        _, refused = run(lambda: talk(BYBIT_LINEAR_RULES, *twice))
        assert refused == (
            f'{{"success":false,"ret_msg":"error:already subscribed,topic:{NAME}","req_id":"2","op":"subscribe"}}'
        )
        (again,) = run(lambda: talk(BYBIT_LINEAR_RULES, ask("subscribe", NAME, NAME)))
        assert json.loads(again)["ret_msg"] == f"error:already subscribed,topic:{NAME}"
        _, acked = run(lambda: talk(BYBIT_SPOT_RULES, *twice))
        assert json.loads(acked)["success"] is True

    def test_ten_names_a_request_are_enough_for_the_spot_market(self) -> None:
        names = [f"kline.{n}.BTCUSDT" for n in (1, 3, 5, 15, 30, 60, 120, 240, 360, 720, "D")]
        first, second = run(lambda: talk(BYBIT_SPOT_RULES, ask("subscribe", *names), ask("subscribe", *names[:10])))
        assert first == '{"success":false,"ret_msg":"args size >10","op":"subscribe"}'
        assert json.loads(second)["success"] is True
        (only,) = run(lambda: talk(BYBIT_LINEAR_RULES, ask("subscribe", *names)))
        assert json.loads(only)["success"] is True

    @MARKETS
    def test_characters_are_counted_per_connection(self, rules: BybitRules, dialect: BybitCodec) -> None:
        tight = evolve(rules, max_characters=2 * len('["kline.1.BTCUSDT"]'))

        async def body() -> None:
            sim = simulator(tight)
            async with sim.running(), connected(sim, path(rules)) as client:
                session = dialect.session()
                names = [NAME, "kline.3.BTCUSDT", "kline.5.BTCUSDT"]
                (text,) = await replies(client, session.subscribe(1, names).decode())
                decoded = session.decode([text.encode()], {}, 7)
                (refused,) = decoded.replies
                assert isinstance(refused, RefusedNames)
                assert (refused.request_id, refused.names, refused.passing) == (1, (), True)
                for number, name in enumerate(names):
                    (text,) = await replies(client, session.subscribe(number, [name]).decode())
                    assert json.loads(text)["success"] is (number < 2)
                unsubscribe = session.unsubscribe(4, names[:1])
                assert unsubscribe is not None
                await replies(client, unsubscribe.decode())
                (text,) = await replies(client, session.subscribe(5, names[2:]).decode())
                assert json.loads(text)["success"] is True
            assert sim.counters.violations == {"characters": 2}

        run(body)

    @MARKETS
    @pytest.mark.parametrize(
        ("message", "ret_msg"),
        [
            ("hello", "Failed to decode incoming data:readObjectStart: expect { or n, but found h"),
            ("", "Failed to decode incoming data:readObjectStart: expect { or n, but found "),
            ("[]", "Failed to decode incoming data:readObjectStart: expect { or n, but found ["),
            ('{"op":"\\ud800"}', "Failed to decode incoming data:readObjectStart: expect { or n, but found {"),
            ("{}", "error:invalid op"),
            ('{"op":"nope","args":["x"]}', "error:invalid op"),
            ('{"op":["subscribe"]}', "error:invalid op"),
            ('{"op":"subscribe"}', "Params Error"),
            ('{"op":"subscribe","args":[]}', "Params Error"),
            ('{"op":"subscribe","args":[7]}', "Params Error"),
            ('{"op":"unsubscribe","args":"kline.1.BTCUSDT"}', "Params Error"),
        ],
    )
    def test_what_is_no_request(self, rules: BybitRules, dialect: BybitCodec, message: str, ret_msg: str) -> None:
        (said,) = run(lambda: talk(rules, message))
        assert json.loads(said)["ret_msg"] == ret_msg
        assert json.loads(said)["success"] is False
        if ret_msg == "error:invalid op":
            assert set(json.loads(said)) == {"success", "ret_msg", "request"}
        (reply,) = dialect.session().decode([said.encode()], {}, 7).replies
        assert isinstance(reply, RefusedNames)

    @MARKETS
    def test_each_market_has_its_own_path(self, rules: BybitRules, dialect: BybitCodec) -> None:
        async def body() -> None:
            sim = simulator(rules)
            async with connected(sim, f"{path(rules)}?max_active_time=60s"):
                pass
            other = BYBIT_SPOT_RULES if rules.linear else BYBIT_LINEAR_RULES
            for target in (path(other), "/v5/public", "/v5/public/linear/x", "/"):
                with pytest.raises((Refused, ExceptionGroup)):
                    async with connected(sim, target):
                        pass
            assert dialect.websocket_url("") == path(rules)

        run(body)

    def test_topics_without_candles_are_subscribed_and_silent(self) -> None:
        async def body() -> None:
            sim = simulator(BYBIT_LINEAR_RULES)
            async with sim.running(), connected(sim, path(BYBIT_LINEAR_RULES)) as client:
                names = ["tickers.BTCUSDT", "publicTrade.ETHUSDT", "orderbook.50.BTCUSDT", "allLiquidation.BTCUSDT"]
                (text,) = await replies(client, ask("subscribe", *names))
                assert json.loads(text)["success"] is True
                assert sim.connections[0].names == tuple(names)
                assert await collect(client, 120) == []
                (text,) = await replies(client, ask("subscribe", "orderbook.30.BTCUSDT"))
                assert json.loads(text)["success"] is False

        run(body)

    @MARKETS
    @settings(max_examples=150)
    @given(
        text=st.text(max_size=60)
        | st.builds(
            lambda op, args, more: json.dumps({"op": op, "args": args} | more),
            st.sampled_from(["subscribe", "unsubscribe", "ping", "", "\ud800"]) | st.none(),
            st.lists(st.sampled_from([NAME, "kline.1.", "kline", "..", "tickers.", "\ud800"]) | st.text(max_size=9)),
            st.dictionaries(st.just("req_id"), st.text(max_size=4) | st.integers() | st.none()),
        )
    )
    def test_any_text_gets_an_answer_the_codec_reads(self, rules: BybitRules, dialect: BybitCodec, text: str) -> None:
        session = rules.dialect(Market(7, START_MS, SYMBOLS), Counters()).open(path(rules), 1)
        assert session is not None
        parsed = session.parse(text, START_MS)
        said = (session.grant(parsed) if isinstance(parsed, Request) else parsed).replies
        assert len(said) == 1
        decoded = dialect.session().decode([each.encode() for each in said], {}, 7)
        assert decoded.rejected == []


class TestReplies:
    """What the codec makes of them."""

    @MARKETS
    @pytest.mark.parametrize("echoes", [True, False])
    def test_a_refusal_leads_to_what_can_be_subscribed(
        self, rules: BybitRules, dialect: BybitCodec, echoes: bool
    ) -> None:
        async def body() -> None:
            sim = simulator(evolve(rules, echoes_errors=echoes))
            session = dialect.session()
            names = ["kline.1.NOPEUSDT", NAME, "kline.1.ALSOUSDT", "kline.5.ETHUSDT"]
            async with sim.running(), connected(sim, path(rules)) as client:
                for number in range(1, 4):
                    (text,) = await replies(client, session.subscribe(number, names).decode())
                    (reply,) = session.decode([text.encode()], {}, 7).replies
                    if isinstance(reply, Acked):
                        break
                    assert isinstance(reply, RefusedNames)
                    assert (reply.request_id, reply.voids) == (number if echoes else None, True)
                    assert reply.names
                    names = [name for name in names if name not in reply.names]
                assert reply == Acked(3)
                assert sim.connections[0].names == (NAME, "kline.5.ETHUSDT")

        run(body)

    def test_what_is_subscribed_already_is_told_and_the_rest_asked_for_again(self) -> None:
        async def body() -> None:
            sim = simulator(BYBIT_LINEAR_RULES)
            session = LINEAR.session()
            async with sim.running(), connected(sim, path(BYBIT_LINEAR_RULES)) as client:
                await replies(client, session.subscribe(1, [NAME]).decode())
                (text,) = await replies(client, session.subscribe(2, [NAME, "kline.1.ETHUSDT"]).decode())
                acked, refused = session.decode([text.encode()], {}, 7).replies
                assert acked == Acked(None, (NAME,))
                assert isinstance(refused, RefusedNames)
                assert (refused.request_id, refused.names, refused.voids) == (2, (), True)
                assert sim.connections[0].names == (NAME,)

        run(body)

    @MARKETS
    def test_a_refusal_without_cause(self, rules: BybitRules, dialect: BybitCodec) -> None:
        async def body() -> None:
            sim = simulator(rules)
            session = dialect.session()
            async with sim.running(), connected(sim, path(rules)) as client:
                sim.inject(Fault(FaultKind.REFUSE_SUBSCRIBE, duration_s=5))
                (text,) = await replies(client, session.subscribe(1, [NAME]).decode())
                (reply,) = session.decode([text.encode()], {}, 7).replies
                assert isinstance(reply, RefusedNames)
                assert (reply.request_id, reply.names) == (1, (NAME,))
                await trio.sleep(5)
                (text,) = await replies(client, session.subscribe(2, [NAME]).decode())
                assert session.decode([text.encode()], {}, 7).replies == [Acked(2)]

        run(body)

    @MARKETS
    def test_the_codec_s_pings_keep_an_idle_connection(self, rules: BybitRules, dialect: BybitCodec) -> None:
        async def body() -> None:
            sim = simulator(rules)
            session = dialect.session()
            keepalive = dialect.rules.keepalive
            assert keepalive is not None
            async with sim.running(), connected(sim, path(rules)) as client:
                for _ in range(40):
                    ping = session.ping()
                    assert ping is not None
                    (text,) = await replies(client, ping.decode(), wait_s=keepalive.interval_s)
                    assert session.decode([text.encode()], {}, 7) == Decoded(ignored=1, messages=1)
                assert sim.counters.violations == {}
                assert await collect(client, 599) == []
                assert sim.counters.live == 1
                await collect(client, 10)
                assert client.close is None
            assert sim.counters.live == 0
            assert sim.counters.violations == {"idle": 1}

        run(body)

    @MARKETS
    def test_a_connection_with_data_needs_no_ping(self, rules: BybitRules, dialect: BybitCodec) -> None:
        async def body() -> None:
            sim = simulator(rules)
            async with sim.running(), connected(sim, path(rules)) as client:
                await client.say(ask("subscribe", "kline.D.QUIETUSDT"))
                assert len(await collect(client, 1_300)) > 20
            assert sim.counters.violations == {}

        run(body)


class TestPushes:
    @MARKETS
    @pytest.mark.parametrize(
        "fault", [None, FaultKind.DUPLICATE, FaultKind.REORDER, FaultKind.DELAY, FaultKind.LATE_CLOSE]
    )
    def test_decoded_candles_are_the_truth(
        self, rules: BybitRules, dialect: BybitCodec, fault: FaultKind | None
    ) -> None:
        async def body() -> None:
            sim = simulator(rules)
            session = dialect.session()
            streams = watching(
                dialect,
                *(stream(dialect, s, t) for s in ("BTCUSDT", "QUIETUSDT") for t in ("1m", "3m", "15m")),
                stream(dialect, "ETHUSDT", "30m"),
            )
            async with sim.running(), connected(sim, path(rules)) as client:
                await client.say(session.subscribe(1, list(streams)).decode())
                if fault is not None:
                    sim.inject(Fault(fault, duration_s=1_900, delay_s=2.5))
                frames = await collect(client, 1_805)
            closed: dict[str, list[Candle]] = {name: [] for name in streams}
            forming: dict[str, list[Candle]] = {name: [] for name in streams}
            for frame in frames:
                decoded = session.decode([frame], streams, 99)
                assert decoded.rejected == []
                for name, candle in decoded.closed:
                    closed[name].append(candle)
                for name, wire in decoded.open.items():
                    forming[name].append(wire.to_candle(streams[name], 99))
            for name, each in streams.items():
                truth = sim.truth(each.symbol, each.timeframe, START_MS, START_MS + 30 * MINUTE_MS)
                told = {candle.open_time_ms: candle for candle in closed[name]}
                if fault is not FaultKind.REORDER:
                    assert list(told) == sorted(told)
                assert [told[open_ms].values() for open_ms in sorted(told)] == [c.values() for c in truth]
                assert sorted(told) == [c.open_time_ms for c in truth]
                assert len(closed[name]) == len(truth) * (2 if fault is FaultKind.DUPLICATE else 1)
                assert all(c.source is Source.WS and c.stream == each for c in told.values())
                assert forming[name]
                for candle in forming[name]:
                    assert not candle.closed
                    assert candle.problem() is None
            assert any(not c.volume for c in closed["kline.1.QUIETUSDT"])
            batch = session.decode(frames, streams, 99)
            assert [c for _, c in batch.closed] == [
                c for f in frames for _, c in session.decode([f], streams, 99).closed
            ]
            assert set(batch.open) == set(streams)

        run(body)

    def test_the_exact_shape_on_the_linear_market(self) -> None:
        async def body() -> None:
            sim = simulator(BYBIT_LINEAR_RULES)
            async with sim.running(), connected(sim, path(BYBIT_LINEAR_RULES)) as client:
                await client.say(ask("subscribe", "kline.1.QUIETUSDT", NAME))
                messages = [json.loads(f) for f in await collect(client, 61)]
            pushes = [m for m in messages if "topic" in m]
            assert all(list(m) == ["topic", "data", "ts", "type"] for m in pushes)
            keys = ["start", "end", "interval", "open", "close", "high", "low", "volume", "turnover", "confirm"]
            assert all(list(k) == [*keys, "timestamp"] for m in pushes for k in m["data"])
            (together,) = [m for m in pushes if m["topic"].endswith("QUIETUSDT") and len(m["data"]) == 2]
            over, begun = together["data"]
            assert (over["confirm"], begun["confirm"]) == (True, False)
            assert (over["start"], begun["start"]) == (START_MS, START_MS + MINUTE_MS)
            assert over["end"] == begun["start"] - 1
            assert begun["volume"] == begun["turnover"] == "0"
            assert begun["open"] == over["close"]
            assert together["ts"] == START_MS + MINUTE_MS + 250
            assert all(k["timestamp"] == m["ts"] and k["interval"] == "1" for m in pushes for k in m["data"])

        run(body)

    def test_the_exact_shape_on_the_spot_market(self) -> None:
        async def body() -> None:
            sim = simulator(BYBIT_SPOT_RULES)
            async with sim.running(), connected(sim, path(BYBIT_SPOT_RULES)) as client:
                await client.say(ask("subscribe", "kline.1.QUIETUSDT", NAME))
                pushes = [m for m in map(json.loads, await collect(client, 61)) if "topic" in m]
            assert all(list(m) == ["type", "topic", "data", "ts"] for m in pushes)
            assert all(len(m["data"]) == 1 for m in pushes)
            assert [m["data"][0]["start"] for m in pushes if m["data"][0]["confirm"]] == [START_MS, START_MS]

        run(body)

    @MARKETS
    def test_cadence(self, rules: BybitRules, dialect: BybitCodec) -> None:
        async def body() -> None:
            sim = simulator(rules)
            async with sim.running(), connected(sim, path(rules)) as client:
                await trio.sleep(10.4)
                await client.say(ask("subscribe", "kline.D.QUIETUSDT", "kline.D.BTCUSDT"))
                pushes = [m for m in map(json.loads, await collect(client, 600)) if "topic" in m]
            for symbol in ("QUIETUSDT", "BTCUSDT"):
                times = [m["ts"] - START_MS for m in pushes if m["topic"].endswith(symbol)]
                assert times[0] == 10_000  # the last push before the subscription, at once
                assert all(at % 1_000 == 0 for at in times)
                assert max(b - a for a, b in pairwise(times)) <= 60_000
            assert len([m for m in pushes if "BTC" in m["topic"]]) > 300
            quiet = [m["data"][0]["volume"] for m in pushes if "QUIET" in m["topic"]]
            assert len(set(quiet)) < len(quiet) < 100

        run(body)

    @MARKETS
    def test_nothing_of_a_candle_comes_before_the_end_of_the_one_before_it(
        self, rules: BybitRules, dialect: BybitCodec
    ) -> None:
        async def body() -> None:
            sim = simulator(rules)
            async with (
                sim.running(),
                connected(sim, path(rules)) as first,
                connected(sim, path(rules)) as second,
            ):
                await first.say(ask("subscribe", NAME))
                await trio.sleep(60.1)  # the closing push goes out at 60.25
                await second.say(ask("subscribe", NAME))
                pushes = [m for m in map(json.loads, await collect(second, 3)) if "topic" in m]
            klines = [kline for m in pushes for kline in m["data"]]
            assert [kline["start"] - START_MS for kline in klines[:2]] == [0, MINUTE_MS]
            assert [kline["confirm"] for kline in klines[:2]] == [True, False]

        run(body)

    def test_a_market_that_is_halted_says_nothing(self) -> None:
        async def body() -> None:
            outage = Outage(START_MS + 90_000, START_MS + 270_000)
            market = Market(7, START_MS, SYMBOLS, outages=[outage])
            sim = simulator(BYBIT_LINEAR_RULES, market=market)
            streams = watching(LINEAR, stream(LINEAR))
            async with sim.running(), connected(sim, path(BYBIT_LINEAR_RULES)) as client:
                await client.say(ask("subscribe", NAME))
                decoded = LINEAR.session().decode(await collect(client, 420), streams, 7)
            assert decoded.rejected == []
            opens = [(c.open_time_ms - START_MS) // MINUTE_MS for _, c in decoded.closed]
            truth = sim.truth("BTCUSDT", Timeframe("1m"), START_MS, START_MS + 420_000)
            assert len(truth) < 6
            told = {c.open_time_ms: c.values() for _, c in decoded.closed}
            assert set(told.items()) <= {(c.open_time_ms, c.values()) for c in truth}
            assert {0, 5} <= set(opens)
            assert opens == sorted(opens)

        run(body)

    @pytest.mark.parametrize("kind", [FaultKind.MALFORMED, FaultKind.TRUNCATED, FaultKind.HUGE])
    def test_broken_messages_are_rejected_and_nothing_else_suffers(self, kind: FaultKind) -> None:
        async def body() -> None:
            sim = simulator(BYBIT_LINEAR_RULES)
            async with sim.running(), connected(sim, path(BYBIT_LINEAR_RULES)) as client:
                await client.say(ask("subscribe", NAME))
                await trio.sleep(10)
                sim.inject(Fault(kind, count=100))
                frames = await collect(client, 60)
            decoded = LINEAR.session().decode(frames, watching(LINEAR, stream(LINEAR)), 7)
            assert len(decoded.rejected) == 1
            assert len(decoded.closed) == 1

        run(body)


def target(request: RestRequest) -> str:
    return request.path + ("?" + urlencode(request.params) if request.params else "")


async def fetch(sim: Simulator, dialect: BybitCodec, request: RestRequest) -> bytes:
    """Return a good answer; raises what any other one means."""
    reply = await get(sim, target(request))
    dialect.check_answer(reply.status, headers(reply), reply.body)
    return reply.body


def headers(reply: Reply) -> Mapping[str, str]:
    return {name.lower(): value for name, value in reply.headers.items()}


async def candles(
    sim: Simulator, dialect: BybitCodec, watched: Stream, start_ms: int | None, end_ms: int | None, limit: int
) -> list[Candle]:
    body = await fetch(sim, dialect, dialect.klines(watched, start_ms, end_ms, limit, sim.now_ms()))
    return dialect.parse_klines(watched, body, sim.now_ms(), 99)


class TestKlines:
    @MARKETS
    def test_rows_agree_with_the_truth_and_the_newest_is_running(self, rules: BybitRules, dialect: BybitCodec) -> None:
        async def body() -> None:
            sim = simulator(rules)
            await trio.sleep(90)
            for timeframe in ("1m", "5m", "1h", "1d", "1w", "1M"):
                watched = stream(dialect, "QUIETUSDT", timeframe)
                found = await candles(sim, dialect, watched, None, None, 1000)
                truth = sim.truth("QUIETUSDT", watched.timeframe, 0, sim.now_ms())
                assert [c.values() for c in found[:-1]] == [c.values() for c in truth]
                assert [c.open_time_ms for c in found[:-1]] == [c.open_time_ms for c in truth]
                assert [c.closed for c in found] == [True] * len(truth) + [False]
            answer = (await get(sim, f"/v5/market/kline?category={rules.category}&symbol=BTCUSDT&interval=1")).json
            assert list(answer) == ["retCode", "retMsg", "result", "retExtInfo", "time"]
            assert list(answer["result"]) == ["symbol", "category", "list"]
            assert len(answer["result"]["list"]) == 200
            assert answer["result"]["list"][0][0] == str(START_MS + MINUTE_MS)
            assert all(type(value) is str for row in answer["result"]["list"] for value in row)

        run(body)

    @pytest.mark.parametrize("end_included", [True, False])
    @pytest.mark.parametrize("oldest_first", [True, False])
    @pytest.mark.parametrize("timeframe", ["1m", "15m"])
    def test_windows_follow_each_other_without_a_hole(
        self, end_included: bool, oldest_first: bool, timeframe: str
    ) -> None:
        async def body() -> None:
            rules = evolve(BYBIT_SPOT_RULES, end_included=end_included, oldest_first_from_start=oldest_first)
            sim = simulator(rules, market=Market(3, START_MS, SYMBOLS[:1], history_ms=DAY_MS))
            watched = stream(SPOT, timeframe=timeframe)
            start_ms = at_ms = START_MS - DAY_MS // 2
            found: list[Candle] = []
            while at_ms < START_MS:
                found += await candles(sim, SPOT, watched, at_ms, None, 7)
                at_ms = watched.timeframe.advance(at_ms, 7)
            truth = sim.truth("BTCUSDT", watched.timeframe, start_ms, START_MS)
            assert [(c.open_time_ms, c.values()) for c in found if c.closed] == [
                (c.open_time_ms, c.values()) for c in truth
            ]
            whole = await candles(sim, SPOT, watched, start_ms, START_MS - 1, 1000)
            assert whole == [c for c in found if c.open_time_ms < START_MS]
            some = await candles(sim, SPOT, watched, None, truth[-3].open_time_ms, 4)
            assert [c.values() for c in some] == [c.values() for c in truth[-6:-2]]
            exactly = await candles(sim, SPOT, watched, truth[5].open_time_ms, truth[5].open_time_ms, 4)
            assert [c.values() for c in exactly] == [truth[5].values()]
            assert await candles(sim, SPOT, watched, START_MS + DAY_MS, None, 4) == []

        run(body)

    def test_no_more_than_a_thousand_rows(self) -> None:
        async def body() -> None:
            sim = simulator(BYBIT_SPOT_RULES, market=Market(3, START_MS, SYMBOLS[:1], history_ms=DAY_MS))
            assert len(await candles(sim, SPOT, stream(SPOT), None, None, 9_999)) == 1000
            many = await get(sim, "/v5/market/kline?category=spot&symbol=BTCUSDT&interval=1&limit=9999")
            assert len(many.json["result"]["list"]) == 1000

        run(body)

    @MARKETS
    def test_refusals(self, rules: BybitRules, dialect: BybitCodec) -> None:
        async def body() -> None:
            sim = simulator(rules)
            with pytest.raises(InvalidSymbol):
                await candles(sim, dialect, stream(dialect, "NOPEUSDT"), None, None, 5)
            good = {"category": rules.category, "symbol": "BTCUSDT", "interval": "1"}
            for changes in (
                {"interval": "7"},
                {"interval": "1m"},
                {"category": "inverse"},
                {"category": ""},
                {"limit": "0"},
                {"limit": "x"},
                {"start": "-1"},
                {"start": "20", "end": "10"},
            ):
                reply = await get(sim, "/v5/market/kline?" + urlencode(good | changes))
                assert (reply.status, reply.json["retCode"]) == (200, 10001)
                with pytest.raises(VenueError):
                    dialect.check_answer(reply.status, headers(reply), reply.body)
            assert (await get(sim, "/v5/market/nothing")).status == 404
            assert (await get(sim, "/v5/market/time", method="POST")).status == 405

        run(body)

    def test_stale_rows_are_those_of_then(self) -> None:
        async def body() -> None:
            sim = simulator(BYBIT_SPOT_RULES)
            async with sim.running():
                await trio.sleep(150)
                sim.inject(Fault(FaultKind.REST_STALE, duration_s=10, delay_s=60))
                found = await candles(sim, SPOT, stream(SPOT), None, None, 2)
                assert [c.open_time_ms - START_MS for c in found] == [0, MINUTE_MS]

        run(body)


class TestListings:
    def test_pages_of_contracts(self) -> None:
        async def body() -> None:
            rules = evolve(
                BYBIT_LINEAR_RULES, instruments_limit=2, dated=(("BTCUSDT", DELIVERY_MS), ("ETHUSDT", DELIVERY_MS))
            )
            sim = simulator(rules, market=Market(7, START_MS, CONTRACTS))
            found: list[Instrument] = []
            page, pages = None, 0
            while page is not None or not pages:
                body = await fetch(sim, LINEAR, LINEAR.instruments(page))
                answer = LINEAR.parse_instruments(body, page)
                assert len(answer.instruments) <= 2
                found += answer.instruments
                page, pages = answer.next, pages + 1
            assert pages == 3
            assert found == [
                Instrument("BTCPERP", "BTC/USDC:USDC", trades=True),
                Instrument("BTCUSDT", "BTC/USDT:USDT", trades=True),
                Instrument("BTCUSDT-25DEC25", "BTC/USDT:USDT-251225", trades=True),
                Instrument("ETHUSDT", "ETH/USDT:USDT", trades=True),
                Instrument("ETHUSDT-25DEC25", "ETH/USDT:USDT-251225", trades=True),
            ]
            first = (await get(sim, target(LINEAR.instruments()))).json["result"]
            assert first["nextPageCursor"] == "first%3DBTCPERP%26last%3DBTCUSDT"
            twice = await get(sim, target(LINEAR.instruments(first["nextPageCursor"])))
            assert twice.json["retCode"] == 10001

        run(body)

    def test_statuses(self) -> None:
        async def body() -> None:
            sim = simulator(BYBIT_LINEAR_RULES, market=Market(7, START_MS, CONTRACTS))

            async def listed(status: str) -> dict[str, bool]:
                request = LINEAR.instruments()
                reply = await get(sim, target(request) + f"&status={status}")
                return {i.symbol: i.trades for i in LINEAR.parse_instruments(reply.body).instruments}

            async with sim.running(), connected(sim, path(BYBIT_LINEAR_RULES)) as client:
                assert await listed("PreLaunch") == {"NEWUSDT": False}
                assert set(await listed("Trading")) == {"BTCPERP", "BTCUSDT", "ETHUSDT"}
                (text,) = await replies(client, ask("subscribe", "kline.1.NEWUSDT"))
                assert json.loads(text)["ret_msg"] == "error:handler not found,topic:kline.1.NEWUSDT"
                await trio.sleep(360)
                sim.inject(Fault(FaultKind.DELIST, symbol="BTCPERP"))
                await trio.sleep(1)
                assert await listed("Closed") == {"BTCPERP": False}
                assert set(await listed("")) == {"BTCUSDT", "ETHUSDT", "NEWUSDT"}
                subscribing = [ask("subscribe", f"kline.1.{symbol}") for symbol in ("NEWUSDT", "BTCPERP")]
                good, bad = await replies(client, *subscribing)
                assert json.loads(good)["success"] is True
                assert json.loads(bad)["success"] is False

        run(body)

    def test_contracts_have_candles_under_their_own_symbols(self) -> None:
        async def body() -> None:
            rules = evolve(BYBIT_LINEAR_RULES, dated=(("BTCUSDT", DELIVERY_MS),))
            sim = simulator(rules, market=Market(7, START_MS, CONTRACTS))
            streams = watching(LINEAR, stream(LINEAR, "BTCPERP"), stream(LINEAR, "BTCUSDT-25DEC25"))
            session = LINEAR.session()
            async with sim.running(), connected(sim, path(rules)) as client:
                await client.say(session.subscribe(1, list(streams)).decode())
                decoded = session.decode(await collect(client, 130), streams, 7)
            for name, each in streams.items():
                truth = sim.truth(each.symbol, each.timeframe, START_MS, START_MS + 2 * MINUTE_MS)
                assert [c.values() for n, c in decoded.closed if n == name] == [c.values() for c in truth]
                rows = await candles(sim, LINEAR, each, START_MS, None, 2)
                assert [c.values() for c in rows] == [c.values() for c in truth]
            assert len(decoded.closed) == 4

        run(body)

    def test_the_spot_market_has_one_page(self) -> None:
        async def body() -> None:
            sim = simulator(evolve(BYBIT_SPOT_RULES, instruments_limit=1))
            body = await fetch(sim, SPOT, SPOT.instruments())
            assert "nextPageCursor" not in json.loads(body)["result"]
            found = SPOT.parse_instruments(body)
            assert found.next is None
            assert [i.symbol for i in found.instruments] == ["BTCUSDT", "ETHUSDT", "QUIETUSDT"]
            assert found.instruments[0] == Instrument("BTCUSDT", "BTC/USDT", trades=True)

        run(body)

    @MARKETS
    def test_tickers(self, rules: BybitRules, dialect: BybitCodec) -> None:
        async def body() -> None:
            sim = simulator(rules)
            await trio.sleep(90)
            (request,) = dialect.tickers()
            tickers = dialect.parse_tickers(await fetch(sim, dialect, request))
            assert [t.symbol for t in tickers] == ["BTCUSDT", "ETHUSDT", "QUIETUSDT"]
            for ticker in tickers:
                (day,) = await candles(sim, dialect, stream(dialect, ticker.symbol, "1d"), None, None, 1)
                hours = await candles(sim, dialect, stream(dialect, ticker.symbol, "1m"), None, None, 1000)
                assert ticker.last == day.close == hours[-1].close
                assert ticker.volume == sum(c.volume for c in hours)
                assert ticker.change is not None
                assert abs(ticker.change - (ticker.last / hours[0].open - 1)) < 1e-6

        run(body)

    @MARKETS
    def test_time(self, rules: BybitRules, dialect: BybitCodec) -> None:
        async def body() -> None:
            sim = simulator(rules)
            await trio.sleep(1.234)
            body = await fetch(sim, dialect, dialect.server_time())
            assert dialect.parse_server_time({}, body) == START_MS + 1_234

        run(body)


class TestLimits:
    def test_an_address_that_asks_too_often_is_banned(self) -> None:
        async def body() -> None:
            sim = simulator(evolve(BYBIT_SPOT_RULES, requests=20))
            for _ in range(2):
                for _ in range(20):
                    await fetch(sim, SPOT, SPOT.server_time())
                await trio.sleep(5)
            assert sim.counters.violations == {}
            for _ in range(20):
                await fetch(sim, SPOT, SPOT.server_time())
            reply = await get(sim, "/v5/market/time")
            assert (reply.status, reply.body) == (403, b"access too frequent")
            with pytest.raises(RateLimited) as caught:
                await fetch(sim, SPOT, SPOT.server_time())
            assert caught.value.retry_after_s == 600
            assert sim.counters.violations == {"request_rate": 1, "told_to_wait": 1}
            await trio.sleep(caught.value.retry_after_s)
            await fetch(sim, SPOT, SPOT.server_time())

        run(body)

    def test_what_the_codec_takes_for_the_limit_is_within_it(self) -> None:
        assert (SPOT.rules.rest_weight, SPOT.rules.rest_window_s) == (
            BYBIT_SPOT_RULES.requests,
            BYBIT_SPOT_RULES.requests_window_s,
        )
        assert SPOT.rules.connects == BYBIT_SPOT_RULES.connects
        assert SPOT.rules.max_names_per_request == BYBIT_SPOT_RULES.max_names_per_request
        for dialect, rules in ((SPOT, BYBIT_SPOT_RULES), (LINEAR, BYBIT_LINEAR_RULES)):
            assert dialect.rules.timeframes == rules.timeframes
            assert dialect.rules.venue == rules.name
            assert dialect.rules.gives - {"volume"} == rules.gives

    @pytest.mark.parametrize(("code", "status", "wait_s"), [(0, 200, 30.0), (429, 429, 30.0), (403, 403, 600.0)])
    def test_told_to_wait_for_no_reason(self, code: int, status: int, wait_s: float) -> None:
        async def body() -> None:
            sim = simulator(BYBIT_LINEAR_RULES)
            async with sim.running():
                sim.inject(Fault(FaultKind.REST_LIMIT, duration_s=1, delay_s=30, code=code))
                reply = await get(sim, "/v5/market/time")
                assert reply.status == status
                with pytest.raises(RateLimited) as caught:
                    LINEAR.check_answer(reply.status, headers(reply), reply.body)
                assert caught.value.retry_after_s == wait_s
                if status != 403:
                    assert reply.json["retCode"] == 10006
                    assert headers(reply)["x-bapi-limit-status"] == "0"
                assert sim.counters.violations == {}
                await trio.sleep(10)
                with pytest.raises(RateLimited):
                    await fetch(sim, LINEAR, LINEAR.server_time())
                assert sim.counters.violations == {"told_to_wait": 1}
                await trio.sleep(20)
                await fetch(sim, LINEAR, LINEAR.server_time())

        run(body)

    @pytest.mark.parametrize("code", [0, 500, 502, 503])
    def test_failures(self, code: int) -> None:
        async def body() -> None:
            sim = simulator(BYBIT_LINEAR_RULES)
            async with sim.running():
                sim.inject(Fault(FaultKind.REST_ERROR, duration_s=1, code=code))
                with pytest.raises(RequestFailed):
                    await fetch(sim, LINEAR, LINEAR.server_time())

        run(body)

    def test_half_an_answer_is_none(self) -> None:
        async def body() -> None:
            sim = simulator(BYBIT_LINEAR_RULES)
            request = LINEAR.klines(stream(LINEAR), None, None, 50)
            body = await fetch(sim, LINEAR, request)
            LINEAR.check_answer(200, {}, body[: len(body) // 2])
            with pytest.raises(MalformedMessage):
                LINEAR.parse_klines(stream(LINEAR), body[: len(body) // 2], sim.now_ms(), 7)

        run(body)
