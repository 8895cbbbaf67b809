"""The WebSocket connection against a trio-websocket server, in memory and in virtual time."""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
import trio
import trio_websocket
from trio.testing import MockClock

from candleactors.errors import ConfigError, ConnectFailed, Disconnected
from candleactors.transport.network import MemoryNetwork
from candleactors.transport.pipe import PipeStream
from candleactors.transport.websocket import CLOSE_TIMEOUT_S, WebSocket, open_websocket

URL = "ws://venue.test/ws?a=1"
WRONG_KEY = b"HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: no\r\n\r\n"
Handler = Callable[[trio_websocket.WebSocketConnection, trio.abc.Stream], Awaitable[None]]
Client = Callable[[MemoryNetwork], Awaitable[None]]


def connect(network: MemoryNetwork, url: str = URL, **changes: Any) -> Any:
    options: dict[str, Any] = {"coalesce_s": 0.005, "handshake_timeout_s": 10, "max_message_bytes": 1 << 20}
    return open_websocket(url, network=network, **(options | changes))


def frame(payload: bytes, first: int = 0x81) -> bytes:
    if len(payload) < 126:
        head = bytes([first, len(payload)])
    elif len(payload) < 1 << 16:
        head = bytes([first, 126]) + struct.pack(">H", len(payload))
    else:
        head = bytes([first, 127]) + struct.pack(">Q", len(payload))
    return head + payload


class Shared(trio.abc.Stream):
    """A server's stream on which the handler writes raw frames beside the library."""

    def __init__(self, pipe: PipeStream) -> None:
        self.pipe = pipe
        self.lock = trio.Lock()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        async with self.lock:
            await self.pipe.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.pipe.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return await self.pipe.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self.pipe.aclose()


def play(handler: Handler, client: Client, *, capacity: int = 1 << 20) -> float:
    """Run both in virtual time and return how long it took."""

    async def serve(pipe: PipeStream) -> None:
        stream = Shared(pipe)
        async with trio.open_nursery() as nursery:
            request = await trio_websocket.wrap_server_stream(nursery, stream)
            connection = await request.accept()
            with suppress(trio_websocket.ConnectionClosed, trio.BrokenResourceError):  # the client left
                await handler(connection, stream)
            nursery.cancel_scope.cancel()

    async def main() -> float:
        async with trio.open_nursery() as nursery:
            network = MemoryNetwork(nursery, capacity)
            network.listen(serve)
            await client(network)
            took = trio.current_time()
            nursery.cancel_scope.cancel()
        return took

    return trio.run(main, clock=MockClock(autojump_threshold=0))


async def drain(websocket: WebSocket) -> tuple[list[bytes], Disconnected]:
    messages: list[bytes] = []
    while True:
        try:
            messages += await websocket.receive()
        except Disconnected as error:
            return messages, error


def test_a_batch_holds_everything_since_the_last_call() -> None:
    async def handler(connection: trio_websocket.WebSocketConnection, stream: trio.abc.Stream) -> None:
        await stream.send_all(b"".join(frame(b"%d" % number) for number in range(100)))
        await trio.sleep(1)
        await stream.send_all(frame(b"later"))
        await connection.get_message()

    async def client(network: MemoryNetwork) -> None:
        async with connect(network) as websocket:
            await trio.sleep(0.5)
            assert await websocket.receive() == [b"%d" % number for number in range(100)]
            assert await websocket.receive() == [b"later"]
            assert websocket.messages_received == 101
            assert websocket.last_byte_s == trio.current_time()

    play(handler, client)


def test_sends_text_and_passes_path_and_headers() -> None:
    seen: list[Any] = []

    async def serve(stream: PipeStream) -> None:
        async with trio.open_nursery() as nursery:
            request = await trio_websocket.wrap_server_stream(nursery, stream)
            seen.append((request.path, dict(request.headers)[b"x-key"]))
            connection = await request.accept()
            seen.append(await connection.get_message())
            await connection.aclose()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            network = MemoryNetwork(nursery)
            network.listen(serve, "venue.test", 80)
            async with connect(network, extra_headers=[("X-Key", "k")]) as websocket:
                await websocket.send(b'{"id":1}')
                assert (await drain(websocket))[1].code == 1000

    trio.run(main, clock=MockClock(autojump_threshold=0))
    assert seen == [("/ws?a=1", b"k"), '{"id":1}']


def test_fragments_keep_their_place_and_controls_pass() -> None:
    async def handler(connection: trio_websocket.WebSocketConnection, stream: trio.abc.Stream) -> None:
        await stream.send_all(
            frame(b"one")
            + frame(b"tw", 0x01)
            + frame(b"", 0x89)
            + frame(b"o", 0x80)
            + frame(b"three")
            + frame(b"\x00", 0x02)
            + frame(b"\xff", 0x80)
            + frame(b"\xfe", 0x82)
        )
        await connection.aclose(1001, "bye")

    async def client(network: MemoryNetwork) -> None:
        async with connect(network) as websocket:
            messages, error = await drain(websocket)
            assert messages == [b"one", b"two", b"three", b"\x00\xff", b"\xfe"]
            assert (error.code, error.reason) == (1001, "bye")
            assert websocket.pings_seen == 1
            with pytest.raises(Disconnected, match="1001"):
                await websocket.receive()
            with pytest.raises(Disconnected, match="1001"):
                await websocket.send(b"x")

    play(handler, client)


@pytest.mark.parametrize(
    ("tail", "code"),
    [
        (b"", 1006),
        (frame(b"truncated")[:-1], 1006),
        (frame(struct.pack(">H", 1008) + b"Too many requests", 0x88), 1008),
        (frame(b"", 0x88), 1005),
        (frame(b"x", 0xC1), 1002),
        (b"\x83\x00", 1002),
        (b"\x81\x81abcdX", 1002),
        (b"\x81\x7e\x00\x05abcde", 1002),
        (frame(b"x", 0x80), 1002),
        (frame(b"x", 0x01) + frame(b"y"), 1002),
        (frame(b"x" * (1 << 20) + b"x"), 1009),
        (frame(b"x" * (10 << 20)), 1009),
        (frame(b"x" * (1 << 19), 0x01) + frame(b"x" * (1 << 19), 0x00) + frame(b"x", 0x80), 1009),
        (frame(b"\xff", 0x01), 1007),
    ],
)
def test_what_came_before_the_end_is_delivered(tail: bytes, code: int) -> None:
    async def handler(connection: trio_websocket.WebSocketConnection, stream: trio.abc.Stream) -> None:
        with trio.move_on_after(5):
            await stream.send_all(frame(b"one") + frame(b"t", 0x01) + frame(b"wo", 0x80) + frame(b"three") + tail)

    async def client(network: MemoryNetwork) -> None:
        async with connect(network) as websocket:
            await trio.sleep(10)
            messages, error = await drain(websocket)
            assert messages == [b"one", b"two", b"three"]
            assert error.code == code

    assert play(handler, client) <= 10 + CLOSE_TIMEOUT_S


def test_ten_megabytes_in_one_frame() -> None:
    body = b"x" * (10 << 20)

    async def handler(connection: trio_websocket.WebSocketConnection, stream: trio.abc.Stream) -> None:
        await stream.send_all(frame(body) + frame(b"next"))

    async def client(network: MemoryNetwork) -> None:
        async with connect(network, max_message_bytes=16 << 20, max_pending_bytes=1 << 20) as websocket:
            messages, error = await drain(websocket)
            assert messages == [body, b"next"]
            assert error.code == 1006

    play(handler, client)


def test_invalid_utf8_is_left_to_the_decoder() -> None:
    async def handler(connection: trio_websocket.WebSocketConnection, stream: trio.abc.Stream) -> None:
        await stream.send_all(frame(b"\xff\xfe") + frame(b"ok"))
        await connection.get_message()

    async def client(network: MemoryNetwork) -> None:
        async with connect(network) as websocket:
            assert await websocket.receive() == [b"\xff\xfe", b"ok"]

    play(handler, client)


def test_cancelling_receive_loses_nothing() -> None:
    async def handler(connection: trio_websocket.WebSocketConnection, stream: trio.abc.Stream) -> None:
        for number in range(200):
            await stream.send_all(frame(b"%d" % number))
            if number % 10 == 5:
                await stream.send_all(frame(b"f%d" % number, 0x01) + frame(b"", 0x80))
            await trio.sleep(0.01)

    async def client(network: MemoryNetwork) -> None:
        messages: list[bytes] = []
        async with connect(network) as websocket:
            with suppress(Disconnected):
                while True:
                    with trio.move_on_after(0.007):
                        messages += await websocket.receive()
        plain = [message for message in messages if not message.startswith(b"f")]
        assert plain == [b"%d" % number for number in range(200)]
        assert len(messages) == 220

    play(handler, client)


def test_pings_are_answered_while_the_consumer_sleeps() -> None:
    answered: list[float] = []

    async def handler(connection: trio_websocket.WebSocketConnection, stream: trio.abc.Stream) -> None:
        for number in range(60):
            await stream.send_all(frame(b"%d" % number) + frame(b"frag", 0x01) + frame(b"ment", 0x80))
            with trio.fail_after(1):
                await connection.ping()
            answered.append(trio.current_time())
            await trio.sleep(1)

    async def client(network: MemoryNetwork) -> None:
        async with connect(network) as websocket:
            await trio.sleep(100)
            assert len(answered) == 60
            assert len(await websocket.receive()) == 120

    play(handler, client)


def test_a_consumer_far_behind_stops_the_reading_and_loses_nothing() -> None:
    sent: list[int] = []

    async def handler(connection: trio_websocket.WebSocketConnection, stream: trio.abc.Stream) -> None:
        for number in range(1000):
            await stream.send_all(frame(b"%04d" % number * 1000))
            sent.append(number)

    async def client(network: MemoryNetwork) -> None:
        async with connect(network, max_pending_bytes=1 << 18) as websocket:
            await trio.sleep(60)
            assert len(sent) < 300
            await websocket.probe(1)  # we do not read, so that silence proves nothing
            messages, _ = await drain(websocket)
            assert [message[:4] for message in messages] == [b"%04d" % number for number in range(1000)]

    play(handler, client, capacity=1 << 16)


def test_a_probe_tells_the_living_from_the_dead() -> None:
    async def handler(connection: trio_websocket.WebSocketConnection, stream: trio.abc.Stream) -> None:
        await trio.sleep(100)

    async def mute(network: MemoryNetwork) -> None:
        async with connect(network) as websocket:
            for _ in range(3):
                await trio.sleep(10)
                await websocket.probe(5)
                assert websocket.last_byte_s == trio.current_time()
            await trio.sleep(200)
            with pytest.raises(Disconnected, match="1006"):
                await websocket.probe(5)

    play(handler, mute)


def test_a_probe_may_be_a_message_that_the_venue_answers() -> None:
    """Some venues answer no ping frames, but a message of their own."""
    heard: list[str | bytes] = []

    async def handler(connection: trio_websocket.WebSocketConnection, stream: trio.abc.Stream) -> None:
        while True:
            heard.append(await connection.get_message())
            await trio.sleep(2)
            await connection.send_message("pong")

    async def client(network: MemoryNetwork) -> None:
        async with connect(network) as websocket:
            await trio.sleep(10)
            for number in range(1, 3):
                start = trio.current_time()
                await websocket.probe(5, b"ping")
                assert trio.current_time() - start == pytest.approx(2, abs=0.1)
                assert heard == ["ping"] * number
                assert await websocket.receive() == [b"pong"], "the answer is a message like any other"
            assert websocket.pings_seen == 0

    play(handler, client)


def test_a_message_that_nobody_answers_fails_the_probe() -> None:
    async def handler(connection: trio_websocket.WebSocketConnection, stream: trio.abc.Stream) -> None:
        for _ in range(2):
            await connection.get_message()
        await trio.sleep_forever()

    async def client(network: MemoryNetwork) -> None:
        async with connect(network) as websocket:
            for _ in range(2):
                start = trio.current_time()
                with pytest.raises(Disconnected, match="1006"):
                    await websocket.probe(5, b"ping")
                assert trio.current_time() - start == pytest.approx(5, abs=0.1)

    play(handler, client)


def test_a_probe_of_what_has_ended_says_so() -> None:
    async def handler(connection: trio_websocket.WebSocketConnection, stream: trio.abc.Stream) -> None:
        await connection.aclose(4000, "enough")

    async def client(network: MemoryNetwork) -> None:
        async with connect(network) as websocket:
            await trio.sleep(1)
            for message in (None, b"ping"):
                with pytest.raises(Disconnected, match="4000"):
                    await websocket.probe(5, message)

    play(handler, client)


def test_a_half_open_connection_fails_the_probe_and_closes_in_time() -> None:
    async def serve(stream: PipeStream) -> None:
        async with trio.open_nursery() as nursery:
            request = await trio_websocket.wrap_server_stream(nursery, stream)
            await request.accept()
            nursery.cancel_scope.cancel()
        await trio.sleep_forever()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            network = MemoryNetwork(nursery)
            network.listen(serve)
            start = trio.current_time()
            with pytest.raises(Disconnected, match="no answer to a ping within 20 s"):
                async with connect(network) as websocket:
                    await websocket.probe(20)
            assert trio.current_time() - start <= 20 + CLOSE_TIMEOUT_S
            with trio.move_on_after(5):
                async with connect(network) as websocket:
                    await websocket.receive()
            assert trio.current_time() - start <= 20 + CLOSE_TIMEOUT_S + 5
            nursery.cancel_scope.cancel()

    trio.run(main, clock=MockClock(autojump_threshold=0))


def test_close_sends_code_and_reason_and_can_be_repeated() -> None:
    closed: list[Any] = []

    async def handler(connection: trio_websocket.WebSocketConnection, stream: trio.abc.Stream) -> None:
        await stream.send_all(frame(b"before"))
        with pytest.raises(trio_websocket.ConnectionClosed) as caught:
            await connection.get_message()
        why = caught.value.reason
        assert why is not None
        closed.append((why.code, why.reason))

    async def client(network: MemoryNetwork) -> None:
        async with connect(network) as websocket:
            await trio.sleep(1)
            await websocket.close(4000, "rotated")
            await websocket.close()
            assert trio.current_time() < 2
            messages, error = await drain(websocket)
            assert messages == [b"before"]
            assert error.code == 4000

    play(handler, client)
    assert closed == [(4000, "rotated")]


def test_close_under_a_flood_of_pings_and_data() -> None:
    async def handler(connection: trio_websocket.WebSocketConnection, stream: trio.abc.Stream) -> None:
        while True:
            await stream.send_all(frame(b"x" * 100) + frame(b"", 0x89))
            await trio.sleep(0.001)

    async def client(network: MemoryNetwork) -> None:
        async with connect(network, max_pending_bytes=1000) as websocket:
            await trio.sleep(1)
            await websocket.close()

    assert play(handler, client) <= 1 + CLOSE_TIMEOUT_S


def test_errors_of_the_body_come_out_unwrapped() -> None:
    async def handler(connection: trio_websocket.WebSocketConnection, stream: trio.abc.Stream) -> None:
        await trio.sleep(100)

    async def client(network: MemoryNetwork) -> None:
        with pytest.raises(KeyError, match="mine"):
            async with connect(network):
                raise KeyError("mine")
        with pytest.raises(trio.TooSlowError), trio.fail_after(1):
            async with connect(network) as websocket:
                await websocket.receive()

    play(handler, client)


async def _reject(stream: PipeStream, body: bytes | None) -> None:
    async with trio.open_nursery() as nursery:
        request = await trio_websocket.wrap_server_stream(nursery, stream)
        await request.reject(429, extra_headers=[(b"Retry-After", b"17")], body=body)
        nursery.cancel_scope.cancel()


async def _answer(stream: PipeStream, answer: bytes, *, linger: bool = True) -> None:
    await stream.receive_some(1 << 16)
    with trio.move_on_after(60), suppress(trio.BrokenResourceError):
        await stream.send_all(answer)
        if linger:
            await trio.sleep_forever()


@pytest.mark.parametrize(
    ("serve", "status", "retry_after_s", "at_most_s"),
    [
        (partial(_reject, body=b"slow down"), 429, 17, 1),
        (partial(_reject, body=None), 429, 17, 1),
        (partial(_answer, answer=b"", linger=False), None, None, 1),
        (partial(_answer, answer=b"HTTP/1.1 101 Switching", linger=False), None, None, 1),
        (partial(_answer, answer=b"SSH-2.0\r\n\r\n"), None, None, 1),
        (
            partial(_answer, answer=WRONG_KEY),
            None,
            None,
            1,
        ),
        (partial(_answer, answer=b"HTTP/1.1 500 x\r\nContent-Length: 9999999\r\n\r\n" + b"x" * 200_000), None, None, 1),
        (partial(_answer, answer=b""), None, None, 10),
    ],
)
def test_a_failed_handshake(serve: Any, status: int | None, retry_after_s: float | None, at_most_s: float) -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            network = MemoryNetwork(nursery)
            network.listen(serve)
            with pytest.raises(ConnectFailed) as caught:
                async with connect(network):
                    pytest.fail("opened")
            assert (caught.value.status, caught.value.retry_after_s) == (status, retry_after_s)
            assert trio.current_time() <= at_most_s
            nursery.cancel_scope.cancel()

    trio.run(main, clock=MockClock(autojump_threshold=0))


async def test_nobody_listens(nursery: trio.Nursery) -> None:
    with pytest.raises(ConnectFailed, match="refused"):
        async with connect(MemoryNetwork(nursery)):
            pytest.fail("opened")


@pytest.mark.parametrize("url", ["http://venue.test", "ws://", "ws://venue.test:99999/", "ws://me:secret@venue.test/"])
async def test_a_bad_url_is_a_configuration_error(url: str, nursery: trio.Nursery) -> None:
    with pytest.raises(ConfigError) as caught:
        async with connect(MemoryNetwork(nursery), url):
            pytest.fail("opened")
    assert "secret" not in str(caught.value)
