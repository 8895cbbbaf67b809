"""unicorn-binance-websocket-api in raw mode (the default) with orjson in the callback; receive only."""

from __future__ import annotations

import importlib
import logging
import threading
from typing import Any
from urllib.parse import urlsplit

import orjson

from benchmarks.task import Meter, Task

ubwa: Any = importlib.import_module("unicorn_binance_websocket_api")


def run(task: Task) -> dict[str, Any]:
    logging.disable(logging.CRITICAL)
    meter, done = Meter(task), threading.Event()

    def on_message(raw: str, *_: Any, **__: Any) -> None:
        if meter.count("data" in orjson.loads(raw)):
            done.set()

    base = urlsplit(task.url)
    manager = ubwa.BinanceWebSocketApiManager(
        exchange="binance.com",
        websocket_base_uri=f"{base.scheme}://{base.netloc}/",
        warn_on_update=False,
        process_stream_data=on_message,
        disable_colorama=True,
    )
    manager.create_stream(["kline_1m"], [stream.partition("@")[0] for stream in task.streams])
    done.wait()
    return meter.result()
