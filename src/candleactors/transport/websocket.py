"""WebSocket connections that hand over messages in batches.

trio-websocket does the handshake, control frames, fragments and the close; whole messages never reach it, because
`LaneStream` takes them out of each read. One wake of the consumer costs as much as about a hundred messages, so the
unit here is the batch: everything that has arrived since the last call.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import cast
from urllib.parse import urlsplit

import h11
import trio
from attrs import frozen
from trio_websocket import CloseReason, ConnectionClosed, ConnectionRejected, WebSocketConnection, wrap_client_stream
from wsproto.utilities import LocalProtocolError as WsprotoLocalProtocolError

from candleactors.errors import ConfigError, ConnectFailed, Disconnected
from candleactors.transport.lane import LaneStream
from candleactors.transport.network import Network
from candleactors.transport.tls import default_context

CLOSE_TIMEOUT_S = 3.0
"""Most seconds of a closing handshake; the connection is dropped then."""
MAX_PENDING_BYTES = 32 << 20
"""Unread messages at which reading pauses: some twenty seconds of a thousand busy streams."""


class WebSocket:
    """An open connection. Made by `open_websocket`, which also ends it.

    One task receives; any task may send, probe or close.
    """

    def __init__(self, lane: LaneStream, connection: WebSocketConnection, nursery: trio.Nursery) -> None:
        self._lane = lane
        self._connection = connection
        self._nursery = nursery
        self._ended: Disconnected | None = None
        self._closing = trio.CancelScope()
        self._pinging = False

    @property
    def last_byte_s(self) -> float:
        """When the last byte arrived, on Trio's clock."""
        return self._lane.last_byte_s

    @property
    def bytes_received(self) -> int:
        """Decrypted bytes, the handshake included."""
        return self._lane.bytes_received

    @property
    def messages_received(self) -> int:
        """Messages, whether taken by the consumer yet or not."""
        return self._lane.messages_received

    @property
    def pings_seen(self) -> int:
        """Ping frames of the other side, each of which is answered with a pong."""
        return self._lane.pings_seen

    async def receive(self) -> list[bytes]:
        """Return all complete messages since the last call, at least one, text and binary alike, UTF-8 unchecked.

        Waits for the first one; cancelling it loses none. Once the connection has ended and everything that had
        arrived is delivered, raises `Disconnected`, again at each further call.
        """
        await trio.lowlevel.checkpoint()
        while not (batch := self._lane.take()):
            self._raise_ended()
            await self._lane.arrival()
        return batch

    async def send(self, text: bytes) -> None:
        """Send one text message. Raises `Disconnected`. Cancelled halfway through, it breaks the connection."""
        try:
            await self._connection.send_message(text.decode())
        except (ConnectionClosed, WsprotoLocalProtocolError):
            self._raise_ended()
            raise _disconnected(self._connection.closed) from None

    async def probe(self, timeout_s: float, message: bytes | None = None) -> None:
        """Send a ping, or a text `message` that the other side answers, and return as soon as any byte arrives.

        Returns at once while we are the ones who do not read. Raises `Disconnected`, with 1006, if nothing arrives
        within `timeout_s`; the connection is then still to be closed.
        """
        seen = self.bytes_received
        if not self._pinging and self._ended is None:
            self._pinging = True
            self._nursery.start_soon(self._ping, message)
        with trio.move_on_after(timeout_s):
            while self.bytes_received == seen and self._ended is None and not self._lane.paused:
                await self._lane.arrival()
        self._raise_ended()
        if self.bytes_received == seen and not self._lane.paused:
            raise Disconnected(1006, f"no answer to a ping within {timeout_s:g} s")

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Do the closing handshake within `CLOSE_TIMEOUT_S`. What arrived before stays receivable. Idempotent."""
        self._lane.discard()
        if self._ended is None:
            self._end(Disconnected(code, reason or "closed by us"))
            self._closing.deadline = trio.current_time() + CLOSE_TIMEOUT_S
            with self._closing:
                await self._connection.aclose(code, reason or None)

    async def _ping(self, message: bytes | None) -> None:
        # Left running when the probe gives up: a frame that is cut off halfway would break the connection.
        try:
            if message is None:
                await self._connection.ping()
            else:
                await self._connection.send_message(message.decode())
        except (ConnectionClosed, WsprotoLocalProtocolError):
            pass
        finally:
            self._pinging = False

    async def _pump(self, reading: trio.CancelScope) -> None:
        """Move the messages that trio-websocket assembled to their places, until the connection ends."""
        try:
            while True:
                message = await self._connection.get_message()
                self._lane.fill(message.encode() if isinstance(message, str) else message)
        except ConnectionClosed:
            if self._ended is None:  # otherwise the reader still has our closing handshake to finish
                self._end(_disconnected(self._connection.closed))
                reading.cancel()

    def _reader_ended(self) -> None:
        self._end(_disconnected(self._connection.closed))
        self._closing.cancel()

    def _end(self, why: Disconnected) -> None:
        if self._ended is None:
            self._ended = why
            self._lane.finish()

    def _raise_ended(self) -> None:
        if self._ended is not None:
            raise Disconnected(self._ended.code, self._ended.reason) from None


@asynccontextmanager
async def open_websocket(
    url: str,
    *,
    network: Network,
    coalesce_s: float,
    handshake_timeout_s: float,
    max_message_bytes: int,
    tls: ssl.SSLContext | None = None,
    extra_headers: Sequence[tuple[str, str]] = (),
    max_pending_bytes: int = MAX_PENDING_BYTES,
) -> AsyncIterator[WebSocket]:
    """Connect to `url` (``ws://`` or ``wss://``) and yield the connection, closing it on the way out.

    The way out takes at most `CLOSE_TIMEOUT_S`, and next to no time when cancelled. `coalesce_s` is the pause before
    each read. `max_pending_bytes` of messages not yet received stop the reading, so the kernel's buffers fill and the
    venue sees a slow client; until then pings are answered however slow the consumer. A message of more than
    `max_message_bytes` ends the connection with 1009. Without `tls`, ``wss`` verifies against the system's authorities.

    Raises `ConnectFailed`, with the HTTP status and Retry-After if the venue refused; `ConfigError` for a bad URL.
    """
    target = _Target.parse(url)

    async def serve(*, task_status: trio.TaskStatus[WebSocket]) -> None:
        stream = await network.connect(
            target.host, target.port, (tls or default_context()) if target.encrypted else None
        )
        lane = LaneStream(
            stream, coalesce_s=coalesce_s, max_message_bytes=max_message_bytes, max_pending_bytes=max_pending_bytes
        )
        try:
            await _run(lane, target, extra_headers, max_message_bytes, task_status)
        finally:
            await trio.aclose_forcefully(stream)

    # What the caller's body raises is carried around the nursery, which would wrap it in a group.
    failure: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            try:
                with trio.fail_after(handshake_timeout_s):
                    websocket: WebSocket = await nursery.start(serve)
            except trio.TooSlowError:
                failure = ConnectFailed(f"no WebSocket handshake with {target.place} within {handshake_timeout_s:g} s")
            except ConnectFailed as error:
                failure = error
            else:
                try:
                    yield websocket
                except BaseException as error:
                    failure = error
                await websocket.close()
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        if failure is None or group.split(trio.Cancelled)[1] is not None:
            raise
    if failure is not None:
        raise failure


async def _run(
    lane: LaneStream,
    target: _Target,
    headers: Sequence[tuple[str, str]],
    max_message_bytes: int,
    task_status: trio.TaskStatus[WebSocket],
) -> None:
    """Shake hands, report the connection, and read until it ends."""
    websocket: WebSocket | None = None
    try:
        async with trio.open_nursery() as helpers:
            async with trio.open_nursery() as reading:
                connection = await wrap_client_stream(
                    reading,
                    cast(trio.SocketStream, lane),  # annotated too narrowly: any stream will do
                    target.host_header,
                    target.resource,
                    extra_headers=[(name.encode("ascii"), value.encode("latin-1")) for name, value in headers],
                    message_queue_size=0,  # each message is in our hands before the library goes on, and maybe fails
                    max_message_size=max_message_bytes,
                    receive_buffer_size=None,
                )
                lane.opening = False
                websocket = WebSocket(lane, connection, helpers)
                helpers.start_soon(websocket._pump, reading.cancel_scope)
                task_status.started(websocket)
            helpers.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        ended, unknown = group.split(_ENDS)
        if unknown is not None:
            raise unknown from None
        if websocket is None:
            raise _connect_failed(target, _leaf(ended)) from None
    finally:
        if websocket is not None:
            websocket._reader_ended()


@frozen
class _Target:
    """Where a WebSocket URL points."""

    encrypted: bool
    host: str
    port: int
    resource: str
    host_header: str

    @property
    def place(self) -> str:
        return f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, url: str) -> _Target:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise ConfigError(f"no WebSocket URL: {error}") from None
        if parts.scheme not in ("ws", "wss") or not parts.hostname or "@" in parts.netloc:
            raise ConfigError(f"no WebSocket URL: {parts.scheme}://{parts.netloc.rpartition('@')[2]}")
        encrypted = parts.scheme == "wss"
        resource = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(encrypted, parts.hostname, port or (443 if encrypted else 80), resource, parts.netloc)


_ENDS = (ConnectionRejected, ConnectFailed, ConnectionClosed, WsprotoLocalProtocolError, h11.LocalProtocolError)
"""What the library's reader may end with because the connection did. The local errors: wsproto's when a ping crosses
our close, and h11's when the library tries to answer an invalid handshake."""


def _leaf(error: BaseException | None) -> BaseException | None:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _connect_failed(target: _Target, error: BaseException | None) -> ConnectFailed:
    if isinstance(error, ConnectFailed):
        return ConnectFailed(f"no WebSocket handshake with {target.place}: {error}")
    if isinstance(error, ConnectionRejected):
        headers = {name.lower(): value for name, value in error.headers or ()}
        wait = headers.get(b"retry-after", b"").strip()
        return ConnectFailed(
            f"{target.place} refused the WebSocket with HTTP status {error.status_code}",
            status=error.status_code,
            retry_after_s=float(wait) if wait.isdigit() else None,
        )
    return ConnectFailed(f"no WebSocket handshake with {target.place}")


def _disconnected(why: CloseReason | None) -> Disconnected:
    return Disconnected(int(why.code), why.reason or "") if why is not None else Disconnected(1006)
