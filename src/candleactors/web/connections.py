"""Connections: what TCP clients may cost, below HTTP.

Hypercorn serves a stream and never gives up on one: it shields its sends, so that a client that stops reading would
outlive the server, it has no limit to their number, and a client that begins with HTTP/2 may stay silent for ever.
"""

from __future__ import annotations

from typing import Final

import trio

_HTTP_2: Final = b"PRI * HTTP/2"


class GuardedStream(trio.abc.HalfCloseableStream):
    """A client's stream that takes `send_timeout_s` for a send at most, and can be cut off in the middle of one.

    What goes wrong is a `trio.BrokenResourceError`, as for any stream. `socket` is what Hypercorn looks at.
    """

    def __init__(self, stream: trio.SocketStream, send_timeout_s: float) -> None:
        self.socket = stream.socket
        self._stream = stream
        self._send_timeout_s = send_timeout_s
        self._sending: trio.CancelScope | None = None
        self._begun = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send everything in time, or break the connection."""
        with trio.move_on_after(self._send_timeout_s) as self._sending:
            try:
                await self._stream.send_all(data)
            finally:
                self._sending = None
            return
        # Half of what was to be sent may be out: nothing that makes sense can follow.
        await trio.aclose_forcefully(self._stream)
        raise trio.BrokenResourceError("the client stopped reading")

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
        """Break off the send under way, shielded or not, if there is one."""
        if self._sending is not None:
            self._sending.cancel()


class Connections:
    """The open connections of a server: at most `most`, each a `GuardedStream`."""

    def __init__(self, most: int, send_timeout_s: float) -> None:
        self._most = most
        self._send_timeout_s = send_timeout_s
        self._open: dict[GuardedStream, None] = {}
        self._left = trio.Event()

    def take(self, stream: trio.SocketStream) -> GuardedStream | None:
        """Return the stream as it is to be served; ``None`` where there are enough."""
        if len(self._open) >= self._most:
            return None
        guarded = GuardedStream(stream, self._send_timeout_s)
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
        """Break off every send under way: of clients that do not read, since others' take no time."""
        for stream in list(self._open):
            stream.cut_off()
