"""candleactors whole: decode, continuity, store, hub and one subscriber who takes forming and closed candles.

The store is a real file in which each stream already has a candle, so that nothing has to be fetched at the start; no
REST answers. Option ``conflate_s`` sets how often the subscriber is given a stream's forming candle at most.
"""

from __future__ import annotations

import logging
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import trio
from attrs import evolve

from benchmarks.klines import START_MS
from benchmarks.task import Meter, Task
from candleactors import Candle, Feed, Settings, Source, Stream, Timeframe, open_feed
from candleactors.settings import StoreSettings, SubscriberSettings, VenueSettings
from candleactors.stores.sqlite import open_sqlite

VENUE = "binance-spot"
MINUTE = Timeframe("1m")
NOBODY = "http://127.0.0.1:9"


def run(task: Task) -> dict[str, Any]:
    logging.disable(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        return trio.run(_run, task, Path(folder) / "candles.sqlite")


async def _run(task: Task, path: Path) -> dict[str, Any]:
    streams = [Stream(VENUE, name.partition("@")[0].upper(), MINUTE) for name in task.streams]
    async with open_sqlite(path) as store:
        await store.write([_before(stream) for stream in streams], [])
    meter = Meter(task)
    venue = VenueSettings(
        symbols=tuple(stream.symbol for stream in streams),
        websocket_url=task.url.removesuffix("/stream"),
        rest_url=NOBODY,
        streams_per_connection=task.options.get("streams_per_connection", 1000),
        coalesce_s=task.options.get("coalesce_s", VenueSettings().coalesce_s),
        messages_per_s=100,
    )
    settings = Settings(
        venues={VENUE: venue},
        store=StoreSettings(path=path),
        subscriber=SubscriberSettings(conflate_s=task.options.get("conflate_s", SubscriberSettings().conflate_s)),
    )
    async with open_feed(settings) as feed:
        return await _consume(feed, meter, task)


async def _consume(feed: Feed, meter: Meter, task: Task) -> dict[str, Any]:
    candles = feed.candles(forming=True)
    closed = forming = counted = 0
    while not meter.done:
        for event in await candles.batch():
            if isinstance(event, Candle) and event.closed:
                closed += 1
            else:
                forming += 1
        messages = feed.messages
        meter.count(messages - counted)
        counted = messages
    return {**meter.result(), "closed": closed, "forming": forming}


def _before(stream: Stream) -> Candle:
    one = Decimal(1)
    candle = Candle(
        venue=stream.venue, symbol=stream.symbol, timeframe=stream.timeframe, open_time_ms=START_MS,
        close_time_ms=START_MS + 59_999, open=one, high=one, low=one, close=one, volume=one, quote_volume=one, trades=1,
        taker_buy_volume=one, taker_buy_quote_volume=one, closed=True, complete=True, source=Source.REST, revision=0,
        received_ms=START_MS,
    )  # fmt: skip
    return evolve(candle, open_time_ms=START_MS - 60_000, close_time_ms=START_MS - 1)
