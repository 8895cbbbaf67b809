"""The simulator on real sockets, slow clients, and the command that runs it."""

from __future__ import annotations

import re
import signal
import ssl
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial

import httpx
import pytest
import trio
import trio.testing
import trio_websocket
import trustme
from attrs import evolve
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from sim_client import START_MS, SYMBOLS, fetch, get, now_ms, open_client, run, simulator

from candleactors.cli.sim import sim as command
from candleactors.errors import ConfigError
from candleactors.sim import SPOT_RULES, USDM_RULES, BinanceRules, Fault, FaultKind, Market, Simulator
from candleactors.sim.sockets import close


def on_real_time(rules: BinanceRules) -> Simulator:
    """A simulator for real sockets, whose clock starts now at `START_MS`."""
    started_s = time.monotonic()
    return Simulator(Market(7, START_MS, SYMBOLS), rules, lambda: START_MS + int((time.monotonic() - started_s) * 1000))


async def drain(websocket: trio_websocket.WebSocketConnection) -> None:
    while True:
        await websocket.get_message()


def test_one_port_serves_rest_and_websockets() -> None:
    async def body() -> None:
        sim = on_real_time(SPOT_RULES)
        async with sim.running(), trio.open_nursery() as nursery:
            host, port = await nursery.start(sim.serve_tcp, "127.0.0.1", 0)
            stream = await trio.open_tcp_stream(host, port)
            assert (await fetch(stream, "/api/v3/time")).status == 200
            assert (await fetch(stream, "/api/v3/ping")).status == 200
            await stream.aclose()
            client = await open_client(await trio.open_tcp_stream(host, port), "/ws/btcusdt@kline_1s")
            pushes = [await client.receive() for _ in range(2)]
            assert [m["k"]["x"] for m in pushes] == [True, True]
            await client.stream.aclose()
            nursery.cancel_scope.cancel()

    trio.run(body)


def test_a_websocket_client_nobody_here_wrote() -> None:
    async def body() -> None:
        sim = on_real_time(USDM_RULES)
        async with sim.running(), trio.open_nursery() as nursery:
            host, port = await nursery.start(sim.serve_tcp)
            stream = await trio.open_tcp_stream(host, port)
            target = "/market/ws/btcusdt@kline_1m"
            websocket = await trio_websocket.wrap_client_stream(nursery, stream, host, target)
            assert '"s":"BTCUSDT"' in await websocket.get_message()
            sim.inject(Fault(FaultKind.CLOSE, code=1012))
            with pytest.raises(trio_websocket.ConnectionClosed, match="1012"):
                await drain(websocket)
            await stream.aclose()
            nursery.cancel_scope.cancel()

    trio.run(body)


def test_tls() -> None:
    async def body() -> None:
        authority = trustme.CA()
        server, client = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
        authority.issue_cert("localhost").configure_cert(server)
        authority.configure_trust(client)
        sim = on_real_time(SPOT_RULES)
        async with sim.running(), trio.open_nursery() as nursery:
            _, port = await nursery.start(partial(sim.serve_tcp, ssl_context=server))
            async with httpx.AsyncClient(verify=client) as http:
                rows = (await http.get(f"https://localhost:{port}/api/v3/klines?symbol=BTCUSDT&interval=1m")).json()
            assert len(rows) == 361
            stream = await trio.open_ssl_over_tcp_stream("localhost", port, ssl_context=client)
            connection = await open_client(stream, "/ws/btcusdt@kline_1s")
            assert (await connection.receive())["s"] == "BTCUSDT"
            sim.inject(Fault(FaultKind.CLOSE, code=1012))
            while await connection.receive() is not None:
                pass
            assert connection.ending in ((1012, None), (1012, ""))
            await stream.aclose()
            nursery.cancel_scope.cancel()

    trio.run(body)


@pytest.mark.parametrize("kind", [FaultKind.RESET, FaultKind.DROP])
def test_resets_and_drops_reach_a_tcp_client(kind: FaultKind) -> None:
    async def body() -> None:
        sim = on_real_time(SPOT_RULES)
        async with trio.open_nursery() as nursery:
            host, port = await nursery.start(sim.serve_tcp, "127.0.0.1", 0)
            client = await open_client(await trio.open_tcp_stream(host, port), "/ws")
            sim.inject(Fault(kind))
            assert await client.receive_text() is None
            assert client.close is None
            await client.stream.aclose()
            nursery.cancel_scope.cancel()

    trio.run(body)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.0.2.1", "example.org"])
def test_only_loopback_is_listened_on_unless_asked(host: str) -> None:
    async def body() -> None:
        with pytest.raises(ConfigError, match="loopback"):
            await simulator(SPOT_RULES).serve_tcp(host, 0)

    trio.run(body)


def test_other_hosts_can_be_asked_for() -> None:
    async def body() -> None:
        sim = simulator(SPOT_RULES)
        async with trio.open_nursery() as nursery:
            host, port = await nursery.start(partial(sim.serve_tcp, "0.0.0.0", allow_remote=True))
            assert (host, port > 0) == ("0.0.0.0", True)
            nursery.cancel_scope.cancel()

    trio.run(body)


def test_a_client_that_stops_reading_is_dropped_and_hurts_nobody_else() -> None:
    async def body() -> None:
        sim = Simulator(
            Market(7, START_MS, SYMBOLS), evolve(USDM_RULES, send_buffer_bytes=20_000, pong_timeout_s=9e9), now_ms
        )
        target = "/market/ws/btcusdt@kline_1m"
        async with sim.running(), trio.open_nursery() as nursery:
            slow_side, theirs = trio.testing.lockstep_stream_pair()
            nursery.start_soon(sim.serve_stream, theirs)
            await open_client(slow_side, target)
            ours, theirs = trio.testing.lockstep_stream_pair()
            nursery.start_soon(sim.serve_stream, theirs)
            reader = await open_client(ours, target)
            pushes = await reader.collect(120)
            assert len(pushes) > 100
            assert sim.counters.slow_clients == 1
            assert len(sim.connections) == 1
            nursery.cancel_scope.cancel()

    run(body)


def test_a_client_that_stops_reading_but_fills_no_buffer_fails_its_pongs() -> None:
    async def body() -> None:
        sim = simulator(SPOT_RULES)
        async with sim.running(), trio.open_nursery() as nursery:
            ours, theirs = trio.testing.lockstep_stream_pair()
            nursery.start_soon(sim.serve_stream, theirs)
            await open_client(ours, "/ws/quietusdt@kline_1m")
            await trio.sleep(SPOT_RULES.ping_s + SPOT_RULES.pong_timeout_s + SPOT_RULES.close_grace_s + 1)
            assert sim.connections == []
            assert sim.counters.violations == {"pong_timeout": 1}

    run(body)


def test_the_command_teaches_and_refuses() -> None:
    runner = CliRunner()
    shown = runner.invoke(command, ["--help"])
    assert shown.exit_code == 0
    assert "/market/ws" in shown.output
    refused = runner.invoke(command, ["--host", "0.0.0.0"])
    assert refused.exit_code == 2
    assert "--allow-remote" in refused.output


def test_the_command_serves_until_interrupted() -> None:
    code = "from candleactors.cli.sim import sim; sim()"
    arguments = [sys.executable, "-c", code, "--port", "0", "--chaos", "--symbols", "3"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(4)]
        port = re.fullmatch(r"binance-usdm rest http://127\.0\.0\.1:(\d+)\n", lines[3])
        assert port is not None, lines
        assert lines[0].startswith("binance-spot websocket ws://127.0.0.1:")
        info = httpx.get(f"http://127.0.0.1:{port[1]}/fapi/v1/exchangeInfo").json()
        assert len(info["symbols"]) == 3
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
        assert errors == "stopped\n"
        assert process.returncode == 0


@settings(deadline=None, max_examples=150)
@given(
    target=st.sampled_from([None, "/ws", "/ws/btcusdt@kline_1s", "/stream?streams=btcusdt@kline_1m"]),
    chunks=st.lists(st.binary(max_size=60) | st.sampled_from([b"\x81\x80abcd", b"\x89\x85abcdefghi", b"\x88\x80abcd"])),
)
def test_no_bytes_break_the_simulator(target: str | None, chunks: list[bytes]) -> None:
    async def body() -> None:
        sim = simulator(SPOT_RULES)
        async with sim.running(), trio.open_nursery() as nursery:
            ours, theirs = trio.testing.memory_stream_pair()
            nursery.start_soon(sim.serve_stream, theirs)
            if target is not None:
                await open_client(ours, target)
            for chunk in chunks:
                with suppress(trio.BrokenResourceError):
                    await ours.send_all(chunk)
                await trio.sleep(0.5)
            await trio.aclose_forcefully(ours)
            await trio.testing.wait_all_tasks_blocked()
            assert sim.connections == []
            assert (await get(sim, "/api/v3/ping")).status == 200

    run(body)


@pytest.mark.parametrize(
    "head", [b"", b"Sec-WebSocket-Version: 13\r\n", b"Sec-WebSocket-Key: AA==\r\nSec-WebSocket-Version: 8\r\n"]
)
def test_an_improper_upgrade_is_a_bad_request(head: bytes) -> None:
    async def body() -> None:
        sim = simulator(SPOT_RULES)
        async with trio.open_nursery() as nursery:
            ours, theirs = trio.testing.memory_stream_pair()
            nursery.start_soon(sim.serve_stream, theirs)
            await ours.send_all(
                b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" + head + b"\r\n"
            )
            assert bytes(await ours.receive_some()).startswith(b"HTTP/1.1 400")
            assert (sim.counters.connections, sim.counters.refused) == (0, 1)
            await ours.aclose()

    run(body)


def test_clients_that_reset_do_not_end_the_server() -> None:
    async def body() -> None:
        sim = on_real_time(SPOT_RULES)
        async with sim.running(), trio.open_nursery() as nursery:
            host, port = await nursery.start(sim.serve_tcp)
            for kind in (None, FaultKind.HANG_HANDSHAKE, FaultKind.REST_TIMEOUT):
                for target in (b"/ws/btcusdt@kline_1s", b"/api/v3/time"):
                    if kind is not None:
                        sim.inject(Fault(kind, duration_s=0.2))
                    stream = await trio.open_tcp_stream(host, port)
                    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\n" if target.startswith(b"/ws") else b""
                    await stream.send_all(b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n" + upgrade + b"\r\n")
                    await trio.sleep(0.02)
                    await close(stream, reset=True)
            await trio.sleep(0.3)
            stream = await trio.open_tcp_stream(host, port)
            assert (await fetch(stream, "/api/v3/ping")).status == 200
            await stream.aclose()
            nursery.cancel_scope.cancel()

    trio.run(body)
