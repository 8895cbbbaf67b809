"""Lifelines: all that connects one simulated process with the world, to be cut when it dies."""

from __future__ import annotations

import ssl

from candleactors.errors import ConnectFailed
from candleactors.transport.network import MemoryNetwork
from candleactors.transport.pipe import PipeStream


class Lifeline:
    """The network of one process; a `candleactors.transport.network.Network`."""

    def __init__(self, network: MemoryNetwork) -> None:
        self._network = network
        self._streams: list[PipeStream] = []
        self._cut = False

    async def connect(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> PipeStream:
        """See `Network.connect`."""
        stream = await self._network.connect(host, port, tls)
        if self._cut:
            stream.abort()
            raise ConnectFailed("the process is dead")
        self._streams = [each for each in self._streams if not each.closed]
        self._streams.append(stream)
        return stream

    def cut(self) -> None:
        """End every connection as the system does when a process dies. Whatever its tasks do then, nobody hears of."""
        self._cut = True
        for stream in self._streams:
            stream.abort()
