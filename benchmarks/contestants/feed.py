"""candleactors from the socket to one subscriber: decode, continuity, hub, forming and closed candles.

The store is a stand-in that forgets what it is given; `feed_store` has a real one. It claims a candle of each stream,
so that nothing has to be fetched at the start; no REST answers. Option ``conflate_s`` sets how often the subscriber is
given a stream's forming candle at most.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import trio

from benchmarks.klines import ROUNDS_PER_MINUTE, START_MS
from benchmarks.task import Meter, Task
from candleactors import Candle, Feed, Gap, Settings, Source, Stream, Timeframe, open_feed
from candleactors.core.stretches import Stretch
from candleactors.model import GapSummary
from candleactors.settings import SubscriberSettings, VenueSettings
from candleactors.stores.base import Standing, Store

VENUE = "binance-spot"
MINUTE = Timeframe("1m")
NOBODY = "http://127.0.0.1:9"


class Forgetful:
    """A store that has the minute before the start, whatever happens."""

    async def write(self, candles: Sequence[Candle], gaps: Sequence[Gap], *, repaired_ms: int | None = None) -> None:
        await trio.lowlevel.checkpoint()

    async def tails(self, starts_ms: Mapping[Stream, int]) -> dict[Stream, list[Candle]]:
        await trio.lowlevel.checkpoint()
        return {stream: [minute_before(stream)] for stream in starts_ms}

    async def candles(
        self,
        stream: Stream,
        start_ms: int | None = None,
        end_ms: int | None = None,
        limit: int | None = None,
        *,
        newest: bool = False,
    ) -> list[Candle]:
        await trio.lowlevel.checkpoint()
        return [minute_before(stream)]

    async def standing(self, stream: Stream, count: int) -> Standing:
        await trio.lowlevel.checkpoint()
        return Standing(candles=(minute_before(stream),))

    async def gaps(self, stream: Stream) -> list[Gap]:
        await trio.lowlevel.checkpoint()
        return []

    async def covered(
        self, stream: Stream, start_ms: int | None = None, end_ms: int | None = None, *, complete: bool = False
    ) -> list[Stretch]:
        await trio.lowlevel.checkpoint()
        return []

    async def gap_summary(self, since_ms: int) -> GapSummary:
        await trio.lowlevel.checkpoint()
        return GapSummary(0, 0, {}, None, 0, 0)

    async def streams(self) -> list[Stream]:
        await trio.lowlevel.checkpoint()
        return []

    async def prune(self, stream: Stream, before_ms: int, *, most: int) -> int:
        await trio.lowlevel.checkpoint()
        return 0

    async def reclaim(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


def run(task: Task) -> dict[str, Any]:
    return trio.run(run_with, task, Forgetful())


async def run_with(task: Task, store: Store) -> dict[str, Any]:
    """Run the feed on `store`, which has `minute_before` of every stream."""
    logging.disable(logging.ERROR)
    if task.authority is not None:
        os.environ["SSL_CERT_FILE"] = task.authority
    meter = Meter(task)
    venue = VenueSettings(
        symbols=tuple(stream.symbol for stream in streams_of(task)),
        websocket_url=task.url.removesuffix("/stream"),
        rest_url=NOBODY,
        streams_per_connection=task.options.get("streams_per_connection", 1000),
        coalesce_s=task.options.get("coalesce_s", VenueSettings().coalesce_s),
    )
    conflate_s = task.options.get("conflate_s", SubscriberSettings().conflate_s)
    settings = Settings(venues={VENUE: venue}, subscriber=SubscriberSettings(conflate_s=conflate_s))
    async with open_feed(settings, store=store) as feed:
        return await _consume(feed, meter, task)


def streams_of(task: Task) -> list[Stream]:
    """Return the streams of a task."""
    return [Stream(VENUE, name.partition("@")[0].upper(), MINUTE) for name in task.streams]


async def _consume(feed: Feed, meter: Meter, task: Task) -> dict[str, Any]:
    """Take everything; the last message counts once the last closed candle has been delivered too."""
    candles = feed.candles(forming=True)
    rounds = task.messages // len(task.streams)
    closes = len(task.streams) * (rounds if task.options.get("boundary") else rounds // ROUNDS_PER_MINUTE)
    closed = forming = counted = 0
    while not meter.done:
        for event in await candles.batch():
            if isinstance(event, Candle) and event.closed:
                closed += 1
            else:
                forming += 1
        messages = feed.messages
        if messages < task.messages or closed == closes:
            meter.count(messages - counted)
            counted = messages
    return {**meter.result(), "closed": closed, "forming": forming}


def minute_before(stream: Stream) -> Candle:
    """Return the candle before the first one sent."""
    one = Decimal(1)
    return Candle(
        venue=stream.venue, symbol=stream.symbol, timeframe=stream.timeframe, open_time_ms=START_MS - 60_000,
        close_time_ms=START_MS - 1, open=one, high=one, low=one, close=one, volume=one, quote_volume=one, trades=1,
        taker_buy_volume=one, taker_buy_quote_volume=one, closed=True, complete=True, source=Source.REST, revision=0,
        received_ms=START_MS,
    )  # fmt: skip
