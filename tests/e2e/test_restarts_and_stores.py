"""Restarts with the same store, and stores that fail: resumed without a seam, written in the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import evolve
from e2e_world import EPOCH, SPOT, Judge, World, open_world, spot

from candleactors.core.stretches import Stretch
from candleactors.errors import StoreUnavailable
from candleactors.model import Candle, Cursor, Gap, GapReason, GapSummary, Stream, Timeframe
from candleactors.settings import RepairSettings, StoreSettings
from candleactors.sim.faults import FaultKind
from candleactors.stores.base import Standing
from candleactors.stores.sqlite import SqliteStore

SECOND = Stream(SPOT, "BTCUSDT", Timeframe("1s"))
MINUTE = Stream(SPOT, "BTCUSDT", Timeframe("1m"))


class BadStore:
    """A SQLite store that can be told to fail."""

    def __init__(self, store: SqliteStore) -> None:
        self.refuses_writes = False
        self.refuses_reads = False
        self.slow_s = 0.0
        self.attempts = 0
        self._store = store

    async def write(self, candles: Sequence[Candle], gaps: Sequence[Gap], *, repaired_ms: int | None = None) -> None:
        self.attempts += 1
        await trio.sleep(self.slow_s)
        if self.refuses_writes:
            raise StoreUnavailable("the disk is full")
        await self._store.write(candles, gaps, repaired_ms=repaired_ms)

    async def tails(self, starts_ms: Mapping[Stream, int]) -> dict[Stream, list[Candle]]:
        self._check()
        return await self._store.tails(starts_ms)

    async def candles(self, stream: Stream, *args: Any, **kwargs: Any) -> list[Candle]:
        self._check()
        return await self._store.candles(stream, *args, **kwargs)

    async def standing(self, stream: Stream, count: int) -> Standing:
        self._check()
        return await self._store.standing(stream, count)

    async def gaps(self, stream: Stream) -> list[Gap]:
        self._check()
        return await self._store.gaps(stream)

    async def covered(self, stream: Stream, *args: Any, **kwargs: Any) -> list[Stretch]:
        self._check()
        return await self._store.covered(stream, *args, **kwargs)

    async def gap_summary(self, since_ms: int) -> GapSummary:
        self._check()
        return await self._store.gap_summary(since_ms)

    async def streams(self) -> list[Stream]:
        self._check()
        return await self._store.streams()

    async def prune(self, stream: Stream, before_ms: int, *, most: int) -> int:
        self._check()
        return await self._store.prune(stream, before_ms, most=most)

    async def reclaim(self) -> None:
        await self._store.reclaim()

    async def aclose(self) -> None:
        await self._store.aclose()

    def _check(self) -> None:
        if self.refuses_reads:
            raise StoreUnavailable("the disk does not answer")


async def bad_store(world: World) -> BadStore:
    return BadStore(await SqliteStore.open(world.path, threaded=False))


async def test_a_restart_goes_on_where_the_store_ends(autojump_clock: object, tmp_path: Path) -> None:
    async with open_world(tmp_path, spot(frames=("1s", "1m", "1h"))) as world:
        async with world.feed() as feed:
            first = world.judge(feed)
            await trio.sleep(100)
        await first.verdict()
        await trio.sleep(400)
        async with world.feed() as feed:
            second = world.judge(feed)
            await trio.sleep(100)
        await second.verdict(store=False)
        for stream in first.streams:
            assert not set(first.opens(stream)) & set(second.opens(stream)), "nothing is repeated"
            together = sorted([*first.opens(stream), *second.opens(stream)])
            assert together == list(stream.timeframe.opens(together[0], together[-1] + 1))
            stored, gaps = await world.stored(stream)
            assert [candle.open_time_ms for candle in stored] == together
            assert not gaps


async def test_a_restart_after_days_fetches_page_after_page(autojump_clock: object, tmp_path: Path) -> None:
    async with open_world(tmp_path, spot("BTCUSDT", frames=("1m", "15m"))) as world:
        async with world.feed() as feed:
            first = world.judge(feed)
            await trio.sleep(100)
        await first.verdict()
        await trio.sleep(3 * 86_400)
        async with world.feed() as feed:
            second = world.judge(feed, forming=False)
            await trio.sleep(60)
            assert feed.status().venues[0].repairing == 0
        await second.verdict(store=False)
        assert len(second.opens(MINUTE)) > 3 * 1440 - 3
        assert not set(first.opens(MINUTE)) & set(second.opens(MINUTE))
        assert not second.gaps
        assert world.violations() == {}


async def test_readers_resume_across_a_restart(autojump_clock: object, tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        async with world.feed() as feed:
            first = world.judge(feed)
            await trio.sleep(60)
            cursor = first.subscription.cursor
            first.subscription.close()
            await trio.sleep(50)
        await trio.sleep(100)
        async with world.feed() as feed:
            second = world.judge(feed, after=cursor)
            await trio.sleep(60)
        await second.verdict()
        assert not first.complaints
        for stream in first.streams:
            together = sorted([*first.opens(stream), *second.opens(stream)])
            assert together == list(stream.timeframe.opens(together[0], together[-1] + 1))


async def test_gaps_are_tried_again_after_a_restart(autojump_clock: object, tmp_path: Path) -> None:
    repair = RepairSettings(deadline_s=15.0)
    async with open_world(tmp_path, spot(frames=("1s",)), repair=repair) as world:
        async with world.feed() as feed:
            first = world.judge(feed)
            await trio.sleep(30)
            world.inject(FaultKind.REST_ERROR, code=500, duration_s=60.0)
            world.inject(FaultKind.LOST_CLOSE, duration_s=8.0)
            await trio.sleep(45)
            assert first.gaps
        assert not first.complaints
        await trio.sleep(60)
        async with world.feed() as feed:
            second = world.judge(feed)
            await trio.sleep(60)
        await second.done.wait()
        assert [c for c in second.complaints if "comes before its candle" not in c] == []
        assert len(second.revisions) == sum(gap.count for gap in first.gaps)
        for stream in first.streams:
            stored, gaps = await world.stored(stream)
            assert not gaps
            opens = [candle.open_time_ms for candle in stored]
            assert opens == list(stream.timeframe.opens(opens[0], opens[-1] + 1))


async def test_a_store_that_cannot_be_written_for_a_while(autojump_clock: object, tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        store = await bad_store(world)
        async with world.feed(store=store) as feed:
            judge = world.judge(feed)
            await trio.sleep(30)
            store.refuses_writes, store.attempts = True, 0
            world.inject(FaultKind.DROP)
            await trio.sleep(120)
            status = feed.status()
            assert not status.healthy
            assert status.store.error is not None
            assert "disk is full" in status.store.error
            assert status.store.pending > 200
            assert trio.current_time() - judge.last_seen_s[SECOND] < 3, "readers do not notice"
            assert store.attempts < 30
            with pytest.raises(StoreUnavailable):
                await feed.history(SECOND)
            store.refuses_writes = False
            await trio.sleep(90)
            assert feed.status().healthy
            assert feed.status().store.pending < 10
            assert await feed.history(SECOND, newest=True, limit=1)
        await store.aclose()
        await judge.verdict()
        assert world.log.named("store trouble")


async def test_more_rows_than_memory_allows_are_fetched_after_a_restart(autojump_clock: object, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"store": StoreSettings(max_pending=50), "repair": RepairSettings(history=20)}
    async with open_world(tmp_path, spot(frames=("1s",)), **settings) as world:
        store = await bad_store(world)
        async with world.feed(store=store) as feed:
            first = world.judge(feed)
            await trio.sleep(30)
            store.refuses_writes = True
            await trio.sleep(100)
            assert feed.status().store.shed > 100
            store.refuses_writes = False
            await trio.sleep(60)
        await store.aclose()
        await first.verdict(store=False)
        stored, gaps = await world.stored(SECOND)
        assert gaps
        async with world.feed() as feed:
            await trio.sleep(60)
        stored, gaps = await world.stored(SECOND)
        assert not gaps
        opens = [candle.open_time_ms for candle in stored]
        assert opens == list(SECOND.timeframe.opens(opens[0], opens[-1] + 1))


async def test_a_store_that_cannot_be_read_at_the_start(autojump_clock: object, tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        store = await bad_store(world)
        store.refuses_reads = True
        async with world.feed(store=store) as feed:
            judge = world.judge(feed)
            await trio.sleep(50)
            store.refuses_reads = False
            await trio.sleep(60)
            assert feed.status().healthy
        await store.aclose()
        await judge.verdict()
        assert not judge.gaps
        assert min(judge.opens(MINUTE)) < EPOCH


async def test_a_replay_waits_out_a_store_that_cannot_be_read(autojump_clock: object, tmp_path: Path) -> None:
    """The reader is told, keeps its place, and reads on where it stood."""
    async with open_world(tmp_path) as world:
        store = await bad_store(world)
        async with world.feed(store=store) as feed:
            whole = world.judge(feed)
            await trio.sleep(40)
            cursor = Cursor({stream: min(whole.opens(stream)) for stream in whole.streams})
            judge = Judge(world)
            judge.next_ms.update({stream: stream.timeframe.next_open(ms) for stream, ms in cursor.after.items()})
            subscription = feed.candles(after=cursor)
            told = 0
            for n in range(60):
                store.refuses_reads = n % 3 == 1
                try:
                    with trio.move_on_after(5):
                        for event in await subscription.batch():
                            judge.take(event)
                except StoreUnavailable:
                    told += 1
                await trio.sleep(0.5)
            assert told >= 1
            until_ms = world.now_ms()
            subscription.close()
            judge.done.set()
        await store.aclose()
        await judge.verdict(until_ms=until_ms, store=False)


async def test_a_slow_disk_holds_nobody_up(autojump_clock: object, tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        store = await bad_store(world)
        async with world.feed(store=store) as feed:
            judge = world.judge(feed)
            await trio.sleep(20)
            store.slow_s = 8.0
            await trio.sleep(120)
            assert trio.current_time() - judge.last_seen_s[SECOND] < 3
            store.slow_s = 0.0
            await trio.sleep(20)
        await store.aclose()
        await judge.verdict()
        assert judge.latest_delay_ms < 2_000


async def test_a_gap_told_of_before_a_restart_is_not_told_again(autojump_clock: object, tmp_path: Path) -> None:
    """The last that was delivered is a gap."""
    async with open_world(tmp_path, spot("BTCUSDT", frames=("1m",)), repair=RepairSettings(deadline_s=10.0)) as world:
        async with world.feed() as feed:
            first = world.judge(feed)
            await trio.sleep(30)
            world.inject(FaultKind.REST_ERROR, code=500, duration_s=100.0)
            world.inject(FaultKind.LOST_CLOSE, duration_s=40.0)
            await trio.sleep(35)
            assert first.gaps
            cursor = first.subscription.cursor
        last = first.gaps[-1]
        assert first.next_ms[MINUTE] == last.last_open_ms + 60_000, "nothing came after the gap"
        async with world.feed() as feed:
            second = world.judge(feed, after=cursor)
            await trio.sleep(5)
            world.inject(FaultKind.LOST_CLOSE, duration_s=40.0)
            await trio.sleep(220)
        assert not first.complaints
        await second.done.wait()
        assert not second.complaints
        assert [gap.first_open_ms for gap in second.gaps] == [last.first_open_ms + 60_000], "only what is new"
        told = {gap.first_open_ms for gap in (*first.gaps, *second.gaps)}
        assert {revision.candle.open_time_ms for revision in second.revisions} == told, "repairs are revisions"
        stored, gaps = await world.stored(MINUTE)
        assert not gaps
        opens = [candle.open_time_ms for candle in stored]
        assert opens == list(MINUTE.timeframe.opens(opens[0], opens[-1] + 1))


async def test_corrections_survive_a_restart(autojump_clock: object, tmp_path: Path) -> None:
    """What REST tells after a restart never undoes a revision, and a correction made meanwhile is found."""
    repair = RepairSettings(verify_interval_s=30.0)
    async with open_world(tmp_path, spot("BTCUSDT", frames=("1m",)), repair=repair) as world:
        async with world.feed() as feed:
            first = world.judge(feed)
            await trio.sleep(200)
            world.inject(FaultKind.CORRECTION, symbol="BTCUSDT", count=2)
            await trio.sleep(90)
            assert len(first.revisions) == 1
        await first.verdict()
        await trio.sleep(100)
        world.inject(FaultKind.CORRECTION, symbol="BTCUSDT", count=3)
        async with world.feed() as feed:
            second = world.judge(feed, after=first.subscription.cursor)
            await trio.sleep(100)
        await second.done.wait()
        assert not second.complaints
        assert len(second.revisions) == 2, "the first one too: another feed cannot know that it was told"
        stored, _ = await world.stored(MINUTE)
        truth = world.sim.truth("BTCUSDT", MINUTE.timeframe, stored[0].open_time_ms, world.now_ms())
        assert [c.values() for c in stored] == [t.values() for t in truth][: len(stored)]
        assert [c.revision for c in stored].count(1) == 2


async def test_another_configuration_with_the_same_store(autojump_clock: object, tmp_path: Path) -> None:
    async with open_world(tmp_path, spot("BTCUSDT")) as world:
        async with world.feed() as feed:
            await trio.sleep(40)
        world.settings = evolve(world.settings, venues={SPOT: spot("BTCUSDT", "ETHUSDT", frames=("1m", "5m"))})
        async with world.feed() as feed:
            judge = world.judge(feed)
            await trio.sleep(200)
        await judge.verdict(store=False)
        assert GapReason.VENUE not in {gap.reason for gap in judge.gaps}
