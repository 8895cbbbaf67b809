"""Networks: where byte streams come from."""

from __future__ import annotations

import ssl
from typing import Protocol

import trio


class Network(Protocol):
    """Opens byte streams to a host: real TCP, or memory in tests. The one seam below WebSocket and REST."""

    async def connect(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> trio.abc.HalfCloseableStream:
        """Return a connected stream, owned by the caller; encrypted, and the peer verified, if `tls` is given.

        Raises `ConnectFailed`. Sets no time limit of its own: wrap it in `trio.fail_after`.
        """
        ...
