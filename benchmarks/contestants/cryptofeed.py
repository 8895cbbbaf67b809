"""cryptofeed's Binance feed, its own parsing to `Candle` objects with `Decimal`, one callback, on uvloop."""

from __future__ import annotations

import asyncio
import importlib
from typing import Any
from urllib.parse import urlsplit

from benchmarks.task import Meter, Task

# Imported by name: the peer has no types and need not be installed.
feedhandler: Any = importlib.import_module("cryptofeed")
connection: Any = importlib.import_module("cryptofeed.connection")
exchanges: Any = importlib.import_module("cryptofeed.exchanges")
symbols: Any = importlib.import_module("cryptofeed.symbols")
uvloop: Any = importlib.import_module("uvloop")


def run(task: Task) -> dict[str, Any]:
    meter = Meter(task)
    base = urlsplit(task.url)

    def accept_plain(self: Any, address: str, conn_id: str, **options: Any) -> None:
        # cryptofeed refuses ws:// in this constructor; the rest of it is as it is there.
        self.address = address
        self.ws_kwargs = {key: value for key, value in options.items() if key not in ("authentication", "subscription")}
        connection.AsyncConnection.__init__(
            self,
            f"{conn_id}.ws.{self.conn_count}",
            authentication=options.get("authentication"),
            subscription=options.get("subscription"),
        )

    connection.WSAsyncConn.__init__ = accept_plain
    names = [stream.partition("@")[0].upper() for stream in task.streams]
    normalized = {f"{name.removesuffix('USDT')}-USDT": name for name in names}
    symbols.Symbols.set("BINANCE", normalized, {"instrument_type": dict.fromkeys(normalized, "spot"), "tick_size": {}})
    exchanges.Binance.websocket_endpoints = [connection.WebsocketEndpoint(f"{base.scheme}://{base.netloc}")]

    async def on_candle(candle: Any, receipt_timestamp: float) -> None:
        if meter.count(1):
            asyncio.get_running_loop().stop()

    asyncio.set_event_loop(uvloop.new_event_loop())
    handler = feedhandler.FeedHandler(config={"uvloop": False, "log": {"disabled": True}})
    handler.add_feed(
        exchanges.Binance(
            symbols=list(normalized), channels=["candles"], callbacks={"candles": on_candle}, candle_closed_only=False
        )
    )
    handler.run(install_signal_handlers=False)
    return meter.result()
