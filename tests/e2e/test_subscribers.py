"""Readers: slow ones are cut off and go on from the store, others never notice; forming candles conflate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import evolve
from e2e_world import SPOT, Judge, World, open_world, spot

from candleactors.errors import SubscriberLagged
from candleactors.feed import Feed
from candleactors.model import Candle, Cursor, Revision, Stream, Timeframe
from candleactors.settings import RepairSettings, SubscriberSettings
from candleactors.sim.faults import FaultKind

SECOND = Stream(SPOT, "BTCUSDT", Timeframe("1s"))


async def sluggish(world: World, feed: Feed, judge: Judge, pauses_s: list[float]) -> int:
    """Read with pauses, resuming whenever cut off; return how often that was."""
    lagged, cursor = 0, None
    while True:
        try:
            async with feed.candles(after=cursor) as subscription:
                async for event in subscription:
                    judge.take(event)
                    if pauses_s and world.clock.monotonic_s() > 20:
                        await trio.sleep(pauses_s.pop(0))
        except SubscriberLagged as error:
            lagged, cursor = lagged + 1, error.cursor
        else:
            judge.done.set()
            return lagged


async def test_a_slow_reader_is_cut_off_and_resumes_without_a_seam(autojump_clock: object, tmp_path: Path) -> None:
    subscriber = SubscriberSettings(max_pending=60)
    async with open_world(tmp_path, subscriber=subscriber, repair=RepairSettings(history=10)) as world:
        lagged: list[int] = []
        async with world.feed() as feed:
            quick, slow = world.judge(feed), Judge(world)

            async def read() -> None:
                lagged.append(await sluggish(world, feed, slow, [50.0, 0.0, 40.0, 1.0, 3.0, 35.0, 45.0]))

            world.nursery.start_soon(read)
            await trio.sleep(300)
            status = feed.status()
        await quick.verdict()
        await slow.verdict()
        assert lagged == [status.lagged]
        assert status.lagged >= 2
        assert quick.lagged is None
        assert quick.latest_delay_ms < 2_000


async def test_cut_off_while_still_replaying(autojump_clock: object, tmp_path: Path) -> None:
    """The cursor of a reader that lags in the middle of its replay forgets no stream and repeats nothing."""
    settings: dict[str, Any] = {"subscriber": SubscriberSettings(max_pending=40), "repair": RepairSettings(history=5)}
    async with open_world(tmp_path, spot("BTCUSDT", "ETHUSDT", "SOLUSDT"), **settings) as world:
        async with world.feed() as feed:
            whole = world.judge(feed)
            await trio.sleep(100)
            judge = Judge(world)
            cursor = evolve(
                whole.subscription.cursor, after={stream: min(whole.opens(stream)) for stream in whole.streams}
            )
            judge.next_ms.update({stream: stream.timeframe.next_open(ms) for stream, ms in cursor.after.items()})
            cut_off = 0
            subscription = feed.candles(after=cursor)
            for pause_s in (0.0, 30.0, 0.0, 0.0, 30.0, 30.0, 20.0, 0.0, *[0.0] * 100):
                try:
                    with trio.move_on_after(10):
                        for event in await subscription.batch():
                            judge.take(event)
                except SubscriberLagged as lagged:
                    cut_off += 1
                    subscription = feed.candles(after=lagged.cursor)
                await trio.sleep(pause_s)
            assert cut_off >= 3
            until_ms = world.now_ms()
            subscription.close()
            judge.done.set()
        await judge.verdict(until_ms=until_ms, store=False)
        await whole.verdict()


async def test_a_late_reader_resumes_from_a_cursor(autojump_clock: object, tmp_path: Path) -> None:
    async with open_world(tmp_path, spot(frames=("1s", "1m"))) as world:
        async with world.feed() as feed:
            first = world.judge(feed)
            await trio.sleep(60)
            cursor = first.subscription.cursor
            first.subscription.close()
            await first.done.wait()
            await trio.sleep(100)
            world.inject(FaultKind.DROP)
            second = world.judge(feed, after=cursor)
            await trio.sleep(60)
        await second.verdict()
        assert not first.complaints
        for stream in first.streams:
            together = sorted([*first.opens(stream), *second.opens(stream)])
            assert together == list(stream.timeframe.opens(together[0], together[-1] + 1))


async def test_a_selection_gets_what_it_selected(autojump_clock: object, tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        async with world.feed() as feed:
            judge = world.judge(feed, [SECOND], forming=False)
            await trio.sleep(60)
        await judge.verdict(streams=[SECOND])
        assert judge.streams == [SECOND]
        assert judge.forming == 0


async def test_forming_candles_conflate(autojump_clock: object, tmp_path: Path) -> None:
    subscriber = SubscriberSettings(conflate_s=5.0)
    async with open_world(tmp_path, spot(frames=("1m", "1h")), subscriber=subscriber) as world:
        async with world.feed() as feed:
            judge = world.judge(feed)
            await trio.sleep(200)
        await judge.verdict()
        assert 60 < judge.forming <= 4 * 42
        assert judge.latest_delay_ms < 100


async def test_no_forming_candle_while_an_earlier_one_is_missing(autojump_clock: object, tmp_path: Path) -> None:
    """The judge complains about any; here the hole stays open for a good while."""
    repair = RepairSettings(deadline_s=90.0)
    async with open_world(tmp_path, spot(frames=("1m",)), repair=repair) as world:
        async with world.feed() as feed:
            judge = world.judge(feed)
            await trio.sleep(30)
            world.inject(FaultKind.REST_ERROR, code=500, duration_s=50.0)
            world.inject(FaultKind.LOST_CLOSE, duration_s=15.0)
            await trio.sleep(12)
            formed = judge.forming
            await trio.sleep(30)
            assert judge.forming == formed
            await trio.sleep(60)
            assert judge.forming > formed
        await judge.verdict()
        assert not judge.gaps


async def test_a_reader_that_left_costs_nothing(autojump_clock: object, tmp_path: Path) -> None:
    async with open_world(tmp_path) as world, world.feed() as feed:
        for _ in range(50):
            feed.candles(forming=True)
        async with feed.candles() as kept:
            async for event in kept:
                assert isinstance(event, Candle | Revision)
                break
        await trio.sleep(30)
        assert feed.status().subscribers == 0


async def test_the_end_of_the_feed_ends_every_reader(autojump_clock: object, tmp_path: Path) -> None:
    """Also one that sleeps, one that never read, and one that is waiting for the store."""
    async with open_world(tmp_path) as world:
        async with world.feed() as feed:
            judge = world.judge(feed)
            unread = feed.candles()
            await trio.sleep(30)
        await judge.done.wait()
        events = [event async for event in unread]
        assert len(events) > 60
        with pytest.raises(StopAsyncIteration):
            await unread.__anext__()


async def test_a_resuming_reader_survives_the_end_of_the_feed(autojump_clock: object, tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        async with world.feed() as feed:
            judge = world.judge(feed)
            await trio.sleep(30)
            subscription = feed.candles(after=Cursor({SECOND: min(judge.opens(SECOND))}))
        with trio.fail_after(30):
            assert [event async for event in subscription] == []
