"""Talks to the web application of a feed without sockets, in virtual time: plain requests, and live candles."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import trio
from attrs import define, field, frozen

from candleactors.feed import Feed
from candleactors.settings import WebSettings
from candleactors.web.app import make_app
from candleactors.web.live import LiveReaders

HOST = "127.0.0.1:8080"


@frozen
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body as a value."""
        return json.loads(self.body)

    @property
    def error(self) -> tuple[int, str, str | None]:
        """Return status, code and parameter of an error, whose shape is checked."""
        (name, detail), *others = self.json().items()
        assert name == "error"
        assert not others
        assert detail.keys() == {"code", "message", "parameter"}
        assert detail["message"]
        return self.status, detail["code"], detail["parameter"]


@define
class Event:
    """A server-sent event."""

    name: str = ""
    id: str | None = None
    data: Any = None

    @property
    def key(self) -> tuple[str, str, str, int]:
        """Return the stream and the open time of a candle, or of a gap's first."""
        data = self.data
        first_ms = data["first_open_ms"] if "first_open_ms" in data else data["open_time_ms"]
        return data["venue"], data["symbol"], data["timeframe"], first_ms


@define
class Live:
    """A connection of live candles, read by whoever holds it."""

    status: int
    headers: dict[str, str]
    _chunks: trio.MemoryReceiveChannel[bytes]
    _buffer: bytes = b""
    last_id: str | None = None
    retry_ms: int | None = None
    _ready: list[Event] = field(factory=list)

    def __aiter__(self) -> Live:
        return self

    async def __anext__(self) -> Event:
        while not self._ready:
            try:
                self._buffer += await self._chunks.receive()
            except trio.EndOfChannel:
                raise StopAsyncIteration from None
            *blocks, self._buffer = self._buffer.split(b"\n\n")
            self._ready += [event for block in blocks if (event := self._event(block)) is not None]
        event = self._ready.pop(0)
        self.last_id = event.id or self.last_id
        return event

    async def until(self, name: str, **values: Any) -> Event:
        """Return the next event of this name whose data have these values."""
        async for event in self:
            if event.name == name and values.items() <= event.data.items():
                return event
        raise AssertionError(f"the connection ended without {name} {values}")

    def _event(self, block: bytes) -> Event | None:
        event = Event()
        for line in block.decode().split("\n"):
            name, _, value = line.partition(": ")
            match name:
                case "event":
                    event.name = value
                case "id":
                    event.id = value
                case "data":
                    event.data = json.loads(value)
                case "retry":
                    self.retry_ms = int(value)
                case _:
                    raise AssertionError(f"not a line of an event: {line!r}")
        return event if event.name else None


class Client:
    """Asks the application of one feed, which lives in `nursery`."""

    def __init__(self, nursery: trio.Nursery, feed: Feed, settings: WebSettings | None = None) -> None:
        self.settings = settings or WebSettings()
        self.readers = LiveReaders(feed, self.settings)
        self.app = make_app(feed, self.readers, self.settings)
        nursery.start_soon(self.readers.run)

    async def get(self, target: str, **more: Any) -> Answer:
        """Ask for `target`."""
        return await self.request("GET", target, **more)

    async def request(
        self,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        raw: Iterable[bytes] | None = None,
    ) -> Answer:
        """Send a request, `body` as JSON or `raw` in pieces, and return the answer."""
        pieces = list(raw) if raw is not None else [b"" if body is None else json.dumps(body).encode()]
        received: list[Any] = []
        pending = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
        if pending:
            pending[-1]["more_body"] = False

        async def receive() -> Any:
            await trio.lowlevel.checkpoint()
            if pending:
                return pending.pop(0)
            return await trio.sleep_forever()

        async def send(message: Any) -> None:
            await trio.lowlevel.checkpoint()
            received.append(message)

        length = {} if raw is not None else {"content-length": str(len(pieces[0]))}
        await self.app(_scope(method, target, {**length, **(headers or {})}), receive, send)
        start, *chunks = received
        return Answer(start["status"], _text(start["headers"]), b"".join(chunk.get("body", b"") for chunk in chunks))

    @asynccontextmanager
    async def live(
        self, query: str, *, headers: Mapping[str, str] | None = None, buffer: float = float("inf")
    ) -> AsyncIterator[Live]:
        """Read live candles for the body of an ``async with``, and go away at its end.

        `buffer` is how many chunks fit between the server and a reader that does not read.
        """
        sending, receiving = trio.open_memory_channel[bytes](buffer)
        started: list[Any] = []
        begun, gone = trio.Event(), trio.Event()

        async def receive() -> Any:
            if not asked:
                asked.append(True)
                return {"type": "http.request", "body": b"", "more_body": False}
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                started.append(message)
                begun.set()
            elif not gone.is_set():
                with trio.CancelScope() as sending_scope:
                    blocked.append(sending_scope)
                    await sending.send(message["body"])
                if not message["more_body"]:
                    sending.close()

        async def serve() -> None:
            await self.app(_scope("GET", f"/api/candles/stream?{query}", headers or {}), receive, send)
            over.set()

        asked: list[bool] = []
        blocked: list[trio.CancelScope] = []
        over = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            await begun.wait()
            try:
                yield Live(started[0]["status"], _text(started[0]["headers"]), receiving)
            finally:
                gone.set()
                for scope in blocked:
                    scope.cancel()
                with trio.CancelScope(shield=True):
                    await over.wait()


def _scope(method: str, target: str, headers: Mapping[str, str]) -> dict[str, Any]:
    path, _, query = target.partition("?")
    named = {"host": HOST, **{name.lower(): value for name, value in headers.items()}}
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in named.items() if value is not None],
        "client": ("127.0.0.1", 50_000),
        "server": ("127.0.0.1", 8080),
        "state": {},
    }


def _text(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode().lower(): value.decode("latin-1") for name, value in headers}
