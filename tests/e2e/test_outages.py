"""Whole feeds whose database goes away, comes back, or is not there when they begin; in virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import evolve
from e2e_world import EPOCH, World, open_world, spot

from candleactors.actors.journal import Journal
from candleactors.errors import StoreUnavailable
from candleactors.feed import Feed
from candleactors.model import Candle, Cursor, Gap, GapReason, Stream, Timeframe
from candleactors.settings import HistorySettings, RepairSettings, StoreSettings
from candleactors.stores.buffered import BufferedStore, open_buffered
from candleactors.stores.sqlite import SqliteStore

SPOT = "binance-spot"
SECOND = Stream(SPOT, "BTCUSDT", Timeframe("1s"))
MINUTE = Stream(SPOT, "BTCUSDT", Timeframe("1m"))


class Distant(SqliteStore):
    """A store that is sometimes not to be reached."""

    away = False

    async def _run(self, *args: Any) -> Any:
        if self.away:
            await trio.lowlevel.checkpoint()
            raise StoreUnavailable("the database does not answer")
        return await super()._run(*args)


@asynccontextmanager
async def distant(world: World, *, away: bool = False, **settings: Any) -> AsyncIterator[tuple[Distant, BufferedStore]]:
    remote = Distant(world.path, threaded=False, read_only=False, busy_timeout_s=0)
    remote.away = away
    chosen = StoreSettings(buffer=world.path.with_name("buffer.sqlite"), **settings)
    async with open_buffered(remote, chosen, threaded=False) as store:
        yield remote, store


async def until(true: Callable[[], bool]) -> None:
    """Wait for something that comes about within half a minute."""
    for _ in range(300):
        if true():
            return
        await trio.sleep(0.1)
    raise AssertionError("it does not come about")


@pytest.mark.parametrize("restarts", [False, True])
async def test_nothing_of_an_outage_is_lost(autojump_clock: object, tmp_path: Path, restarts: bool) -> None:
    """Subscribers do not notice it; the database has all of it in the end, also where the feed ends meanwhile."""
    async with open_world(tmp_path, repair=RepairSettings(history=30)) as world:
        async with distant(world) as (remote, store), world.feed(store=store) as feed:
            judge = world.judge(feed)
            await trio.sleep(100)
            assert feed.status().healthy
            remote.away = True
            await trio.sleep(300)
            status = feed.status()
            assert not status.healthy
            assert status.store.error == "the database does not answer"
            assert status.store.pending < 20
            assert 500 < status.store.buffered < 700
            assert 295 < (status.store.outage_s or 0) < 305
            assert feed.measures().store.buffered == status.store.buffered
            assert feed.measures().store.outages == 1
            with pytest.raises(StoreUnavailable, match="rows wait on disk"):
                await feed.history(MINUTE)
            remote.away = restarts
            if not restarts:
                await trio.sleep(30)
                assert feed.status().store.error is None
                assert feed.status().healthy
                assert feed.measures().store.drained >= status.store.buffered
                assert [c.open_time_ms for c in await feed.history(SECOND)] == judge.opens(SECOND)
        await judge.verdict(store=not restarts)
        if restarts:
            assert store.buffered > 500
            async with distant(world) as (_, store), world.feed(store=store) as feed:
                second = world.judge(feed)
                await until(lambda: store.error is None)
                await trio.sleep(60)
            await second.verdict(store=False)
            for stream in judge.streams:
                candles, gaps = await world.stored(stream)
                assert not gaps
                said = {**judge.said[stream], **second.said[stream]}
                assert [row.values() for row in candles] == [said[at].values() for at in sorted(said)]
        assert not world.violations()


async def test_begun_without_the_database_the_feed_delivers_and_the_hole_is_mended(
    autojump_clock: object, tmp_path: Path
) -> None:
    async with open_world(tmp_path, spot(frames=("1m",)), repair=RepairSettings(history=10)) as world:
        async with distant(world) as (_, store), world.feed(store=store) as feed:
            await trio.sleep(200)
        before, _gaps = await world.stored(MINUTE)
        await trio.sleep(3_600)
        settings = evolve(world.settings, history=HistorySettings(backfill_interval_s=None))
        async with distant(world, away=True) as (remote, store), world.feed(settings, store=store) as feed:
            judge = world.judge(feed)
            await trio.sleep(45)
            assert judge.opens(MINUTE), "candles come though the database does not"
            await trio.sleep(300)
            remote.away = False
            await until(lambda: store.error is None)
            first_ms = min(judge.opens(MINUTE))
            hole = Gap(
                MINUTE,
                before[-1].next_open_time_ms,
                MINUTE.timeframe.previous_open(first_ms),
                GapReason.UNREPAIRED,
            )
            assert hole.count > 40
            assert await feed.gaps(MINUTE) == [hole]
            await trio.sleep(60)
            assert await feed.gaps(MINUTE) == [], "the drain asks for a round of repairs"
            stored = await feed.history(MINUTE)
            opens = [row.open_time_ms for row in stored]
            assert opens == list(MINUTE.timeframe.opens(before[0].open_time_ms, opens[-1] + 1))
            truth = world.sim.truth("BTCUSDT", MINUTE.timeframe, opens[0], opens[-1] + 60_000)
            assert [row.values() for row in stored] == [row.values() for row in truth]
        assert not judge.complaints


async def test_a_database_that_starts_with_the_feed_is_waited_for(autojump_clock: object, tmp_path: Path) -> None:
    async with open_world(tmp_path, spot(frames=("1m",)), repair=RepairSettings(history=5)) as world:
        async with world.feed() as feed:
            await trio.sleep(100)
        await trio.sleep(1_800)
        async with distant(world, away=True) as (remote, store), world.feed(store=store) as feed:
            judge = world.judge(feed)
            await trio.sleep(6)
            remote.away = False
            await trio.sleep(120)
        await judge.verdict()
        candles, gaps = await world.stored(MINUTE)
        assert not gaps
        opens = [row.open_time_ms for row in candles]
        assert opens == list(MINUTE.timeframe.opens(opens[0], opens[-1] + 1))


async def test_derived_candles_wait_for_the_database_and_miss_nothing(autojump_clock: object, tmp_path: Path) -> None:
    derived = Stream(SPOT, "BTCUSDT", Timeframe("5m"))
    venue = spot("BTCUSDT", frames=("1m",), derived=(derived.timeframe,))
    async with open_world(tmp_path, venue, repair=RepairSettings(history=30)) as world:
        async with distant(world) as (remote, store), world.feed(store=store) as feed:
            judge = world.judge(feed)
            await trio.sleep(400)
            remote.away = True
            await trio.sleep(900)
            # They are made from what is in memory.
            assert max(judge.opens(derived)) > EPOCH + 600_000
            remote.away = False
            await until(lambda: store.error is None)
            assert await feed.history(derived, min(judge.opens(derived))) == [
                judge.said[derived][at] for at in judge.opens(derived)
            ]
        assert not judge.complaints
        async with distant(world, away=True) as (remote, store), world.feed(store=store) as feed:
            judge = world.judge(feed)
            await trio.sleep(600)
            assert judge.opens(MINUTE)
            assert not judge.opens(derived)
            remote.away = False
            await until(lambda: store.error is None and bool(judge.opens(derived)))
            await trio.sleep(400)
        assert not judge.complaints
        candles, gaps = await world.stored(derived)
        assert not gaps
        opens = [row.open_time_ms for row in candles]
        assert opens == list(derived.timeframe.opens(opens[0], opens[-1] + 1))
        truth = world.sim.truth("BTCUSDT", derived.timeframe, opens[1], opens[-1] + 300_000)
        assert [row.values() for row in candles[1:]] == [row.values() for row in truth]


async def test_a_reader_that_resumes_in_an_outage_goes_on_after_it(autojump_clock: object, tmp_path: Path) -> None:
    async with (
        open_world(tmp_path, spot(frames=("1s",))) as world,
        distant(world) as (remote, store),
        world.feed(store=store) as feed,
    ):
        whole = world.judge(feed)
        await trio.sleep(60)
        remote.away = True
        await trio.sleep(60)
        after_ms = whole.opens(SECOND)[0]
        subscription = feed.candles([SECOND], after=Cursor({SECOND: after_ms}))
        with pytest.raises(StoreUnavailable, match="rows wait on disk"):
            await subscription.batch()
        remote.away = False
        await until(lambda: store.error is None)
        opens: list[int] = []
        with trio.move_on_after(5):
            while True:
                opens += [event.open_time_ms for event in await subscription.batch() if isinstance(event, Candle)]
        expected = [at for at in whole.opens(SECOND) if at > after_ms]
        assert opens == expected


async def test_a_full_buffer_is_like_a_full_disk(autojump_clock: object, tmp_path: Path) -> None:
    """Rows wait in memory then, and what is too much is given up and written down as a gap."""
    async with open_world(tmp_path, spot("BTCUSDT", frames=("1s",)), repair=RepairSettings(history=5)) as world:
        async with distant(world, max_buffered=50) as (remote, store):
            settings = evolve(world.settings, store=StoreSettings(max_pending=30))
            async with world.feed(settings, store=store) as feed:
                judge = world.judge(feed)
                await trio.sleep(20)
                remote.away = True
                await trio.sleep(200)
                status = feed.status().store
                assert 40 <= status.buffered <= 50
                assert status.pending <= 31
                assert status.shed > 80
                assert status.error is not None
                assert "no room for more than 50 rows; the database does not answer" in status.error
                remote.away = False
                await trio.sleep(100)
                assert feed.status().store.error is None
        assert not judge.complaints
        candles, gaps = await world.stored(SECOND)
        assert gaps
        missing = [at for gap in gaps for at in SECOND.timeframe.opens(gap.first_open_ms, gap.last_open_ms + 1)]
        assert len(missing) > 80
        opens = [row.open_time_ms for row in candles]
        assert sorted([*opens, *missing]) == list(SECOND.timeframe.opens(opens[0], opens[-1] + 1))


async def test_a_symbol_that_is_first_watched_in_an_outage(autojump_clock: object, tmp_path: Path) -> None:
    other = Stream(SPOT, "ETHUSDT", Timeframe("1m"))
    async with open_world(tmp_path, spot("BTCUSDT", frames=("1m",)), repair=RepairSettings(history=5)) as world:
        async with distant(world) as (remote, store), world.feed(store=store) as feed:
            await trio.sleep(30)
            remote.away = True
            await trio.sleep(100)
            feed.watch([other])
            judge = world.judge(feed, [other])
            await trio.sleep(100)
            assert judge.opens(other)
            remote.away = False
            await trio.sleep(100)
        assert not judge.complaints
        candles, gaps = await world.stored(other)
        assert [row.open_time_ms for row in candles] == judge.opens(other)
        assert not gaps


async def test_the_log_tells_of_it_and_not_too_often(autojump_clock: object, tmp_path: Path) -> None:
    async with open_world(tmp_path, spot(frames=("1s",))) as world:
        remote = Distant(world.path, threaded=False, read_only=False, busy_timeout_s=0)
        settings = StoreSettings(buffer=tmp_path / "buffer.sqlite")
        journal = Journal(world.log.logger, world.clock)
        async with (
            open_buffered(remote, settings, on_outage=journal.outage, threaded=False) as store,
            world.feed(store=store) as feed,
        ):
            await _until_outage(feed, remote)
            await trio.sleep(100)
            assert 2 <= len(world.log.named("the database takes no rows")) <= 15
            remote.away = False
            await trio.sleep(20)
        assert [line["buffered"] > 0 for line in world.log.named("rows wait on disk for the database")] == [True]
        [over] = world.log.named("the database has everything again")
        assert over["drained"] > 150
        assert over["buffered"] == 0


async def _until_outage(feed: Feed, remote: Distant) -> None:
    await trio.sleep(30)
    remote.away = True
    await until(lambda: feed.status().store.error is not None)


class Stepping:
    """Our clock, which somebody sets while the venues' goes on."""

    def __init__(self, world: World) -> None:
        self.epoch_ms = EPOCH
        self._world = world

    def step(self, by_ms: int) -> None:
        self.epoch_ms += by_ms
        self._world.venue_ahead_ms -= by_ms

    def wall_ms(self) -> int:
        return self.epoch_ms + round(trio.current_time() * 1000)

    def monotonic_s(self) -> float:
        return trio.current_time()


async def test_clocks_that_step_by_hours(autojump_clock: object, tmp_path: Path) -> None:
    """Back and forth, before, in and after an outage: the venue's time counts, and nothing is lost or doubled."""
    async with open_world(tmp_path, repair=RepairSettings(history=30, clock_interval_s=60)) as world:
        clock = Stepping(world)
        world.clock = clock  # type: ignore[assignment]  # has what is used of it
        async with distant(world) as (remote, store), world.feed(store=store) as feed:
            judge = world.judge(feed)
            for number, hours in enumerate((0, 5, -9, 13, -2, 4, -11)):
                clock.step(hours * 3_600_000)
                remote.away = number in (2, 3, 4)
                await trio.sleep(70)
            assert feed.status().store.error is None
            assert feed.measures().store.drained > 300
        await judge.verdict()
        assert not judge.gaps
