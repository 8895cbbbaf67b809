"""Connections: what TCP clients may cost, below HTTP.

Hypercorn serves a stream and never gives up on one: it shields its sends, so that a client that stops reading would
outlive the server, it has no limit to their number, and a client that begins with HTTP/2 may stay silent for ever.
"""

from __future__ import annotations

import math
from typing import Final

import trio

_HTTP_2: Final = b"PRI * HTTP/2"
_LOOKS: Final = 4
"""How often within its time-out a send is looked at."""


class GuardedStream(trio.abc.HalfCloseableStream):
    """A client's stream that knows since when it is sending, and can be cut off in the middle of that.

    Who sends is told by a `trio.ClosedResourceError` then. `socket` is what Hypercorn looks at.
    """

    def __init__(self, stream: trio.SocketStream) -> None:
        self.socket = stream.socket
        self.sending_since_s = math.inf
        """When the send under way began, by Trio's clock; infinity if there is none."""
        self._stream = stream
        self._begun = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """See `trio.abc.SendStream`."""
        self.sending_since_s = trio.current_time()
        try:
            await self._stream.send_all(data)
        finally:
            self.sending_since_s = math.inf

    async def wait_send_all_might_not_block(self) -> None:
        """See `trio.abc.SendStream`."""
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Return bytes; none, as at the end, to a client that wants to speak HTTP/2."""
        data = await self._stream.receive_some(max_bytes)
        if not self._begun and data.startswith(_HTTP_2):
            return b""
        self._begun = True
        return data

    async def send_eof(self) -> None:
        """See `trio.abc.HalfCloseableStream`."""
        await self._stream.send_eof()

    async def aclose(self) -> None:
        """See `trio.abc.AsyncResource`."""
        await self._stream.aclose()

    def cut_off(self) -> None:
        """Close the socket, whoever uses it, shielded or not."""
        self.socket.close()


class Connections:
    """The open connections of a server: at most `most`, each a `GuardedStream`."""

    def __init__(self, most: int, send_timeout_s: float) -> None:
        self._most = most
        self._send_timeout_s = send_timeout_s
        self._open: dict[GuardedStream, None] = {}
        self._left = trio.Event()

    async def watch(self) -> None:
        """Cut off the clients that take no byte for too long, until cancelled.

        One look at all of them, now and then, costs less than a time-out for each of a thousand sends a second.
        """
        while True:
            await trio.sleep(self._send_timeout_s / _LOOKS)
            late_s = trio.current_time() - self._send_timeout_s
            for stream in [stream for stream in self._open if stream.sending_since_s <= late_s]:
                stream.cut_off()

    def take(self, stream: trio.SocketStream) -> GuardedStream | None:
        """Return the stream as it is to be served; ``None`` where there are enough."""
        if len(self._open) >= self._most:
            return None
        guarded = GuardedStream(stream)
        self._open[guarded] = None
        return guarded

    def leave(self, stream: GuardedStream) -> None:
        """Take notice that a stream is served no more."""
        self._open.pop(stream, None)
        self._left.set()

    async def none_left(self) -> None:
        """Return once no connection is open."""
        while self._open:
            self._left = trio.Event()
            await self._left.wait()

    def cut_off(self) -> None:
        """Close every connection, whatever goes on there."""
        for stream in list(self._open):
            stream.cut_off()
