"""Networks: where byte streams come from."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias

import trio

from candleactors.errors import ConnectFailed
from candleactors.transport.pipe import PipeStream, open_pipe
from candleactors.transport.tls import TlsStream

Serve: TypeAlias = Callable[[PipeStream], Awaitable[None]]


class Network(Protocol):
    """Opens byte streams to a host: real TCP, or memory in tests. The one seam below WebSocket and REST."""

    async def connect(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> trio.abc.Stream:
        """Return a connected stream, owned by the caller; encrypted, and the peer verified, if `tls` is given.

        Raises `ConnectFailed`. Sets no time limit of its own: wrap it in `trio.fail_after`.
        """
        ...


class TcpNetwork:
    """The real network: TCP without Nagle's delay, all addresses of a name tried (happy eyeballs), TLS with SNI."""

    async def connect(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> trio.abc.Stream:
        """See `Network.connect`. What is verified is up to `tls`, which `ssl.create_default_context` makes strict."""
        try:
            stream = await trio.open_tcp_stream(host, port)
        except OSError as error:
            raise ConnectFailed(f"no connection to {host}:{port}: {error}") from error
        if tls is None:
            return stream
        try:
            return await TlsStream.handshake(stream, tls, host)
        except (ssl.SSLError, ssl.CertificateError, trio.BrokenResourceError) as error:
            raise ConnectFailed(f"no TLS with {host}:{port}: {error}") from error


class MemoryNetwork:
    """A network inside the process, for tests and simulation: every connect starts a server task on a pipe.

    Servers run in `nursery` and take the whole run down if they raise. Each direction of a pipe holds at most
    `capacity` bytes, then the sender waits, as with TCP. There is no encryption: `tls` is ignored, so that URLs of
    real venues can be served.
    """

    def __init__(self, nursery: trio.Nursery, capacity: int = 1 << 20) -> None:
        self._nursery = nursery
        self._capacity = capacity
        self._servers: dict[tuple[str, int] | None, Serve] = {}

    def listen(self, serve: Serve, host: str | None = None, port: int = 0) -> None:
        """Have `serve` called for connections to `host` and `port`, or without `host` for all that nobody else serves.

        Its stream is closed when it returns. An earlier listener of the same place is replaced.
        """
        self._servers[None if host is None else (host, port)] = serve

    def unlisten(self, host: str | None = None, port: int = 0) -> None:
        """Refuse connections from now on, as a host that is down. Open ones stay."""
        self._servers.pop(None if host is None else (host, port), None)

    async def connect(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> PipeStream:
        """See `Network.connect`."""
        await trio.lowlevel.checkpoint()
        serve = self._servers.get((host, port)) or self._servers.get(None)
        if serve is None:
            raise ConnectFailed(f"no connection to {host}:{port}: refused")
        ours, theirs = open_pipe(self._capacity)
        self._nursery.start_soon(self._serve, serve, theirs)
        return ours

    async def _serve(self, serve: Serve, stream: PipeStream) -> None:
        async with stream:
            await serve(stream)
