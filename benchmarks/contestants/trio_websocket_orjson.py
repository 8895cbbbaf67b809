"""trio-websocket as its users run it, and orjson; receive only."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import orjson
import trio
import trio_websocket

from benchmarks.task import Meter, Task, subscribe_requests


def run(task: Task) -> dict[str, Any]:
    meter = Meter(task)

    async def main() -> None:
        async with trio_websocket.open_websocket_url(task.url, task.tls(), disconnect_timeout=0.1) as websocket:
            for request in subscribe_requests(task.streams):
                await websocket.send_message(request)
            while not meter.done:
                message = orjson.loads(await websocket.get_message())
                meter.count("data" in message)
            raise _Done

    with suppress(_Done, trio_websocket.DisconnectionTimeout):
        trio.run(main)
    return meter.result()


class _Done(Exception):
    """Everything is counted."""
