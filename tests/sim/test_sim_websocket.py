"""WebSockets of the simulator: what is pushed, when, to whom, and how connections end."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import pytest
import trio
from attrs import evolve
from sim_client import START_MS, SYMBOLS, Client, Refused, connected, get, run, simulator
from wsproto.events import Ping, Pong

from candleactors.model import HOUR_MS, MINUTE_MS, SECOND_MS, Timeframe
from candleactors.sim import ASTER_RULES, SPOT_RULES, USDM_RULES, BinanceRules, Market, Outage, Simulator

VENUES = pytest.mark.parametrize(
    ("rules", "route"),
    [(SPOT_RULES, ""), (USDM_RULES, "/market"), (ASTER_RULES, "")],
    ids=["binance-spot", "binance-usdm", "aster"],
)


def values(kline: dict[str, Any]) -> tuple[Decimal | int, ...]:
    """What a pushed kline says, in the order of `TruthCandle.values`."""
    found = [Decimal(kline[key]) for key in "ohlcvq"]
    return (*found, kline["n"], Decimal(kline["V"]), Decimal(kline["Q"]))


async def subscribed(sim: Simulator, client: Client, *names: str) -> None:
    assert await client.ask("SUBSCRIBE", *names) == {"result": None, "id": 1}


@VENUES
def test_closed_pushes_rest_and_truth_agree_and_each_close_comes_once(rules: BinanceRules, route: str) -> None:
    async def body() -> None:
        sim = simulator(rules)
        names = {f"{s}@kline_{i}": (s.upper() + "", i) for s in ("btcusdt", "quietusdt") for i in ("1m", "3m", "1h")}
        async with sim.running(), connected(sim, f"{route}/stream?streams={'/'.join(names)}") as client:
            pushes = await client.collect(3700)
        for name, (symbol, interval) in names.items():
            mine = [m["data"] for m in pushes if m["stream"] == name]
            assert all(m["e"] == "kline" and m["s"] == m["k"]["s"] == symbol for m in mine)
            assert all(m["k"]["i"] == interval and m["k"]["B"] == "0" for m in mine)
            closed = [m for m in mine if m["k"]["x"]]
            truth = sim.truth(symbol, Timeframe(interval), START_MS, sim.now_ms())
            assert [values(m["k"]) for m in closed] == [c.values() for c in truth]
            assert [m["k"]["t"] for m in closed] == [c.open_time_ms for c in truth]
            assert all(m["E"] == m["k"]["T"] + 1 + rules.close_lag_ms for m in closed)
            rows = (await get(sim, f"{rules.api}/klines?symbol={symbol}&interval={interval}&startTime={START_MS}")).json
            assert [row[:6] for row in rows if row[6] < sim.now_ms()] == [
                [m["k"][key] for key in "tohlcv"] for m in closed
            ]
            flat = [m["k"] for m in closed if not m["k"]["n"]]
            assert all((k["f"], k["L"], float(k["v"]), k["o"]) == (-1, -1, 0, k["c"]) for k in flat)
            opens = [m["k"]["t"] for m in mine]
            assert opens == sorted(opens)
        assert any(not m["data"]["k"]["n"] for m in pushes)
        assert sim.counters.violations == {}

    run(body)


@VENUES
def test_running_candles_come_on_the_cadence_and_only_when_they_changed(rules: BinanceRules, route: str) -> None:
    async def body() -> None:
        sim = simulator(rules)
        async with sim.running(), connected(sim, f"{route}/ws/btcusdt@kline_1h/quietusdt@kline_1h") as client:
            pushes = await client.collect(590)
        counts = Counter(m["s"] for m in pushes)
        assert 0 < counts["QUIETUSDT"] < 10 < counts["BTCUSDT"]
        assert all(m["E"] % rules.push_ms == 0 for m in pushes)
        for symbol in counts:
            seen = [m["k"]["n"] for m in pushes if m["s"] == symbol]
            assert seen == sorted(set(seen))
            for message in (m for m in pushes if m["s"] == symbol):
                open_ms, event_ms = message["k"]["t"], message["E"]
                trades = sim.market.tape(symbol).trades(open_ms, event_ms + 1)
                assert (message["k"]["n"], message["k"]["f"], message["k"]["L"]) == (
                    len(trades),
                    trades[0].id,
                    trades[-1].id,
                )

    run(body)


def test_seconds_are_pushed_every_second_and_flat_ones_are_closed_too() -> None:
    async def body() -> None:
        sim = simulator(SPOT_RULES)
        async with sim.running(), connected(sim, "/ws/ethusdt@kline_1s") as client:
            pushes = await client.collect(60.5)
        closed = [m["k"] for m in pushes if m["k"]["x"]]
        assert [k["t"] for k in closed] == [START_MS + i * SECOND_MS for i in range(60)]
        truth = sim.truth("ETHUSDT", Timeframe("1s"), START_MS, sim.now_ms())
        assert [values(k) for k in closed] == [c.values() for c in truth]
        assert any(k["n"] == 0 for k in closed)

    run(body)


def test_the_exact_shape_of_a_push_raw_and_combined() -> None:
    async def body() -> None:
        sim = simulator(SPOT_RULES)
        target = "btcusdt@kline_1m"
        async with (
            sim.running(),
            connected(sim, f"/ws/{target}") as raw,
            connected(sim, f"/stream?streams={target}") as wrapped,
        ):
            one, other = await raw.receive_text(), await wrapped.receive_text()
        assert one is not None
        assert other == f'{{"stream":"btcusdt@kline_1m","data":{one}}}'
        message = json.loads(one)
        assert list(message) == ["e", "E", "s", "k"]
        assert list(message["k"]) == list("tTsifLochlvnxqVQB")
        assert message["k"]["T"] == message["k"]["t"] + MINUTE_MS - 1

    run(body)


def test_properties_switch_the_wrapper_on_a_live_connection() -> None:
    async def body() -> None:
        sim = simulator(SPOT_RULES)
        async with sim.running(), connected(sim, "/ws/btcusdt@kline_1m") as client:
            assert "e" in await client.receive()
            assert await client.ask("SET_PROPERTY", "combined", True) == {"result": None, "id": 1}
            assert "stream" in await client.receive()
            assert await client.ask("GET_PROPERTY", "combined") == {"result": True, "id": 1}

    run(body)


def test_subscribing_and_unsubscribing_take_effect() -> None:
    async def body() -> None:
        sim = simulator(SPOT_RULES)
        async with sim.running(), connected(sim) as client:
            assert await client.collect(30) == []
            await subscribed(sim, client, "btcusdt@kline_1m", "ethusdt@kline_1m", "btcusdt@kline_1m")
            assert {m["s"] for m in await client.collect(120)} == {"BTCUSDT", "ETHUSDT"}
            assert (await client.ask("UNSUBSCRIBE", "btcusdt@kline_1m"))["result"] is None
            assert {m["s"] for m in await client.collect(120)} == {"ETHUSDT"}
            assert (await client.ask("LIST_SUBSCRIPTIONS"))["result"] == ["ethusdt@kline_1m"]
            assert (await client.ask("UNSUBSCRIBE", "ethusdt@kline_1m"))["result"] is None
            assert await client.collect(120) == []

    run(body)


def test_unknown_symbols_and_streams_not_simulated_are_acknowledged_and_silent() -> None:
    async def body() -> None:
        sim = simulator(SPOT_RULES)
        async with sim.running(), connected(sim) as client:
            names = ["nopeusdt@kline_1m", "BTCUSDT@kline_1m", "btcusdt@depth5@100ms", "!miniTicker@arr"]
            await subscribed(sim, client, *names)
            assert await client.collect(600) == []
            assert (await client.ask("LIST_SUBSCRIPTIONS"))["result"] == names
            error = await client.ask("SUBSCRIBE", "btcusdt@kline_7m", id=9)
            assert error == {"error": {"code": 2, "msg": "Invalid request: invalid stream"}, "id": 9}
            await subscribed(sim, client, "btcusdt@kline_1m")
            assert await client.collect(10)

    run(body)


@pytest.mark.parametrize("route", ["", "/public", "/private"])
def test_futures_klines_on_the_wrong_route_are_acknowledged_and_never_come(route: str) -> None:
    async def body() -> None:
        sim = simulator(USDM_RULES)
        async with sim.running(), connected(sim, f"{route}/ws/ethusdt@kline_1m") as client:
            await subscribed(sim, client, "btcusdt@kline_1m")
            assert await client.collect(300) == []
            assert (await client.ask("LIST_SUBSCRIPTIONS"))["result"] == ["ethusdt@kline_1m", "btcusdt@kline_1m"]
        async with sim.running(), connected(sim, f"{route}/stream?streams=btcusdt@kline_1m") as client:
            assert await client.collect(300) == []

    run(body)


def test_symbols_that_are_not_ascii_come_percent_encoded_in_urls_and_plain_in_messages() -> None:
    async def body() -> None:
        sim = simulator(SPOT_RULES)
        name = f"{SYMBOLS[-1].symbol.lower()}@kline_1m"
        for target in (f"/ws/{quote(name)}", f"/stream?streams=btcusdt@kline_1m/{quote(name)}"):
            async with sim.running(), connected(sim, target) as client:
                pushes = [m.get("data", m) for m in await client.collect(120)]
            assert SYMBOLS[-1].symbol in {m["s"] for m in pushes}
        async with sim.running(), connected(sim) as client:
            await subscribed(sim, client, name)
            assert {m["s"] for m in await client.collect(120)} == {SYMBOLS[-1].symbol}

    run(body)


@pytest.mark.parametrize("target", ["/", "/nope", "/wss", "/market/ws", "/api/v3/time"])
def test_other_paths_are_not_found(target: str) -> None:
    async def body() -> None:
        sim = simulator(SPOT_RULES)
        with pytest.raises(ExceptionGroup) as caught:
            async with connected(sim, target):
                pytest.fail("accepted")
        assert caught.group_contains(Refused, match="404")
        assert sim.counters.refused == 1

    run(body)


def test_a_request_target_that_is_too_long_is_refused() -> None:
    async def body() -> None:
        with pytest.raises(ExceptionGroup) as caught:
            async with connected(simulator(SPOT_RULES), "/stream?streams=" + "btcusdt@kline_1m/" * 500):
                pytest.fail("accepted")
        assert caught.group_contains(Refused, match="414")

    run(body)


@VENUES
def test_pings_have_a_payload_come_on_time_and_a_client_that_answers_lives(rules: BinanceRules, route: str) -> None:
    async def body() -> None:
        sim = simulator(rules)
        async with connected(sim, f"{route}/ws") as client:
            await client.collect(rules.ping_s * 50 + 1)
            assert len(client.pings) == len(set(client.pings)) == 50
            assert all(client.pings)
            assert client.close is None

    run(body)


@VENUES
@pytest.mark.parametrize("unsolicited", [False, True])
def test_a_client_that_answers_no_pings_is_closed_with_1008(rules: BinanceRules, route: str, unsolicited: bool) -> None:
    async def body() -> None:
        sim = simulator(rules)
        async with connected(sim, f"{route}/ws") as client:
            client.answers_pings = False
            while client.close is None:
                await client.collect(5)
                if unsolicited and client.close is None:
                    await client.send(Pong(b""))
            assert (client.close.code, client.close.reason) == (1008, "Pong timeout")
            assert trio.current_time() == pytest.approx(rules.ping_s + rules.pong_timeout_s, abs=5)
        assert sim.counters.violations == {"pong_timeout": 1}

    run(body)


@VENUES
@pytest.mark.parametrize("kind", ["message", "ping", "pong"])
def test_too_many_messages_in_a_second_are_answered_with_1008(rules: BinanceRules, route: str, kind: str) -> None:
    async def body() -> None:
        sim = simulator(rules)
        async with connected(sim, f"{route}/ws") as client:

            async def send() -> None:
                if kind == "message":
                    await client.say({"method": "LIST_SUBSCRIPTIONS", "id": 1})
                else:
                    await client.send(Ping(b"x") if kind == "ping" else Pong(b"x"))

            for _ in range(3):
                for _ in range(rules.messages_per_s):
                    await send()
                await client.collect(1)
            assert client.close is None
            for _ in range(rules.messages_per_s + 1):
                await send()
            await client.collect(1)
            assert client.ending == (1008, "Too many requests")
        assert sim.counters.violations == {"message_rate": 1}

    run(body)


def test_more_streams_than_the_ceiling_end_the_connection() -> None:
    async def body() -> None:
        sim = simulator(evolve(SPOT_RULES, max_streams=3))
        async with connected(sim) as client:
            await subscribed(sim, client, "a@trade", "b@trade", "c@trade")
            await subscribed(sim, client, "c@trade")
            await client.say({"method": "SUBSCRIBE", "params": ["d@trade"], "id": 2})
            await client.collect(1)
            assert client.close is not None
            assert client.close.code == 1008
        assert sim.counters.violations == {"streams": 1}

    run(body)


def test_invalid_json_is_answered_on_spot_and_ends_the_connection_on_futures() -> None:
    async def body() -> None:
        expected = {"error": {"code": 3, "msg": "Invalid JSON: expected value at line 1 column 1"}}
        for rules, route in ((SPOT_RULES, ""), (USDM_RULES, "/market")):
            async with connected(simulator(rules), f"{route}/ws") as client:
                await client.say("nonsense")
                assert await client.receive() == expected
                await client.collect(5)
                assert (client.close is not None) == rules.futures

    run(body)


def test_connections_end_after_a_day_with_and_without_a_close_frame() -> None:
    async def body() -> None:
        for code in (1001, None):
            sim = simulator(evolve(SPOT_RULES, lifetime_close=code))
            started_s = trio.current_time()
            async with connected(sim) as client:
                assert await client.receive() is None
                assert trio.current_time() - started_s == pytest.approx(24 * 3600)
                assert (client.close.code if client.close else None) == code

    run(body)


def test_more_connects_than_allowed_are_rejected_until_the_window_has_passed() -> None:
    async def body() -> None:
        sim = simulator(evolve(SPOT_RULES, connects=2))
        for _ in range(2):
            async with connected(sim):
                pass
        with pytest.raises(ExceptionGroup) as caught:
            async with connected(sim):
                pytest.fail("accepted")
        assert caught.group_contains(Refused, match="429")
        await trio.sleep(300)
        async with connected(sim):
            pass
        assert (sim.counters.connections, sim.counters.refused) == (3, 1)
        assert sim.counters.violations == {"connect_rate": 1}

    run(body)


def test_an_outage_leaves_no_closing_push_and_pushes_resume_after_it() -> None:
    async def body() -> None:
        outage = Outage(START_MS + 130_000, START_MS + 300_000)
        sim = simulator(SPOT_RULES, market=Market(7, START_MS, SYMBOLS, outages=[outage]))
        async with sim.running(), connected(sim, "/ws/btcusdt@kline_1m") as client:
            pushes = await client.collect(421)
        assert [(m["k"]["t"] - START_MS) // MINUTE_MS for m in pushes if m["k"]["x"]] == [0, 1, 5, 6]
        assert not [m for m in pushes if START_MS + 132_000 < m["E"] < START_MS + 300_000]

    run(body)


def test_the_clock_may_be_set_forward_and_back_without_a_close_lost_or_doubled() -> None:
    async def body() -> None:
        step_ms = 0

        def now_ms() -> int:
            return START_MS + step_ms + round(trio.current_time() * 1000)

        sim = Simulator(Market(7, START_MS, SYMBOLS), SPOT_RULES, now_ms)
        async with sim.running(), connected(sim, "/ws/btcusdt@kline_1m") as client:
            pushes = await client.collect(90)
            step_ms = 3 * MINUTE_MS
            pushes += await client.collect(90)
            step_ms = 0
            pushes += await client.collect(6 * 60)
        opens = [(m["k"]["t"] - START_MS) // MINUTE_MS for m in pushes if m["k"]["x"]]
        assert opens == list(range(len(opens)))
        assert len(opens) >= 8

    run(body)


def test_two_clients_get_the_same_and_leave_nothing_behind() -> None:
    async def body() -> None:
        sim = simulator(SPOT_RULES)
        async with sim.running():
            async with connected(sim, "/ws/btcusdt@kline_1m") as one, connected(sim, "/ws/btcusdt@kline_1m") as other:
                assert len(sim.connections) == sim.counters.live == 2
                assert [await one.receive() for _ in range(9)] == [await other.receive() for _ in range(9)]
            assert sim.connections == []
            assert sim.counters.live == 0
            pushed = sim.counters.pushed
            await trio.sleep(HOUR_MS / 1000)
            assert sim.counters.pushed == pushed

    run(body)
