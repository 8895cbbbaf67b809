"""The sequencer between connections and the aggregator: what is handed on, in which order, and what a restart keeps."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal

import pytest
import trio
from attrs import frozen
from test_subscription import BTC, candle

from candleactors.actors.delivery import Delivery
from candleactors.actors.interest import Interest
from candleactors.actors.mailbox import Mailbox
from candleactors.actors.messages import Batch, Fetched, Open, Opened, Wish
from candleactors.actors.sequencer import Sequencer
from candleactors.core.continuity_rules import ContinuityRules
from candleactors.core.fetch import Fetch, Urgency
from candleactors.core.sharding import ShardLimits
from candleactors.core.venue_clock import VenueClock
from candleactors.model import Candle, Source, Stream
from candleactors.transport.clock import VirtualClock
from candleactors.venues import codec
from candleactors.venues.base import Decoded

NAME = "btcusdt@kline_1m"


class Context:
    """A child's context without a supervisor."""

    id = "sequencer"
    incarnation = 1

    def __init__(self) -> None:
        self.stopping = trio.Event()

    def started(self) -> None:
        pass


@frozen
class Forming:
    """A forming candle as it came off the wire."""

    open_time_ms: int
    event_time_ms: int
    traded: float = 0.0

    def to_candle(self, stream: Stream, received_ms: int) -> Candle:
        return candle(self.open_time_ms // 60_000, stream).replace(closed=False)


class Bench:
    """A sequencer with its neighbours played by the test."""

    def __init__(self) -> None:
        clock = VirtualClock(600_000)  # ten minutes past
        self.venue_clock = VenueClock()
        self.interest = Interest({"binance-spot": ShardLimits(10, 1)}, clock)
        self.interest.watch("test", [BTC])
        self.wishes: Mailbox[Wish] = Mailbox(100)
        self.deliveries: Mailbox[Delivery] = Mailbox(3)
        self.sequencer = Sequencer(
            codec("binance-spot"), ContinuityRules(), clock=clock, venue_clock=self.venue_clock, interest=self.interest,
            deliveries=self.deliveries, wishes=self.wishes,
        )  # fmt: skip

    async def follow(self, resume_after: int) -> None:
        """Answer the sequencer's question about the store."""
        while True:
            for wish in await self.wishes.drain():
                if isinstance(wish, Open):
                    await self.sequencer.mailbox.put(Opened(BTC, resume_after * 60_000, (), ()))
                    await trio.sleep(1)
                    return

    def tell(self, *, closed: int | None = None, forming: int | None = None, volume: int = 1) -> None:
        """Put one batch into the mailbox."""
        decoded = Decoded(messages=1)
        if closed is not None:
            decoded.closed.append((NAME, candle(closed).replace(volume=Decimal(volume))))
        if forming is not None:
            decoded.open[NAME] = Forming(forming * 60_000, forming * 60_000 + 1)
        assert self.sequencer.mailbox.offer(Batch(decoded, 0))

    def delivered(self) -> list[Delivery]:
        return self.deliveries.take_all()


@asynccontextmanager
async def running(bench: Bench) -> AsyncIterator[Context]:
    """Run the sequencer around the body, then stop it in order."""
    context = Context()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.sequencer.run, context)
        yield context
        context.stopping.set()


async def test_no_forming_candle_after_the_close_of_its_interval(autojump_clock: object) -> None:
    """Both came in one wake; the forming one is overtaken."""
    bench = Bench()
    async with running(bench):
        await bench.follow(8)
        bench.tell(forming=9)
        bench.tell(closed=9)
        await trio.sleep(0.01)
        [delivery] = bench.delivered()
        assert delivery.events == [(BTC, candle(9))]
        assert delivery.forming == {}
        bench.tell(forming=10)
        await trio.sleep(0.01)
        [delivery] = bench.delivered()
        assert list(delivery.forming) == [BTC]


async def test_what_was_being_delivered_is_delivered_by_the_next_life(autojump_clock: object) -> None:
    """Cancelled while its reader was slow, and restarted."""
    bench = Bench()
    with trio.CancelScope() as scope:
        async with running(bench):
            await bench.follow(8)
            while bench.deliveries.offer(Delivery()):
                pass
            bench.tell(closed=9)
            await trio.sleep(1)
            scope.cancel()
            await trio.sleep(1)
    bench.delivered()
    async with running(bench):
        await trio.sleep(0.01)
        [delivery] = bench.delivered()
        assert delivery.events == [(BTC, candle(9))]


async def test_a_restart_goes_on_where_delivery_stands_though_the_store_is_behind(autojump_clock: object) -> None:
    bench = Bench()
    for life in (1, 2):
        async with running(bench):
            await bench.follow(7)
            if life == 1:
                bench.tell(closed=8)
                bench.tell(closed=9)
                await trio.sleep(0.01)
                assert len(bench.delivered()[0].events) == 2
            else:
                bench.tell(closed=9)
                bench.tell(closed=10)
                await trio.sleep(0.01)
                [delivery] = bench.delivered()
                assert delivery.events == [(BTC, candle(10))]


async def test_a_restart_knows_what_was_delivered_though_the_store_is_behind(autojump_clock: object) -> None:
    bench = Bench()
    bench.venue_clock.observe(600_000, 0.0, 0.0)
    for life in (1, 2):
        async with running(bench):
            await bench.follow(8)
            if life == 1:
                bench.tell(closed=9)
                await trio.sleep(0.01)
                bench.wishes.take_all()
            else:
                bench.tell(closed=9, volume=7)
                await trio.sleep(6)
                [fetch] = [wish for wish in bench.wishes.take_all() if isinstance(wish, Fetch)]
                assert fetch.urgency is Urgency.DOUBT


@pytest.mark.parametrize("unwatched", [True, False])
async def test_answers_about_streams_nobody_follows_are_dropped(autojump_clock: object, unwatched: bool) -> None:
    bench = Bench()
    async with running(bench):
        await bench.follow(8)
        bench.tell(closed=11)
        await trio.sleep(2)
        fetches = [wish for wish in bench.wishes.take_all() if isinstance(wish, Fetch)]
        assert fetches
        if unwatched:
            bench.interest.unwatch("test")
            await trio.sleep(1)
            assert bench.sequencer.followed == 0
        rows = [candle(n).replace(source=Source.REST) for n in (9, 10, 11)]
        await bench.sequencer.mailbox.put(Fetched(fetches[-1], rows, 13 * 60_000))
        await trio.sleep(0.01)
        events = [event for delivery in bench.delivered() for _, event in delivery.events]
        assert [event.open_time_ms // 60_000 for event in events if isinstance(event, Candle)] == (
            [] if unwatched else [9, 10, 11]
        )
