"""Plain clients of the simulator on wsproto and h11: what the bytes say, with nothing of ours in between."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import h11
import trio
import trio.testing
from attrs import define, field
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Message,
    Ping,
    Pong,
    RejectConnection,
    Request,
    TextMessage,
)

from candleactors.sim import BinanceRules, Counters, Market, Rules, Simulator, SymbolSpec
from candleactors.sim.binance.dialect import BinanceDialect
from candleactors.sim.binance.session import BinanceSession

START_MS = 1_760_000_400_000
"""2025-10-09 09:00:00 UTC."""

SYMBOLS = (
    SymbolSpec("BTC", "USDT", "67250", 2, 5, 90.0, 0.0001, "0.02"),
    SymbolSpec("ETH", "USDT", "3120", 2, 4, 20.0, 0.0001, "0.4"),
    SymbolSpec("QUIET", "USDT", "1.5", 4, 1, 0.2, 0.0005, "100"),
    SymbolSpec("币安人生", "USDT", "0.241", 4, 1, 10.0, 0.0004, "300", futures=False),
)

UPGRADE = (
    b"GET %s HTTP/1.1\r\nHost: sim\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
"""A raw upgrade request, but for its target."""


def now_ms() -> int:
    """Return a venue clock that runs on Trio's."""
    return START_MS + round(trio.current_time() * 1000)


def simulator(rules: Rules, *, seed: int = 7, market: Market | None = None, **options: Any) -> Simulator:
    return Simulator(market or Market(seed, START_MS, SYMBOLS), rules, now_ms, seed=seed, **options)


def session(rules: BinanceRules, market: Market | None = None, target: str = "/ws") -> BinanceSession:
    """Return the venue's side of a connection at `target`."""
    opened = BinanceDialect(market or Market(7, START_MS, SYMBOLS), rules, Counters()).open(target, 0)
    assert opened is not None
    return opened


def run(body: Callable[[], Any]) -> Any:
    """Run an async function under a virtual clock that jumps to the next deadline."""
    return trio.run(body, clock=trio.testing.MockClock(autojump_threshold=0))


class Refused(Exception):
    """The upgrade was answered with another status, or not at all."""

    def __init__(self, status: int | None) -> None:
        super().__init__(f"status {status}")
        self.status = status


@define
class Client:
    """A WebSocket client that records what it gets. Answers pings unless told not to."""

    stream: trio.abc.Stream
    ws: WSConnection
    answers_pings: bool = True
    close: CloseConnection | None = None
    pings: list[bytes] = field(factory=list)
    _events: list[Event] = field(factory=list)
    _partial: str = ""

    @property
    def ending(self) -> tuple[int, str | None] | None:
        """Code and reason of the close frame received, if any."""
        return None if self.close is None else (self.close.code, self.close.reason)

    async def send(self, event: Event) -> None:
        await self.stream.send_all(self.ws.send(event))

    async def say(self, message: object) -> None:
        await self.send(TextMessage(message if isinstance(message, str) else json.dumps(message)))

    async def ask(self, method: str, *params: object, id: object = 1) -> Any:
        """Send a control message and return the next message that is no push."""
        message = {"method": method, "id": id}
        if params:
            message["params"] = list(params)
        await self.say(message)
        return await self.reply()

    async def reply(self) -> Any:
        while True:
            message = await self.receive()
            if message is None or not ("e" in message or "stream" in message):
                return message

    async def receive(self) -> Any:
        """Return the next text message, decoded; ``None`` at the end of the connection."""
        text = await self.receive_text()
        return None if text is None else json.loads(text)

    async def receive_text(self) -> str | None:
        while True:
            while self._events:
                event = self._events.pop(0)
                match event:
                    case TextMessage():
                        self._partial += event.data
                        if event.message_finished:
                            whole, self._partial = self._partial, ""
                            return whole
                    case Ping():
                        self.pings.append(bytes(event.payload))
                        if self.answers_pings:
                            await self.send(event.response())
                    case CloseConnection():
                        self.close = event
                        await self.send(event.response())
                        return None
                    case Pong() | BytesMessage() | Message():
                        pass
            try:
                data = await self.stream.receive_some(1 << 16)
            except trio.BrokenResourceError:
                return None
            if not data:
                return None
            self.ws.receive_data(bytes(data))
            self._events += self.ws.events()

    async def collect(self, for_s: float) -> list[Any]:
        """Return every message of the next seconds, or until the connection ends."""
        found: list[Any] = []
        with trio.move_on_after(for_s):
            while (message := await self.receive()) is not None:
                found.append(message)
        return found


async def open_client(stream: trio.abc.Stream, target: str) -> Client:
    """Upgrade `stream` at `target`; raises `Refused`."""
    ws = WSConnection(ConnectionType.CLIENT)
    events: list[Event] = []
    try:
        await stream.send_all(ws.send(Request(host="sim", target=target)))
    except trio.BrokenResourceError:
        raise Refused(None) from None
    while not events:
        try:
            data = await stream.receive_some(1 << 16)
        except trio.BrokenResourceError:
            data = b""
        if not data:
            raise Refused(None)
        ws.receive_data(bytes(data))
        events += ws.events()
    match events.pop(0):
        case AcceptConnection():
            client = Client(stream, ws)
            client._events += events
            return client
        case RejectConnection(status_code=status):
            raise Refused(status)
    raise AssertionError(events)


@asynccontextmanager
async def connected(sim: Simulator, target: str = "/ws") -> AsyncIterator[Client]:
    """A client in memory."""
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sim.serve_stream, theirs)
        yield await open_client(ours, target)
        await ours.aclose()


@define
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def get(sim: Simulator, target: str, *, method: str = "GET") -> Reply:
    """Send one REST request in memory on a connection of its own."""
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sim.serve_stream, theirs)
        reply = await fetch(ours, target, method=method)
        await ours.aclose()
    return reply


async def fetch(stream: trio.abc.Stream, target: str, *, method: str = "GET") -> Reply:
    """Send one REST request on `stream`; raises `h11.RemoteProtocolError` where the answer is cut off."""
    connection = h11.Connection(h11.CLIENT)
    request = h11.Request(method=method, target=target, headers=[("Host", "sim")])
    await stream.send_all((connection.send(request) or b"") + (connection.send(h11.EndOfMessage()) or b""))
    reply = Reply(0, {}, b"")
    while True:
        event = connection.next_event()
        match event:
            case h11.NEED_DATA:
                connection.receive_data(bytes(await stream.receive_some(1 << 16)))
            case h11.Response():
                reply.status = event.status_code
                reply.headers = {name.decode(): value.decode() for name, value in event.headers}
            case h11.Data():
                reply.body += event.data
            case _:
                return reply
