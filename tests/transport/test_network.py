"""Real sockets, TLS and pipes."""

from __future__ import annotations

import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest
import trio
import trio_websocket
import trustme
from trio.testing import MockClock, check_half_closeable_stream, wait_all_tasks_blocked

from candleactors.errors import ConnectFailed, Disconnected, RequestFailed
from candleactors.transport.network import MemoryNetwork, TcpNetwork
from candleactors.transport.pipe import PipeStream, open_pipe
from candleactors.transport.rest import RestClient
from candleactors.transport.tls import TlsStream
from candleactors.transport.websocket import open_websocket
from candleactors.venues.base import RestRequest

Serve = Callable[[trio.abc.Stream], Awaitable[None]]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server_context(authority: trustme.CA, name: str = "localhost") -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(context)
    return context


def client_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@asynccontextmanager
async def listening(serve: Serve, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Serve on a loopback port, TLS by trio's own implementation, and yield the port."""

    async def handle(stream: trio.SocketStream) -> None:
        secured = trio.SSLStream(stream, tls, server_side=True) if tls else stream
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async with secured:
                await serve(secured)

    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, handle, listeners)
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def echo(stream: trio.abc.Stream) -> None:
    while data := await stream.receive_some(65536):
        await stream.send_all(data)


async def test_tcp_without_delay() -> None:
    async with listening(echo) as port:
        stream = await TcpNetwork().connect("localhost", port)
        async with stream:
            assert isinstance(stream, trio.SocketStream)
            assert stream.getsockopt(trio.socket.IPPROTO_TCP, trio.socket.TCP_NODELAY)
            await stream.send_all(b"hello")
            assert await stream.receive_some() == b"hello"


async def test_tcp_refused() -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    await listeners[0].aclose()
    with pytest.raises(ConnectFailed, match=f"no connection to 127.0.0.1:{port}"):
        await TcpNetwork().connect("127.0.0.1", port)


async def test_tls_both_ways_at_once(authority: trustme.CA) -> None:
    body = bytes(range(256)) * 20_000
    async with listening(echo, server_context(authority)) as port:
        stream = await TcpNetwork().connect("localhost", port, client_context(authority))
        received = bytearray()
        async with stream, trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, body)
            while len(received) < len(body):
                data = await stream.receive_some(100_000)
                assert 0 < len(data) <= 100_000
                received += data
        assert received == body
        await stream.aclose()
        with pytest.raises(trio.BrokenResourceError):
            await stream.send_all(b"late")


async def test_tls_returns_many_records_at_once(authority: trustme.CA) -> None:
    sent = trio.Event()

    async def serve(stream: trio.abc.Stream) -> None:
        for number in range(500):
            await stream.send_all(b"%03d" % number)
        sent.set()
        await stream.receive_some(1)

    async with listening(serve, server_context(authority)) as port:
        stream = await TcpNetwork().connect("localhost", port, client_context(authority))
        async with stream:
            await sent.wait()
            await wait_all_tasks_blocked(0.01)
            received, calls = b"", 0
            while len(received) < 1500:
                received += await stream.receive_some()
                calls += 1
            assert received == b"".join(b"%03d" % number for number in range(500))
            assert calls < 50


async def test_tls_tells_a_clean_end_from_a_cut(authority: trustme.CA) -> None:
    async def clean(stream: trio.abc.Stream) -> None:
        await stream.send_all(b"all")
        await stream.aclose()

    async def cut(stream: trio.abc.Stream) -> None:
        assert isinstance(stream, trio.SSLStream)
        await stream.send_all(b"all")
        await stream.transport_stream.aclose()

    for serve in (clean, cut):
        async with listening(serve, server_context(authority)) as port:
            stream = await TcpNetwork().connect("localhost", port, client_context(authority))
            assert await stream.receive_some() == b"all"
            if serve is clean:
                assert await stream.receive_some() == b""
                assert await stream.receive_some() == b""
            else:
                with pytest.raises(trio.BrokenResourceError):
                    await stream.receive_some()
            await stream.aclose()


async def test_tls_verifies_authority_and_name(authority: trustme.CA) -> None:
    async with listening(echo, server_context(authority)) as port:
        with pytest.raises(ConnectFailed, match="no TLS with localhost"):
            await TcpNetwork().connect("localhost", port, ssl.create_default_context())
    async with listening(echo, server_context(authority, "elsewhere.test")) as port:
        with pytest.raises(ConnectFailed, match="no TLS with localhost"):
            await TcpNetwork().connect("localhost", port, client_context(authority))


async def test_tls_against_something_else(authority: trustme.CA) -> None:
    async def plain(stream: trio.abc.Stream) -> None:
        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async def hang_up(stream: trio.abc.Stream) -> None:
        await stream.receive_some(10)

    for serve in (plain, hang_up):
        async with listening(serve) as port:
            with pytest.raises(ConnectFailed, match="no TLS with localhost"):
                await TcpNetwork().connect("localhost", port, client_context(authority))


async def test_tls_close_does_not_wait_for_a_peer_that_hangs(authority: trustme.CA, autojump_clock: MockClock) -> None:
    ours, theirs = open_pipe(1 << 14)
    async with trio.open_nursery() as nursery:
        server = trio.SSLStream(theirs, server_context(authority), server_side=True)
        nursery.start_soon(server.do_handshake)
        client = await TlsStream.handshake(ours, client_context(authority), "localhost")
    async with trio.open_nursery() as nursery:
        with trio.move_on_after(5):
            await client.send_all(b"x" * 100_000)
        start = trio.current_time()
        await client.aclose()
        assert trio.current_time() - start <= 1


async def test_websocket_over_tls(authority: trustme.CA) -> None:
    async def serve(stream: trio.abc.Stream) -> None:
        async with trio.open_nursery() as nursery:
            request = await trio_websocket.wrap_server_stream(nursery, stream)
            connection = await request.accept()
            assert await connection.get_message() == "go"
            for number in range(300):
                await stream.send_all(bytes([0x81, 126]) + struct.pack(">H", 360) + b"%0360d" % number)
            await connection.ping()
            await connection.aclose(1001)

    async with listening(serve, server_context(authority)) as port:
        messages: list[bytes] = []
        async with open_websocket(
            f"wss://localhost:{port}/ws",
            network=TcpNetwork(),
            coalesce_s=0.001,
            handshake_timeout_s=10,
            max_message_bytes=1 << 20,
            tls=client_context(authority),
        ) as websocket:
            await websocket.send(b"go")
            with suppress(Disconnected):
                while True:
                    messages += await websocket.receive()
        assert messages == [b"%0360d" % number for number in range(300)]
        assert websocket.pings_seen == 1


async def test_rest_over_tls_replaces_a_connection_the_server_closed(authority: trustme.CA) -> None:
    connections = 0

    async def serve(stream: trio.abc.Stream) -> None:
        nonlocal connections
        connections += 1
        for _ in range(2):
            await stream.receive_some(65536)
            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]")

    async with listening(serve, server_context(authority)) as port:
        base = f"https://localhost:{port}"
        async with RestClient(base, network=TcpNetwork(), timeout_s=10, tls=client_context(authority)) as client:
            for _ in range(4):
                assert (await client.get(RestRequest("/x"))).body == b"[]"
                await wait_all_tasks_blocked(0.01)
        assert connections == 2
        async with RestClient(base, network=TcpNetwork(), timeout_s=10) as client:
            with pytest.raises(RequestFailed, match="no TLS"):
                await client.get(RestRequest("/x"))


async def test_a_pipe_is_a_stream() -> None:
    async def make() -> tuple[PipeStream, PipeStream]:
        return open_pipe(1 << 16)

    async def make_clogged() -> tuple[PipeStream, PipeStream]:
        ours, theirs = open_pipe(10)
        await ours.send_all(b"x" * 10)
        await theirs.send_all(b"x" * 10)
        return ours, theirs

    await check_half_closeable_stream(make, make_clogged)


async def test_a_full_pipe_makes_the_sender_wait(autojump_clock: MockClock) -> None:
    ours, theirs = open_pipe(1000)
    with trio.move_on_after(1) as scope:
        await ours.send_all(b"x" * 1001)
    assert scope.cancelled_caught
    assert await theirs.receive_some() == b"x" * 1000


async def test_memory_listeners_by_host_and_for_all(nursery: trio.Nursery) -> None:
    def saying(text: bytes) -> Serve:
        async def serve(stream: trio.abc.Stream) -> None:
            await stream.send_all(text)

        return serve

    async def hear(host: str, port: int) -> bytes:
        async with await network.connect(host, port) as stream:
            return bytes(await stream.receive_some())

    network = MemoryNetwork(nursery)
    network.listen(saying(b"a"), "a.test", 80)
    with pytest.raises(ConnectFailed, match="refused"):
        await hear("a.test", 81)
    network.listen(saying(b"any"))
    assert [await hear("a.test", 80), await hear("a.test", 81), await hear("b.test", 80)] == [b"a", b"any", b"any"]
    network.unlisten("a.test", 80)
    assert await hear("a.test", 80) == b"any"
    network.unlisten()
    with pytest.raises(ConnectFailed, match="refused"):
        await hear("a.test", 80)
