"""asyncio websockets (its C accelerator included) and orjson; receive only."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import websockets.asyncio.client

from benchmarks.task import Meter, Task, subscribe_requests


def run(task: Task) -> dict[str, Any]:
    meter = Meter(task)

    async def main() -> None:
        async with websockets.asyncio.client.connect(
            task.url, ssl=task.tls(), compression=None, close_timeout=0.1, proxy=None
        ) as websocket:
            for request in subscribe_requests(task.streams):
                await websocket.send(request)
            while not meter.done:
                message = orjson.loads(await websocket.recv(decode=False))
                meter.count("data" in message)

    asyncio.run(main())
    return meter.result()
