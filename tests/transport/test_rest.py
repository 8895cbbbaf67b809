"""The REST client against a small HTTP server in memory, in virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import h11
import pytest
import trio
from trio.testing import MockClock

from candleactors.errors import ConfigError, LocalProtocolError, RequestFailed
from candleactors.transport.network import MemoryNetwork
from candleactors.transport.pipe import PipeStream
from candleactors.transport.rest import RestClient
from candleactors.venues.base import RestRequest


class Server:
    """Answers each request with `answer` (raw bytes), and remembers targets, headers and connections."""

    def __init__(self, answer: bytes | Callable[[PipeStream], Awaitable[None]]) -> None:
        self.answer = answer
        self.targets: list[str] = []
        self.headers: list[dict[bytes, bytes]] = []
        self.connections = 0

    async def __call__(self, stream: PipeStream) -> None:
        self.connections += 1
        while True:
            connection = h11.Connection(h11.SERVER)
            while (event := connection.next_event()) is h11.NEED_DATA:
                data = await stream.receive_some(65536)
                if not data:
                    return
                connection.receive_data(data)
            assert isinstance(event, h11.Request)
            self.targets.append(event.target.decode())
            self.headers.append(dict(event.headers))
            if not isinstance(self.answer, bytes):
                with suppress(trio.BrokenResourceError):
                    await self.answer(stream)
                return
            try:
                await stream.send_all(self.answer)
            except trio.BrokenResourceError:
                return
            if b"Connection: close" in self.answer:
                return


def ok(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    lines = [b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


@asynccontextmanager
async def client_of(
    server: Server, base_url: str = "http://venue.test", max_answer_bytes: int = 1 << 20
) -> AsyncIterator[RestClient]:
    async with trio.open_nursery() as nursery:
        network = MemoryNetwork(nursery)
        network.listen(server, "venue.test", 443 if base_url.startswith("https") else 80)
        async with RestClient(base_url, network=network, timeout_s=10, max_answer_bytes=max_answer_bytes) as client:
            yield client
        nursery.cancel_scope.cancel()


async def test_returns_status_headers_and_body_over_one_connection(autojump_clock: MockClock) -> None:
    server = Server(ok(b'{"a":1}', b"X-MBX-USED-WEIGHT-1M: 42", b"Retry-After: 3", status=b"429 Too Many"))
    async with client_of(server) as client:
        for _ in range(3):
            answer = await client.get(RestRequest("/api/v3/klines", (("symbol", "币安人生USDT"), ("limit", "5"))))
            assert answer.status == 429
            assert answer.body == b'{"a":1}'
            assert answer.headers["x-mbx-used-weight-1m"] == "42"
            assert answer.headers["retry-after"] == "3"
    assert server.targets == ["/api/v3/klines?symbol=%E5%B8%81%E5%AE%89%E4%BA%BA%E7%94%9FUSDT&limit=5"] * 3
    assert server.headers[0][b"host"] == b"venue.test"
    assert server.headers[0][b"accept-encoding"] == b"identity"
    assert server.connections == 1


async def test_base_path_https_and_redirects_as_they_are(autojump_clock: MockClock) -> None:
    server = Server(ok(b"", b"Location: https://elsewhere.test/", status=b"302 Found"))
    async with client_of(server, "https://venue.test/base") as client:
        assert (await client.get(RestRequest("/x"))).status == 302
    assert server.targets == ["/base/x"]


async def test_an_idle_connection_that_the_server_closed_is_replaced(autojump_clock: MockClock) -> None:
    server = Server(ok(b"1", b"Connection: keep-alive", b"X: Connection: close"))
    async with client_of(server) as client:
        for _ in range(3):
            assert (await client.get(RestRequest("/x"))).body == b"1"
            await trio.sleep(1)
    assert server.connections == 3


async def test_environment_proxies_are_ignored(monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.test:3128")
    monkeypatch.setenv("ALL_PROXY", "http://proxy.test:3128")
    async with client_of(Server(ok(b"1"))) as client:
        assert (await client.get(RestRequest("/x"))).body == b"1"


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b"", "RemoteProtocolError"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nConnection: close\r\n\r\n[1", "RemoteProtocolError"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\n[1", "RemoteProtocolError"),
        (b"SSH-2.0 hello\r\n\r\n", "RemoteProtocolError"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[1", "no answer within 10 s"),
        (ok(b"x" * 200_000), "more than 100000 bytes"),
    ],
)
async def test_half_an_answer_is_no_answer(answer: bytes, problem: str, autojump_clock: MockClock) -> None:
    async def respond(stream: PipeStream) -> None:
        await stream.send_all(answer)
        if b"close" not in answer and answer:
            await trio.sleep(100)

    async with client_of(Server(respond), max_answer_bytes=100_000) as client:
        with pytest.raises(RequestFailed, match=problem) as caught:
            await client.get(RestRequest("/api/x", (("signature", "s3cret"),)))
        assert trio.current_time() <= 10
        assert "GET venue.test/api/x" in str(caught.value)
        assert "s3cret" not in repr(caught.value)
        assert caught.value.__cause__ is None
        with pytest.raises(RequestFailed):
            await client.get(RestRequest("/again"))


async def test_the_deadline_counts_the_whole_request(autojump_clock: MockClock) -> None:
    async def drip(stream: PipeStream) -> None:
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
        for _ in range(100):
            await stream.send_all(b"x")
            await trio.sleep(1)

    async with client_of(Server(drip)) as client:
        with trio.move_on_after(50) as scope, pytest.raises(RequestFailed, match="no answer within 10 s"):
            await client.get(RestRequest("/x"))
        assert not scope.cancelled_caught
        assert trio.current_time() == 10
        scope.deadline = float("inf")


async def test_requests_beyond_the_pool_wait_within_their_deadline(autojump_clock: MockClock) -> None:
    async def slow(stream: PipeStream) -> None:
        await trio.sleep(2)
        await stream.send_all(ok(b"1", b"Connection: close"))

    async with client_of(Server(slow)) as client, trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(client.get, RestRequest("/x"))
    assert trio.current_time() == 6


async def test_a_cancelled_request_leaves_the_client_usable(autojump_clock: MockClock) -> None:
    server = Server(ok(b"1"))

    async def hang(stream: PipeStream) -> None:
        server.answer = ok(b"1")
        await trio.sleep(1000)

    server.answer = hang
    async with client_of(server) as client:
        with trio.move_on_after(1):
            await client.get(RestRequest("/x"))
        assert trio.current_time() == 1
        assert (await client.get(RestRequest("/x"))).body == b"1"


async def test_no_connection(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async with RestClient("http://venue.test", network=MemoryNetwork(nursery), timeout_s=1) as client:
        with pytest.raises(RequestFailed, match="refused"):
            await client.get(RestRequest("/x"))


async def test_an_invalid_request_is_our_own_fault(autojump_clock: MockClock) -> None:
    async with client_of(Server(ok(b"1"))) as client:
        with pytest.raises(LocalProtocolError) as caught:
            await client.get(RestRequest("/x" * 70_000))
        assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "url", ["ftp://venue.test", "venue.test", "http://", "http://me:secret@venue.test", "http://a:b"]
)
async def test_a_bad_url_is_a_configuration_error(url: str, nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    with pytest.raises(ConfigError) as caught:
        RestClient(url, network=MemoryNetwork(nursery), timeout_s=1)
    assert "secret" not in str(caught.value)
