"""Faults: each does what it says, and the rest goes on."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import h11
import pytest
import trio
import trio.testing
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from sim_client import START_MS, UPGRADE, Client, Refused, connected, get, now_ms, open_client, run, simulator

from candleactors.model import MINUTE_MS, Timeframe
from candleactors.sim import (
    SPOT_RULES,
    USDM_RULES,
    Fault,
    FaultKind,
    FaultScript,
    Simulator,
    chaos,
    rates,
)

KLINES = "/ws/btcusdt@kline_1m/ethusdt@kline_1m"


def closed(pushes: list[dict[str, Any]], symbol: str = "BTCUSDT") -> list[int]:
    """The minutes that were closed for `symbol`, in the order of arrival."""
    return [(m["k"]["t"] - START_MS) // MINUTE_MS for m in pushes if m["s"] == symbol and m["k"]["x"]]


@contextmanager
def suppress_refusal() -> Iterator[None]:
    try:
        yield
    except* Refused:
        pass


async def ended(client: Client) -> bool:
    """Whether the connection ends before anything else is received."""
    with trio.move_on_after(60):
        while await client.receive_text() is not None:
            pass
        return True
    return False


def test_drops_end_connections_without_a_close_frame() -> None:
    async def body() -> None:
        sim = simulator(SPOT_RULES)
        async with sim.running(), connected(sim, KLINES) as one, connected(sim, KLINES) as other:
            sim.inject(Fault(FaultKind.DROP, everyone=False))
            await trio.testing.wait_all_tasks_blocked()
            assert len(sim.connections) == 1
            sim.inject(Fault(FaultKind.DROP))
            assert await ended(one)
            assert await ended(other)
            assert one.close is other.close is None
        assert sim.counters.faults == {"drop": 2}

    run(body)


def test_a_reset_breaks_off_in_the_middle_of_a_frame() -> None:
    async def body() -> None:
        sim = simulator(SPOT_RULES)
        async with connected(sim) as client:
            sim.inject(Fault(FaultKind.RESET))
            data = b""
            while part := await client.stream.receive_some():
                data += part
            assert 2 < len(data) < 2 + data[1]
            assert client.close is None

    run(body)


def test_a_reset_does_not_wait_for_ever_for_a_client_that_does_not_read() -> None:
    async def body() -> None:
        sim = simulator(SPOT_RULES)
        ours, theirs = trio.testing.lockstep_stream_pair()  # a write blocks until it is read
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sim.serve_stream, theirs)
            await ours.send_all(UPGRADE % b"/ws")
            await trio.sleep(1)
            assert len(sim.connections) == 1
            sim.inject(Fault(FaultKind.RESET))
            await trio.sleep(SPOT_RULES.close_grace_s + 2)
            assert sim.connections == []

    run(body)


@pytest.mark.parametrize("code", [1001, 1008, 1011, 1012])
def test_closes_carry_their_code_and_reason(code: int) -> None:
    async def body() -> None:
        sim = simulator(SPOT_RULES)
        async with sim.running(), connected(sim, KLINES) as client:
            sim.inject(Fault(FaultKind.CLOSE, code=code, reason="why not"))
            assert await ended(client)
            assert client.close is not None
            assert (client.close.code, client.close.reason) == (code, "why not")

    run(body)


def test_a_client_that_ignores_a_close_frame_is_dropped_after_a_while() -> None:
    async def body() -> None:
        sim = simulator(SPOT_RULES)
        async with connected(sim) as client:
            sim.inject(Fault(FaultKind.CLOSE))
            started_s = trio.current_time()
            while await client.stream.receive_some():
                pass
            assert trio.current_time() - started_s == pytest.approx(SPOT_RULES.close_grace_s)
            await trio.testing.wait_all_tasks_blocked()
            assert sim.connections == []

    run(body)


def test_half_open_passes_nothing_in_either_direction_and_stays() -> None:
    async def body() -> None:
        sim = simulator(SPOT_RULES)
        async with sim.running(), connected(sim, KLINES) as client:
            await client.collect(25)
            sim.inject(Fault(FaultKind.HALF_OPEN))
            client.pings.clear()
            await client.say({"method": "LIST_SUBSCRIPTIONS", "id": 1})
            assert await client.collect(3600) == []
            assert client.pings == []
            assert client.close is None
            assert len(sim.connections) == 1
        assert sim.connections == []

    run(body)


def test_silence_loses_pushes_while_pings_and_replies_go_on_and_then_ends() -> None:
    async def body() -> None:
        sim = simulator(SPOT_RULES)
        async with sim.running(), connected(sim, KLINES) as client:
            await client.collect(9)
            sim.inject(Fault(FaultKind.SILENCE, duration_s=100))
            assert await client.collect(99) == []
            assert len(client.pings) == 5
            assert (await client.ask("LIST_SUBSCRIPTIONS"))["id"] == 1
            assert closed(await client.collect(140)) == [1, 2, 3]
        assert sim.counters.faults["silence"] > 20

    run(body)


def test_one_stream_can_be_silent_on_a_live_connection() -> None:
    async def body() -> None:
        sim = simulator(SPOT_RULES)
        async with sim.running(), connected(sim, KLINES) as client:
            sim.inject(Fault(FaultKind.STREAM_SILENCE, duration_s=100, stream="btcusdt@kline_1m"))
            assert {m["s"] for m in await client.collect(99)} == {"ETHUSDT"}
            assert {m["s"] for m in await client.collect(60)} == {"BTCUSDT", "ETHUSDT"}

    run(body)


def test_delays_keep_the_order_even_when_they_end() -> None:
    async def body() -> None:
        sim = simulator(SPOT_RULES)
        async with sim.running(), connected(sim, KLINES) as client:
            sim.inject(Fault(FaultKind.DELAY, duration_s=30, delay_s=5))
            found = []
            with trio.move_on_after(130):
                while (message := await client.receive()) is not None:
                    found.append((message["E"], now_ms() - message["E"]))
            assert found == sorted(found, key=lambda each: each[0])
            assert {late for at, late in found if at < START_MS + 30_000} == {5000}
            assert {late for at, late in found if at > START_MS + 36_000} == {0}

    run(body)


def test_duplicates_and_reordering() -> None:
    async def body() -> None:
        sim = simulator(SPOT_RULES)
        async with sim.running(), connected(sim, KLINES) as client:
            sim.inject(Fault(FaultKind.DUPLICATE, duration_s=130))
            texts = [json.dumps(m) for m in await client.collect(129)]
            assert set(Counter(texts).values()) == {2}
            await client.collect(10)
            sim.inject(Fault(FaultKind.REORDER, duration_s=130, delay_s=8))
            events = [m["E"] for m in await client.collect(150)]
            assert events != sorted(events)

    run(body)


def test_closes_come_late_or_never_while_the_next_candle_goes_on() -> None:
    async def body() -> None:
        sim = simulator(SPOT_RULES)
        async with sim.running(), connected(sim, KLINES) as client:
            await client.collect(30)
            sim.inject(Fault(FaultKind.LATE_CLOSE, duration_s=60, delay_s=25))
            pushes = await client.collect(60)
            at = [(m["k"]["t"], m["k"]["x"]) for m in pushes if m["s"] == "BTCUSDT"]
            assert at.index((START_MS, True)) > at.index((START_MS + MINUTE_MS, False))
            assert closed(pushes) == [0]
            sim.inject(Fault(FaultKind.LOST_CLOSE, duration_s=60))
            assert closed(await client.collect(60)) == []
            assert closed(await client.collect(60)) == [2]

    run(body)


def test_bad_frames_arrive_and_the_stream_goes_on() -> None:
    async def body() -> None:
        sim = simulator(SPOT_RULES)
        async with sim.running(), connected(sim, KLINES) as client:
            for kind in (FaultKind.MALFORMED, FaultKind.TRUNCATED):
                sim.inject(Fault(kind))
                with pytest.raises(json.JSONDecodeError):
                    await client.receive()
            sim.inject(Fault(FaultKind.HUGE, count=10_240))
            text = await client.receive_text()
            assert text is not None
            assert len(text) > 10 << 20
            assert await client.collect(10)
            sim.inject(Fault(FaultKind.INVALID_UTF8))
            data = await client.stream.receive_some()
            with pytest.raises(UnicodeDecodeError):
                bytes(data[2:]).decode()

    run(body)


def test_a_ping_storm_is_what_it_says_and_answering_it_breaks_the_message_rate() -> None:
    async def body() -> None:
        sim = simulator(SPOT_RULES)
        async with connected(sim) as client:
            sim.inject(Fault(FaultKind.PING_STORM, count=40))
            await client.collect(1)
            assert len(client.pings) == len(set(client.pings)) == 40
            assert client.close is not None
            assert client.close.reason == "Too many requests"

    run(body)


def test_shutdowns_are_announced_on_spot_in_raw_and_combined_form() -> None:
    async def body() -> None:
        sim = simulator(SPOT_RULES)
        async with connected(sim, "/ws") as raw, connected(sim, "/stream") as wrapped:
            started_s = trio.current_time()
            sim.inject(Fault(FaultKind.SHUTDOWN, delay_s=30))
            notice = {"e": "serverShutdown", "E": sim.now_ms()}
            assert await raw.receive() == notice
            assert await wrapped.receive() == {"stream": "!serverShutdown", "data": notice}
            assert await ended(raw)
            assert trio.current_time() - started_s == pytest.approx(30)
        quiet = simulator(USDM_RULES)
        async with connected(quiet, "/market/ws") as client:
            quiet.inject(Fault(FaultKind.SHUTDOWN, delay_s=30))
            assert await client.receive() is None
            assert client.close is not None

    run(body)


def test_control_messages_can_go_wrong_in_four_ways() -> None:
    async def body() -> None:
        sim = simulator(SPOT_RULES)
        name = "btcusdt@kline_1m"
        async with sim.running():
            async with connected(sim) as client:
                sim.inject(Fault(FaultKind.ACK_WITHOUT_DATA, duration_s=5))
                assert await client.ask("SUBSCRIBE", name) == {"result": None, "id": 1}
                assert await client.collect(300) == []
                assert (await client.ask("LIST_SUBSCRIPTIONS"))["result"] == [name]
            async with connected(sim) as client:
                sim.inject(Fault(FaultKind.LOST_ACK, duration_s=5))
                await client.say({"method": "SUBSCRIBE", "params": [name], "id": 1})
                assert {m.get("e") for m in await client.collect(60)} == {"kline"}
            async with connected(sim) as client:
                sim.inject(Fault(FaultKind.LATE_ACK, duration_s=5, delay_s=20))
                started_s = trio.current_time()
                assert await client.ask("SUBSCRIBE", name) == {"result": None, "id": 1}
                assert trio.current_time() - started_s == pytest.approx(20)
            async with connected(sim) as client:
                sim.inject(Fault(FaultKind.REFUSE_SUBSCRIBE, duration_s=5))
                assert (await client.ask("SUBSCRIBE", name))["error"]["code"] == 2
                assert (await client.ask("LIST_SUBSCRIPTIONS"))["result"] == []
        assert sim.counters.faults == dict.fromkeys(["ack-without-data", "lost-ack", "late-ack", "refuse-subscribe"], 1)

    run(body)


def test_new_connections_can_be_refused_left_hanging_or_rejected() -> None:
    async def body() -> None:
        sim = simulator(SPOT_RULES)
        async with trio.open_nursery() as nursery:

            async def connect() -> int | None:
                ours, theirs = trio.testing.memory_stream_pair()
                nursery.start_soon(sim.serve_stream, theirs)
                async with ours:
                    try:
                        with trio.fail_after(30):
                            await open_client(ours, "/ws")
                    except Refused as refused:
                        return refused.status
                    return 101

            for kind, code, status in (
                (FaultKind.REFUSE_CONNECT, 0, None),
                (FaultKind.REJECT_HANDSHAKE, 403, 403),
                (FaultKind.REJECT_HANDSHAKE, 429, 429),
                (FaultKind.REJECT_HANDSHAKE, 0, 503),
            ):
                sim.inject(Fault(kind, duration_s=1, code=code))
                assert await connect() == status
                await trio.sleep(1)
            sim.inject(Fault(FaultKind.HANG_HANDSHAKE, duration_s=1))
            with pytest.raises(trio.TooSlowError):
                await connect()
            assert await connect() == 101
        assert sim.counters.refused == 5

    run(body)


def test_a_handshake_can_end_in_the_middle_of_its_answer() -> None:
    async def answer(sim: Simulator) -> bytes:
        """What a client gets within a second of asking for a WebSocket."""
        ours, theirs = trio.testing.memory_stream_pair()
        data = b""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sim.serve_stream, theirs)
            await ours.send_all(UPGRADE % b"/ws")
            with trio.move_on_after(1) as scope:
                while part := await ours.receive_some():
                    data += part
            assert scope.cancelled_caught == data.endswith(b"\r\n\r\n")
            await ours.aclose()
        return data

    async def body() -> None:
        sim = simulator(SPOT_RULES)
        sim.inject(Fault(FaultKind.EARLY_EOF, duration_s=5))
        half = await answer(sim)
        assert (sim.counters.refused, sim.counters.connections, sim.counters.live) == (1, 0, 0)
        assert (await get(sim, "/api/v3/ping")).status == 200
        await trio.sleep(5)
        whole = await answer(sim)
        assert half.startswith(b"HTTP/1.1 101 ")
        assert half == whole[: len(whole) // 2]
        assert sim.counters.faults == {"early-eof": 1}
        assert sim.counters.connections == 1

    run(body)


def test_rest_can_fail_in_every_way() -> None:
    async def body() -> None:
        sim = simulator(SPOT_RULES)
        klines = "/api/v3/klines?symbol=BTCUSDT&interval=1m&limit=3"

        sim.inject(Fault(FaultKind.REST_LIMIT, duration_s=1, delay_s=7))
        reply = await get(sim, klines)
        assert (reply.status, reply.headers["retry-after"], reply.json["code"]) == (429, "7", -1003)
        await trio.sleep(2)
        assert (await get(sim, klines)).status == 429
        assert sim.counters.violations == {"told_to_wait": 1}
        await trio.sleep(5)
        assert (await get(sim, klines)).status == 200

        sim.inject(Fault(FaultKind.REST_LIMIT, duration_s=1, code=418, delay_s=90))
        assert (await get(sim, klines)).status == 418
        await trio.sleep(90)
        assert (await get(sim, klines)).status == 200

        sim.inject(Fault(FaultKind.REST_ERROR, duration_s=1, code=503))
        assert (await get(sim, klines)).status == 503
        await trio.sleep(1)

        sim.inject(Fault(FaultKind.REST_TRUNCATED, duration_s=1))
        with pytest.raises(ExceptionGroup) as caught:
            await get(sim, klines)
        assert caught.group_contains(h11.RemoteProtocolError)
        await trio.sleep(1)

        sim.inject(Fault(FaultKind.REST_TIMEOUT, duration_s=1))
        with trio.move_on_after(30) as scope:
            await get(sim, klines)
        assert scope.cancelled_caught

        await trio.sleep(10)
        fresh = (await get(sim, klines)).json
        sim.inject(Fault(FaultKind.REST_STALE, duration_s=1, delay_s=60))
        stale = (await get(sim, klines)).json
        assert stale[-1][0] == fresh[-2][0]
        assert stale[-1] != fresh[-2]
        assert stale[:-1] == fresh[-3:-2] + stale[1:-1] or stale[1] == fresh[0]

    run(body)


def test_a_correction_shows_over_rest_and_in_the_truth_but_is_never_pushed() -> None:
    async def body() -> None:
        sim = simulator(SPOT_RULES)
        async with sim.running(), connected(sim, "/ws/btcusdt@kline_1m") as client:
            await client.collect(150)
            row = f"/api/v3/klines?symbol=BTCUSDT&interval=1m&startTime={START_MS + MINUTE_MS}&limit=1"
            before, told = (await get(sim, row)).json, sim.truth("BTCUSDT", Timeframe("1m"), START_MS, sim.now_ms())
            sim.inject(Fault(FaultKind.CORRECTION, symbol="BTCUSDT", count=1))
            after, tells = (await get(sim, row)).json, sim.truth("BTCUSDT", Timeframe("1m"), START_MS, sim.now_ms())
            assert after[0][8] == before[0][8] + 1
            assert float(after[0][2]) == pytest.approx(float(before[0][2]) + 0.01)
            assert [a == b for a, b in zip(told, tells, strict=True)] == [True, False]
            assert closed(await client.collect(60)) == [2]
        assert sim.counters.faults == {"correction": 1}

    run(body)


def test_a_halt_stops_a_symbol_and_leaves_a_hole() -> None:
    async def body() -> None:
        sim = simulator(SPOT_RULES)
        async with sim.running(), connected(sim, KLINES) as client:
            pushes = await client.collect(90)
            sim.inject(Fault(FaultKind.HALT, symbol="BTCUSDT", duration_s=240))
            pushes += await client.collect(400)
        assert closed(pushes) == [0, 5, 6, 7]
        assert closed(pushes, "ETHUSDT") == list(range(8))
        rows = (await get(sim, f"/api/v3/klines?symbol=BTCUSDT&interval=1m&startTime={START_MS}")).json
        assert [(row[0] - START_MS) // MINUTE_MS for row in rows] == [0, 1, 5, 6, 7, 8]
        assert rows[1][6] < rows[1][0] + MINUTE_MS - 1

    run(body)


def test_scripts_play_on_time() -> None:
    async def body() -> None:
        script = FaultScript(
            faults=(
                Fault(FaultKind.DROP, at_s=20),
                Fault(FaultKind.CLOSE, at_s=8, everyone=False),
                Fault(FaultKind.SHUTDOWN, at_s=5),
            )
        )
        sim = simulator(SPOT_RULES, faults=script)
        async with sim.running(), connected(sim) as one, connected(sim) as other:
            ends = []

            async def wait(client: Client) -> None:
                while await client.receive() is not None:
                    pass
                ends.append(trio.current_time())

            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait, one)
                nursery.start_soon(wait, other)
            assert ends == [8, 10]
        assert sim.counters.faults == {"shutdown": 2, "close": 1}

    run(body)


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), rate=st.floats(10, 100))
def test_drawn_faults_come_in_order_at_their_rate_and_are_the_same_for_the_same_seed(seed: int, rate: float) -> None:
    script = FaultScript(
        faults=(Fault(FaultKind.DROP, at_s=50.0),),
        rates=rates({FaultKind.SILENCE: rate, FaultKind.DELAY: rate}),
        seed=seed,
        for_s=36_000,
    )
    faults = list(script.timeline())
    assert faults == list(script.timeline())
    assert [f.at_s for f in faults] == sorted(f.at_s for f in faults)
    counts = Counter(f.kind for f in faults)
    assert counts[FaultKind.DROP] == 1
    for kind in (FaultKind.SILENCE, FaultKind.DELAY):
        assert counts[kind] == pytest.approx(10 * rate, abs=6 * (10 * rate) ** 0.5)


@given(seed=st.integers(0, 10_000))
def test_chaos_shows_several_of_each_kind_in_twenty_seconds_and_every_one_is_recoverable(seed: int) -> None:
    early = [fault for fault in chaos(seed, for_s=30).timeline() if fault.at_s < 20]
    counts = Counter(fault.kind for fault in early)
    assert set(counts) == {FaultKind.DROP, FaultKind.SILENCE, FaultKind.CLOSE, FaultKind.DELAY}
    assert min(counts.values()) >= 2
    assert all(
        fault.duration_s <= 4 and fault.delay_s <= 5
        for fault in early
        if fault.kind is not FaultKind.DROP and fault.kind is not FaultKind.CLOSE
    )
    assert chaos(seed, for_s=9) == chaos(seed, for_s=9) != chaos(seed + 1, for_s=9)


def test_a_client_that_only_reconnects_survives_chaos() -> None:
    async def body() -> None:
        sim: Simulator = simulator(SPOT_RULES, faults=chaos(11))
        opens: Counter[int] = Counter()
        async with sim.running():
            with trio.move_on_after(600):
                while True:
                    async with connected(sim, "/ws/btcusdt@kline_1s") as client:
                        while (message := await client.receive()) is not None:
                            opens[message["k"]["t"]] += message["k"]["x"]
        truth = [c.open_time_ms for c in sim.truth("BTCUSDT", Timeframe("1s"), START_MS, sim.now_ms())]
        received = [at for at, count in opens.items() if count]
        assert 0.2 * len(truth) < len(received) < len(truth)
        assert set(received) <= set(truth)
        assert sim.counters.connections > 100
        assert sim.counters.violations == {}
        assert sim.counters.faults.keys() >= {"drop", "silence", "close", "delay"}

    run(body)


@pytest.mark.parametrize("kind", list(FaultKind))
def test_no_fault_needs_a_victim_and_none_breaks_the_simulator(kind: FaultKind) -> None:
    async def body() -> None:
        sim = simulator(evolve(SPOT_RULES, http_idle_s=5))
        async with sim.running():
            sim.inject(Fault(kind, duration_s=1, delay_s=1))
            with trio.move_on_after(30), suppress_refusal():
                async with connected(sim, KLINES) as client:
                    sim.inject(Fault(kind, duration_s=1, delay_s=1, everyone=False))
                    await trio.sleep(1)
                    await trio.aclose_forcefully(client.stream)
            await trio.sleep(100)
            async with connected(sim, KLINES) as client:
                assert await client.collect(10)

    run(body)
