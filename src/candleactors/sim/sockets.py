"""The end of byte streams, of whatever kind."""

from __future__ import annotations

import socket
import struct

import trio


async def close_abruptly(stream: trio.abc.Stream, *, reset: bool = False) -> None:
    """Close `stream` without ceremony; with `reset`, TCP sends RST instead of FIN. Never raises."""
    if reset:
        inner = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
        if isinstance(inner, trio.SocketStream):
            inner.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with trio.CancelScope(shield=True, deadline=trio.current_time() + 1):
        await trio.aclose_forcefully(stream)
