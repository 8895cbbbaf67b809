"""An aggregator with its neighbours played by the test: a real store and interest, a writer and a hub that keep."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from decimal import Decimal
from inspect import iscoroutinefunction
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio
from attrs import frozen
from test_sequencer import Context
from test_subscription import BTC

from candleactors.actors.aggregator import Aggregator
from candleactors.actors.delivery import Delivery
from candleactors.actors.hub import Hub
from candleactors.actors.interest import Interest
from candleactors.actors.mailbox import Mailbox
from candleactors.actors.subscription import Subscription
from candleactors.core.sharding import ShardLimits
from candleactors.core.stretches import Stretch
from candleactors.errors import StoreUnavailable
from candleactors.model import Candle, Event, Gap, GapReason, GapSummary, Revision, Source, Stream, Timeframe
from candleactors.settings import AggregationSettings, SubscriberSettings
from candleactors.stores.base import Standing
from candleactors.stores.sqlite import SqliteStore, open_sqlite
from candleactors.testing import contract_breaches, final_candles, reference_resample
from candleactors.transport.clock import VirtualClock

SPOT = "binance-spot"
DAY = 28_333_440  # 2023-11-15 00:00 UTC, in minutes since the epoch
MINUTE_MS = 60_000


def derived(frame: str, source: Stream = BTC) -> Stream:
    return Stream(source.venue, source.symbol, Timeframe(frame))


def minute(n: int, stream: Stream = BTC, *, corrected: int = 0) -> Candle:
    """Return the `n`th minute of the day, each unlike the others; the higher `corrected`, the more was traded."""
    rng = Random(n * 1_000 + len(stream.symbol) + ord(stream.symbol[0]))
    opened, close = Decimal(rng.randrange(9_000, 9_100)), Decimal(rng.randrange(9_000, 9_100))
    amount = Decimal(rng.randrange(1, 10_000)).scaleb(-3) + corrected
    trades = 0 if n % 7 == 3 and not corrected else rng.randrange(1, 50)
    amount = amount if trades else Decimal(0)
    open_ms = (DAY + n) * MINUTE_MS
    return Candle(
        venue=stream.venue, symbol=stream.symbol, timeframe=stream.timeframe, open_time_ms=open_ms,
        close_time_ms=open_ms + MINUTE_MS - 1, open=opened, high=max(opened, close) + corrected,
        low=min(opened, close) - 1, close=close, volume=amount, quote_volume=amount * 9_050, trades=trades,
        taker_buy_volume=amount / 2, taker_buy_quote_volume=amount * 4_525, closed=True, complete=True,
        source=Source.WS, revision=corrected, received_ms=open_ms + MINUTE_MS + 7,
    )  # fmt: skip


def gap(first: int, last: int, stream: Stream = BTC) -> Gap:
    return Gap(stream, (DAY + first) * MINUTE_MS, (DAY + last) * MINUTE_MS, GapReason.UNREPAIRED)


def revised(n: int, stream: Stream = BTC, *, corrected: int = 1) -> Revision:
    return Revision(minute(n, stream, corrected=corrected))


@frozen
class Forming:
    """A forming minute as it came off the wire."""

    n: int
    made: list[int]
    stream: Stream = BTC

    @property
    def open_time_ms(self) -> int:
        return (DAY + self.n) * MINUTE_MS

    def to_candle(self, stream: Stream, received_ms: int) -> Candle:
        self.made.append(self.n)
        return minute(self.n, stream).replace(closed=False, complete=False, received_ms=received_ms)


class Shelf:
    """The real store, which can be told to fail and to take its time."""

    def __init__(self, store: SqliteStore) -> None:
        self.inner = store
        self.refuses = False
        self.slow_s = 0.0

    async def write(self, candles: Sequence[Candle], gaps: Sequence[Gap], *, repaired_ms: int | None = None) -> None:
        self._check()
        await self.inner.write(candles, gaps, repaired_ms=repaired_ms)

    async def tails(self, starts_ms: Mapping[Stream, int]) -> dict[Stream, list[Candle]]:
        self._check()
        await trio.sleep(self.slow_s)
        return await self.inner.tails(starts_ms)

    async def candles(self, stream: Stream, *args: Any, **kwargs: Any) -> list[Candle]:
        self._check()
        return await self.inner.candles(stream, *args, **kwargs)

    async def standing(self, stream: Stream, count: int) -> Standing:
        self._check()
        return await self.inner.standing(stream, count)

    async def gaps(self, stream: Stream) -> list[Gap]:
        self._check()
        return await self.inner.gaps(stream)

    async def covered(self, stream: Stream, *args: Any, **kwargs: Any) -> list[Stretch]:
        self._check()
        return await self.inner.covered(stream, *args, **kwargs)

    async def gap_summary(self, since_ms: int) -> GapSummary:
        self._check()
        return await self.inner.gap_summary(since_ms)

    async def streams(self) -> list[Stream]:
        self._check()
        return await self.inner.streams()

    async def prune(self, stream: Stream, before_ms: int, *, most: int) -> int:
        self._check()
        return await self.inner.prune(stream, before_ms, most=most)

    async def reclaim(self) -> None:
        await self.inner.reclaim()

    async def aclose(self) -> None:
        await self.inner.aclose()

    def _check(self) -> None:
        if self.refuses:
            raise StoreUnavailable("the disk is gone")


class Writer:
    """A store writer that writes when it is asked to."""

    def __init__(self, store: Shelf) -> None:
        self.mailbox: Mailbox[list[tuple[Stream, Event]]] = Mailbox(1_024)
        self.flushes = 0
        self._store = store
        self._pending: list[list[tuple[Stream, Event]]] = []

    async def flush(self) -> None:
        self.flushes += 1
        await trio.lowlevel.checkpoint()
        if self._store.refuses:
            raise StoreUnavailable("the disk is gone")
        self._pending += self.mailbox.take_all()
        while self._pending:
            said = [event.candle if isinstance(event, Revision) else event for _, event in self._pending[0]]
            gaps = [each for each in said if isinstance(each, Gap)]
            await self._store.write([each for each in said if isinstance(each, Candle)], gaps)
            del self._pending[0]


class Bench:
    """An aggregator, and what a reader got from it so far."""

    def __init__(self, store: SqliteStore, *, hub: int = 256, **settings: int) -> None:
        self.store = Shelf(store)
        self.writer = Writer(self.store)
        self.hub = Hub(SubscriberSettings())
        self.hub.mailbox = Mailbox(hub)
        self.interest = Interest(
            {SPOT: ShardLimits(1_000, 1)},
            VirtualClock(0),
            carrier_of=lambda stream: Stream(stream.venue, stream.symbol, BTC.timeframe),
        )
        self.troubles: list[StoreUnavailable] = []
        writer: Any = self.writer
        self.aggregator = Aggregator(
            SPOT, AggregationSettings(**settings), interest=self.interest, store=self.store, writer=writer,
            hub=self.hub, on_trouble=self.troubles.append,
        )  # fmt: skip
        self.events: list[Event] = []
        self.deliveries: list[Delivery] = []
        self.readers: list[Subscription] = []

    def watch(self, *frames: str, source: Stream = BTC) -> None:
        """Want the source in `frames`."""
        self.interest.watch("test", [derived(frame, source) for frame in frames])

    def unwatch(self, *frames: str, source: Stream = BTC) -> None:
        self.interest.unwatch("test", [derived(frame, source) for frame in frames])

    def tell(self, *events: Event, forming: Collection[Forming] = ()) -> None:
        """Have the sequencer deliver, in one step."""
        pairs = [(event.stream, event) for event in events]
        told = {each.stream: (each, 1) for each in forming}
        assert self.aggregator.mailbox.offer(Delivery(pairs, dict(told)))

    async def step(self, *events: Event, forming: Collection[Forming] = ()) -> list[Event]:
        """Deliver, let the aggregator work, and return what the hub got."""
        self.tell(*events, forming=forming)
        return await self.settle()

    async def settle(self, seconds: float = 0.3) -> list[Event]:
        """Give the aggregator some time and return what the hub got in it."""
        await trio.sleep(seconds)
        return self.collect()

    def collect(self) -> list[Event]:
        deliveries = self.hub.mailbox.take_all()
        events = [event for delivery in deliveries for _, event in delivery.events]
        for delivery in deliveries:
            for reader in self.readers:
                reader.offer(delivery)
        self.deliveries += deliveries
        self.events += events
        return events

    def of(self, stream: Stream) -> list[Event]:
        return [event for event in self.events if event.stream == stream]

    async def stored(self, stream: Stream) -> list[Candle]:
        await self.writer.flush()
        return await self.store.inner.candles(stream)

    async def assert_right(self, *frames: str, source: Stream = BTC, partial: bool = False) -> None:
        """Check that readers were told once and in order, and that they and the store have what a rebuild has.

        Unless `partial`, from the first whole interval on; what the beginning cuts may be left out.
        """
        assert contract_breaches(self.events) == []
        constituents = final_candles(self.of(source))
        end_ms = self._end_ms(source)
        assert unmarked(await self.stored(source)) == unmarked(constituents)
        for frame in frames:
            stream = derived(frame, source)
            told = since(final_candles(self.of(stream)), constituents[0].open_time_ms)
            whole = [each for each in reference_resample(constituents, frame) if each.close_time_ms < end_ms]
            right = since(whole, told[0].open_time_ms if partial else constituents[0].open_time_ms)
            assert unmarked(told) == unmarked(right), frame
            stored = since(await self.stored(stream), told[0].open_time_ms if told else end_ms)
            assert unmarked(stored) == unmarked(told), f"{frame} in the store"
            assert [each.revision for each in stored] == [each.revision for each in told], f"revisions of {frame}"
            if not partial:
                self._assert_to_the_end(stream, end_ms)

    def _end_ms(self, source: Stream) -> int:
        ends = [0]
        for event in self.of(source):
            if isinstance(event, Gap):
                ends.append(event.last_open_ms + MINUTE_MS)
            elif isinstance(event, Candle):
                ends.append(event.next_open_time_ms)
        return max(ends)

    def _assert_to_the_end(self, stream: Stream, end_ms: int) -> None:
        """That there are no holes is the contract's business."""
        told = [event for event in self.of(stream) if not isinstance(event, Revision)]
        ends = [each.last_open_ms if isinstance(each, Gap) else each.open_time_ms for each in told]
        until_ms = stream.timeframe.next_open(ends[-1]) if ends else stream.timeframe.floor(DAY * MINUTE_MS)
        assert until_ms == stream.timeframe.floor(end_ms), f"{stream} is behind"


def unmarked(candles: Iterable[Candle]) -> list[Candle]:
    """Return closed candles without what depends on the way they came."""
    return [candle.replace(closed=True, revision=0, received_ms=0) for candle in candles]


def since(candles: Iterable[Candle], first_ms: int) -> list[Candle]:
    return [candle for candle in candles if candle.open_time_ms >= first_ms]


class Bug(Exception):
    """Something nobody foresaw."""


class Saboteur:
    """Makes a method of the aggregator fail once, at a call counted from 0, before or after it has done its work."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str, call: int, *, late: bool) -> None:
        self.struck = 0
        self.armed = False
        self._name = name
        self._calls_to_go = call
        original = getattr(Aggregator, name)

        async def bad_later(*args: Any) -> Any:
            with self._striking(late) as at_once:
                return None if at_once else await original(*args)

        def bad(*args: Any) -> Any:
            with self._striking(late) as at_once:
                return None if at_once else original(*args)

        monkeypatch.setattr(Aggregator, name, bad_later if iscoroutinefunction(original) else bad)

    @contextmanager
    def _striking(self, late: bool) -> Iterator[bool]:
        strikes = self.armed and not self.struck and self._calls_to_go == 0
        self._calls_to_go -= self.armed
        self.struck += strikes
        yield strikes and not late
        if strikes:
            raise Bug(self._name)


@asynccontextmanager
async def running(bench: Bench) -> AsyncIterator[Context]:
    """Run the aggregator around the body, again after each bug, then stop it in order."""
    context = Context()

    async def supervise() -> None:
        again = True
        while again:
            again = False
            try:
                await bench.aggregator.run(context)
            except* Bug:
                again = True

    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervise)
        await bench.settle()
        yield context
        context.stopping.set()
    bench.collect()


@asynccontextmanager
async def opened(tmp_path: Path, *frames: str, **settings: int) -> AsyncIterator[Bench]:
    """Provide a bench on which `frames` are wanted, with a store that may be there from before."""
    async with open_sqlite(tmp_path / "candles.sqlite", threaded=False) as store:
        bench = Bench(store, **settings)
        if frames:
            bench.watch(*frames)
        yield bench


def frames_of(events: Iterable[Event]) -> list[str]:
    return [str(event.stream.timeframe) for event in events]
