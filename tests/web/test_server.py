"""The server on real sockets: it starts, ends, and survives clients of every kind."""

from __future__ import annotations

import json
import resource
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from time import time
from urllib.parse import urlsplit

import pytest
import trio
from attrs import field, frozen

from candleactors.errors import ConfigError
from candleactors.feed import Feed, open_feed
from candleactors.model import HOUR_MS, Timeframe
from candleactors.settings import RepairSettings, Settings, VenueSettings, WebSettings
from candleactors.sim import RULES
from candleactors.sim.market import Market
from candleactors.sim.server import Simulator
from candleactors.stores.sqlite import open_sqlite
from candleactors.transport.network import MemoryNetwork
from candleactors.web.server import WebServer

SPOT = "binance-spot"
STREAM = f"stream={SPOT}:BTCUSDT:1s"


@frozen
class Served:
    """A feed that is served, and its clients, which are closed in the end."""

    feed: Feed
    server: WebServer
    clients: list[trio.SocketStream] = field(factory=list)

    async def connect(self) -> trio.SocketStream:
        """Return a new connection."""
        assert self.server.address is not None
        parts = urlsplit(self.server.address)
        assert parts.hostname is not None
        assert parts.port is not None
        stream = await trio.open_tcp_stream(parts.hostname, parts.port)
        self.clients.append(stream)
        return stream

    async def ask(self, target: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body of one request on a connection of its own."""
        async with await self.connect() as stream:
            await stream.send_all(request(target, connection="close", **headers))
            answer = b"".join([chunk async for chunk in stream])
        head, _, body = answer.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        return int(first.split()[1]), dict(line.lower().split(": ", 1) for line in lines), body


@asynccontextmanager
async def served(path: Path, web: WebSettings | None = None) -> AsyncIterator[Served]:
    """Serve a feed that lives among simulators without sockets, in real time."""
    server = WebServer(web or WebSettings(port=0))
    venue = VenueSettings(
        symbols=("BTCUSDT",), timeframes=(Timeframe("1s"),), websocket_url="ws://sim:80", rest_url="http://sim:80"
    )
    settings = Settings(venues={SPOT: venue}, repair=RepairSettings(history=5))
    now_ms = int(time() * 1000)
    market = Market(seed=7, start_ms=now_ms, history_ms=HOUR_MS)
    async with trio.open_nursery() as nursery:
        simulator = Simulator(market, RULES[SPOT], now_ms=lambda: int(time() * 1000), seed=1)
        await nursery.start(simulator.run)
        network = MemoryNetwork(nursery)
        network.listen(simulator.serve_stream, "sim", 80)
        async with (
            open_sqlite(path / "candles.sqlite") as store,
            open_feed(settings, services=[server], store=store, network=network, rng=Random(1)) as feed,
        ):
            yield (it := Served(feed, server))
        for client in it.clients:
            await client.aclose()
        nursery.cancel_scope.cancel()


def request(target: str, **headers: str) -> bytes:
    lines = [f"GET {target} HTTP/1.1", "Host: localhost", *(f"{name}: {text}" for name, text in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


async def until(stream: trio.SocketStream, wanted: bytes) -> bytes:
    """Read until `wanted` has come."""
    seen = b""
    while wanted not in seen:
        chunk = await stream.receive_some()
        assert chunk, f"the connection ended after {seen[-200:]!r}"
        seen += chunk
    return seen


async def test_it_serves_and_ends_with_the_feed(tmp_path: Path) -> None:
    async with served(tmp_path) as it:
        status, headers, body = await it.ask("/healthz")
        assert (status, json.loads(body)["status"]) == (200, "ok")
        assert "server" not in headers
        assert any(actor.id == "services" for actor in it.feed.status().actors)
        live = await it.connect()
        await live.send_all(request(f"/api/candles/stream?{STREAM}"))
        await until(live, b'"closed":true')
        idle = await it.connect()
        it.clients.clear()  # these see the end
    async with live, idle:
        with trio.fail_after(5):
            rest = b"".join([chunk async for chunk in live])
            assert rest.endswith(b"0\r\n\r\n"), "the end of the feed is an orderly end of the answer"
            assert await idle.receive_some() == b""
    with pytest.raises(OSError, match=r"all attempts to connect|refused"):
        await it.connect()


async def test_a_port_in_use_is_a_mistake_of_the_configuration(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(BaseExceptionGroup) as caught:
            async with served(tmp_path, WebSettings(port=port)):
                pass
        (leaf,) = _leaves(caught.value)
        assert isinstance(leaf, ConfigError)
        assert str(leaf) == f"web.port: 127.0.0.1:{port} cannot be listened on: Address already in use"


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]


async def test_requests_that_trickle_or_never_end_are_ended(tmp_path: Path) -> None:
    async with served(tmp_path, WebSettings(port=0, request_timeout_s=1.0)) as it:
        silent, trickling, unfinished = [await it.connect() for _ in range(3)]
        body = b"PUT /api/streams HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60\r\n\r\n{"
        await unfinished.send_all(body)
        await trickling.send_all(b"GET /healthz HTTP/1.1\r\nHost: loc")

        async def trickle() -> None:
            for _ in range(200):
                try:
                    await trickling.send_all(b"a")
                except trio.BrokenResourceError:
                    return
                await trio.sleep(0.1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(trickle)
            with trio.fail_after(8):
                assert await silent.receive_some() == b""
                assert b" 408 " in (await until(unfinished, b"\r\n\r\n"))
                while await trickling.receive_some():
                    pass
            nursery.cancel_scope.cancel()
        assert (await it.ask("/healthz"))[0] == 200


async def test_a_head_that_is_too_long_is_refused(tmp_path: Path) -> None:
    async with served(tmp_path) as it:
        status, _, _ = await it.ask("/healthz", padding="x" * 40_000)
        assert status in (400, 431)
        assert (await it.ask("/healthz"))[0] == 200


@pytest.mark.parametrize(
    "bytes_",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS where there is none
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"NONSENSE\r\n\r\n",
        b"\x00" * 100,
        b"GET /\xff\xfe?\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET http://[::1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
)
async def test_bytes_that_are_no_request_do_no_harm(bytes_: bytes, tmp_path: Path) -> None:
    async with served(tmp_path, WebSettings(port=0, request_timeout_s=1.0)) as it:
        async with await it.connect() as stream:
            await stream.send_all(bytes_)
            with trio.fail_after(5):
                async for _ in stream:
                    pass
        assert (await it.ask("/healthz"))[0] == 200
        assert [actor.restarts for actor in it.feed.status().actors if actor.id == "services"] == [0]


async def test_a_client_that_stops_reading_is_cut_off_and_the_others_never_notice(tmp_path: Path) -> None:
    web = WebSettings(port=0, send_timeout_s=1.0, max_pending=50, conflate_s=0)
    streams = "&".join(f"stream={SPOT}:BTCUSDT:{n}s" for n in range(1, 120))
    async with served(tmp_path, web) as it:
        stuck, quick = await it.connect(), await it.connect()
        stuck.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await stuck.send_all(request(f"/api/candles/stream?{streams}&since=0"))
        await quick.send_all(request(f"/api/candles/stream?{STREAM}"))
        with trio.fail_after(30):
            for _ in range(3):
                await until(quick, b'"closed":true')
            while it.feed.status().owners.get("sse:1") is not None and it.feed.status().subscribers > 1:
                await until(quick, b'"closed":true')
        assert (await it.ask("/healthz"))[0] == 200


async def test_a_stuck_client_does_not_keep_the_feed_from_ending(tmp_path: Path) -> None:
    web = WebSettings(port=0, send_timeout_s=60.0)
    streams = "&".join(f"stream={SPOT}:BTCUSDT:{n}s" for n in range(1, 150))
    with trio.fail_after(15):
        async with served(tmp_path, web) as it:
            stuck = await it.connect()
            stuck.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            await stuck.send_all(request(f"/api/candles/stream?{streams}"))
            live = await it.connect()
            await live.send_all(request(f"/api/candles/stream?{STREAM}"))
            for _ in range(3):
                await until(live, b'"closed":true')


async def test_a_thousand_idle_connections(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 2_200
    if hard < needed and hard != resource.RLIM_INFINITY:
        pytest.skip(f"this machine allows {hard} open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))
    try:
        async with served(tmp_path) as it:
            for _ in range(1_000):
                await it.connect()
            with trio.fail_after(10):
                assert (await it.ask("/readyz"))[0] in (200, 503)
                live = await it.connect()
                await live.send_all(request(f"/api/candles/stream?{STREAM}"))
                await until(live, b'"closed":true')
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_ipv6(tmp_path: Path) -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6")
    async with served(tmp_path, WebSettings(host="::1", port=0)) as it:
        assert it.server.address is not None
        assert it.server.address.startswith("http://[::1]:")
        assert (await it.ask("/healthz"))[0] == 200


async def test_no_more_connections_than_there_is_room_for(tmp_path: Path) -> None:
    async with served(tmp_path, WebSettings(port=0, max_connections=3, request_timeout_s=1.0)) as it:
        for _ in range(3):
            await it.connect()
        with trio.fail_after(5):
            assert await (await it.connect()).receive_some() == b""
            for client in it.clients:
                assert await client.receive_some() == b"", "who says nothing does not keep its place"
        assert (await it.ask("/healthz"))[0] == 200
