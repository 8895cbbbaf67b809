"""The aggregator of a feed at boundaries, between stand-ins for its neighbours: CPU from delivery to delivery."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, cast

import trio

from benchmarks.minutes import A_DAY, MINUTE, SIZES, minutes
from candleactors.actors.aggregator import Aggregator
from candleactors.actors.delivery import Delivery
from candleactors.actors.mailbox import Mailbox
from candleactors.model import Candle, Event, Gap, Stream, Timeframe
from candleactors.settings import AggregationSettings

_WARM_UP = 180


class _Before:
    """Interest in all sizes of every symbol, and a store that has the first candle of each."""

    def __init__(self, sources: list[Stream]) -> None:
        sizes = Timeframe.expand(SIZES)
        self._derived = {each: tuple(Stream(each.venue, each.symbol, size) for size in sizes) for each in sources}
        self.stored: dict[Stream, list[Candle]] = {}

    def version(self, venue: str) -> int:
        return 1

    def derived(self, venue: str) -> dict[Stream, tuple[Stream, ...]]:
        return self._derived

    async def tails(self, starts_ms: Mapping[Stream, int]) -> dict[Stream, list[Candle]]:
        await trio.lowlevel.checkpoint()
        return {stream: self.stored[stream] for stream in starts_ms if stream in self.stored}

    async def gaps(self, stream: Stream) -> list[Gap]:
        await trio.lowlevel.checkpoint()
        return []


class _Behind:
    """A store writer or a hub that takes everything and does nothing."""

    forming_version = 0

    def __init__(self) -> None:
        self.mailbox: Mailbox[Any] = Mailbox(4)

    def wants_forming(self, stream: Stream) -> bool:
        return False

    async def flush(self) -> None:
        await trio.lowlevel.checkpoint()


class _Context:
    id = "aggregator"
    incarnation = 1

    def __init__(self) -> None:
        self.stopping = trio.Event()

    def started(self) -> None:
        """Nobody waits for it."""


async def boundaries(symbols: int) -> dict[str, Any]:
    """Return what a day of boundaries of `symbols` costs, from the delivery in to the delivery out."""
    feeds = [minutes(f"{number:03}USDT", 2) for number in range(symbols)]
    sources = [Stream("binance-spot", f"{number:03}USDT", MINUTE) for number in range(symbols)]
    before, writer, hub, context = _Before(sources), _Behind(), _Behind(), _Context()
    aggregator = Aggregator(
        "binance-spot",
        AggregationSettings(),
        interest=cast(Any, before),
        store=cast(Any, before),
        writer=cast(Any, writer),
        hub=cast(Any, hub),
        on_trouble=print,
    )
    cpus_ns: list[int] = []
    walls_ns: list[int] = []
    made = 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(aggregator.run, context)
        for minute in range(-_WARM_UP, A_DAY):
            batch = [(source, next(feed)) for source, feed in zip(sources, feeds, strict=True)]
            if minute == -_WARM_UP:
                before.stored = {source: [candle] for source, candle in batch}
            events: list[tuple[Stream, Event]] = list(batch)
            cpu_ns, wall_ns = time.process_time_ns(), time.perf_counter_ns()
            await aggregator.mailbox.put(Delivery(events))
            deliveries: list[Delivery] = await hub.mailbox.drain()
            cpus_ns.append(time.process_time_ns() - cpu_ns)
            walls_ns.append(time.perf_counter_ns() - wall_ns)
            writer.mailbox.take_all()
            while aggregator.cold or not aggregator.derived:
                await trio.sleep(0.01)
                writer.mailbox.take_all()
                hub.mailbox.take_all()
            if minute >= 0:
                made += sum(len(delivery.events) for delivery in deliveries) - symbols
        context.stopping.set()
    measured = cpus_ns[_WARM_UP:]
    return {
        "symbols": symbols,
        "cpu_us_per_candle": round(sum(measured) / A_DAY / symbols / 1e3, 3),
        "wall_us_per_candle": round(sum(walls_ns[_WARM_UP:]) / A_DAY / symbols / 1e3, 3),
        "events": made,
        "minute_ms": round(sum(measured) / A_DAY / 1e6, 3),
        "largest_minute_ms": round(max(measured) / 1e6, 3),
    }
