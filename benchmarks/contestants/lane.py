"""candleactors' bulk lane alone: messages split out of large reads and counted, not decoded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import trio

from benchmarks.task import Meter, Task, subscribe_requests
from candleactors.transport.network import TcpNetwork
from candleactors.transport.websocket import open_websocket

Count = Callable[[list[bytes]], int]


def run(task: Task) -> dict[str, Any]:
    return receive(task, count_klines)


def count_klines(batch: list[bytes]) -> int:
    # An acknowledgement is far shorter than a kline. Only the first batches hold any.
    return len(batch) if len(batch[0]) > 200 else sum(len(message) > 200 for message in batch)


def receive(task: Task, count: Count) -> dict[str, Any]:
    """Receive over as many connections as the task says, and meter what `count` makes of each batch."""
    meter = Meter(task)

    async def connection(streams: list[str], done: trio.Event) -> None:
        async with open_websocket(
            task.url,
            network=TcpNetwork(),
            coalesce_s=task.options.get("coalesce_s", 0.005),
            handshake_timeout_s=10,
            max_message_bytes=1 << 20,
            tls=task.tls(),
        ) as websocket:
            for request in subscribe_requests(streams):
                await websocket.send(request.encode())
            while not meter.count(count(await websocket.receive())):
                pass
            done.set()

    async def main() -> None:
        done = trio.Event()
        async with trio.open_nursery() as nursery:
            for streams in task.connections():
                nursery.start_soon(connection, streams, done)
            await done.wait()
            nursery.cancel_scope.cancel()

    trio.run(main)
    return meter.result()
