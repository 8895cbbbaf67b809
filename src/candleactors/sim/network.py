"""A network in memory: connects clients to simulators without sockets, also under a mock clock."""

from __future__ import annotations

import ssl
from collections.abc import Mapping

import trio
import trio.testing

from candleactors.errors import ConnectFailed
from candleactors.sim.server import Simulator


class MemoryNetwork:
    """Opens byte streams to simulators by host name; any port. Has the shape of
    `candleactors.transport.network.Network`.

    Each connection is served by a task in `nursery`, which must outlive them. TLS is left out: both ends share a
    process.
    """

    def __init__(self, nursery: trio.Nursery, hosts: Mapping[str, Simulator]) -> None:
        self._nursery = nursery
        self._hosts = dict(hosts)

    async def connect(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> trio.abc.HalfCloseableStream:
        """Return a stream to the simulator of `host`; raises `ConnectFailed` where there is none or it refuses."""
        await trio.lowlevel.checkpoint()
        simulator = self._hosts.get(host)
        if simulator is None:
            raise ConnectFailed(f"no host {host}")
        if simulator.refusing:
            simulator.count_refused()
            raise ConnectFailed(f"{host}:{port} refused the connection")
        ours, theirs = trio.testing.memory_stream_pair()
        self._nursery.start_soon(simulator.serve_stream, theirs)
        return ours
