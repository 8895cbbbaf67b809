"""The end of byte streams, of whatever kind."""

from __future__ import annotations

import socket
import struct

import trio

_PATIENCE_S = 1.0


async def close(stream: trio.abc.Stream, *, reset: bool = False) -> None:
    """Close `stream`, TLS with its farewell; with `reset`, TCP sends RST instead.

    Never raises, takes a second at most, and is not interrupted by cancellation.
    """
    if reset:
        inner = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
        if isinstance(inner, trio.SocketStream):
            inner.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with trio.CancelScope(shield=True, deadline=trio.current_time() + _PATIENCE_S):
        if reset:
            await trio.aclose_forcefully(stream)
        else:
            await stream.aclose()
