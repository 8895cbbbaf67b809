"""Retention in a living feed: what is too old goes, what anything is made from stays, and nobody fetches it again."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from attrs import evolve
from e2e_world import SPOT, World, open_world, spot
from test_restarts_and_stores import bad_store
from test_sync import ended, values

from candleactors import resample
from candleactors.actors.sync import Sync
from candleactors.model import (
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    Candle,
    Gap,
    GapReason,
    Revision,
    Stream,
    SyncState,
    Timeframe,
)
from candleactors.settings import AggregationSettings, RepairSettings, RetentionSettings, Settings
from candleactors.sim.faults import FaultKind
from candleactors.sim.market import Market
from candleactors.stores.sqlite import open_sqlite
from candleactors.transport.clock import VirtualClock

M1, M7, H1 = Timeframe("1m"), Timeframe("7m"), Timeframe("1h")
MINUTE, SEVEN, HOUR = (Stream(SPOT, "BTCUSDT", timeframe) for timeframe in (M1, M7, H1))
EPOCH = 1_700_000_000_000
KEPT = {M1: 0.25, H1: 0.5}


@asynccontextmanager
async def old_world(tmp_path: Path, days: Mapping[Timeframe, float] = KEPT) -> AsyncIterator[tuple[World, Settings]]:
    """A world whose store has a day of minutes, and of what is made from them; and settings that limit that."""
    market = Market(seed=7, start_ms=EPOCH, history_ms=48 * HOUR_MS)
    async with open_world(
        tmp_path,
        spot("BTCUSDT", frames=("1m",), derived=(M7, H1)),
        market=market,
        repair=RepairSettings(history=100),
        aggregation=AggregationSettings(warm_start_minutes=60, catch_up_minutes=120),
    ) as world:
        async with world.feed() as feed:
            await trio.sleep(30)
            done = await ended(feed, feed.sync(start_ms=EPOCH - DAY_MS))
            assert done.state is SyncState.DONE
        retention = RetentionSettings(dict(days), interval_s=6 * 3600)
        yield world, evolve(world.settings, retention=retention)
        assert world.violations() == {}


async def test_old_candles_go_and_what_is_made_from_them_stays(autojump_clock: object, tmp_path: Path) -> None:
    async with old_world(tmp_path) as (world, settings):
        before = {stream: (await world.stored(stream))[0] for stream in (MINUTE, SEVEN, HOUR)}
        assert len(before[MINUTE]) > 1_400
        async with world.feed(settings) as feed:
            judge = world.judge(feed)
            status = feed.status().retention
            assert status is not None
            assert (status.pruned, status.done_age_s, status.error) == (0, None, None)
            await trio.sleep(310)
            now_ms = world.clock.wall_ms()
            after = {stream: await feed.history(stream) for stream in (MINUTE, SEVEN, HOUR)}
            # By what was newest when it was looked, ten seconds ago.
            assert after[MINUTE][0].open_time_ms in (M1.floor(now_ms - DAY_MS // 4) - n * MINUTE_MS for n in (0, 1, 2))
            assert after[SEVEN][: len(before[SEVEN])] == before[SEVEN]
            assert after[HOUR][0].open_time_ms in (H1.floor(now_ms - DAY_MS // 2) - n * HOUR_MS for n in (0, 1))
            gone = [
                candle
                for stream in (MINUTE, HOUR)
                for candle in before[stream]
                if candle.open_time_ms < after[stream][0].open_time_ms
            ]
            status = feed.status().retention
            assert status is not None
            assert status.pruned == len(gone) > 1_000
            assert (status.left, status.error) == (0, None)
            assert status.done_age_s is not None
            assert 0 < status.done_age_s <= 60
            assert [
                (line["candles"], line["streams"], line["left"]) for line in world.log.named("old candles deleted")
            ] == [(len(gone), 2, 0)]
            # Whoever compares leaves it at that.
            done = await ended(feed, feed.sync())
            assert (done.state, done.repaired) == (SyncState.DONE, 0)
            assert (await feed.history(MINUTE))[0] == after[MINUTE][0]
            await trio.sleep(3 * 3600)
        await judge.verdict(store=False)
        assert not judge.gaps
        # What was made after most of its past had gone is what all of it makes.
        minutes = {candle.open_time_ms: candle for candle in (*before[MINUTE], *(await world.stored(MINUTE))[0])}
        made = values([each for each in resample([minutes[at] for at in sorted(minutes)], H1) if each.complete])
        stored = values((await world.stored(HOUR))[0])
        assert {at: stored[at] for at in made if at in stored} == {at: made[at] for at in made if at in stored}
        assert len(stored) > 12


async def test_every_six_hours_again_and_of_streams_that_nobody_watches(autojump_clock: object, tmp_path: Path) -> None:
    async with old_world(tmp_path, {M1: 0.25, Timeframe("11m@epoch"): 1}) as (world, settings):
        minutes = (await world.stored(MINUTE))[0]
        others = [
            Stream("kraken", "XBTUSD", M1),
            Stream(SPOT, "OLD", M1),
            Stream(SPOT, "OLD", Timeframe("11m@epoch")),
        ]
        async with open_sqlite(world.path, threaded=False, guest=True) as guest:
            for other in others:
                names = {"venue": other.venue, "symbol": other.symbol, "timeframe": other.timeframe}
                await guest.write([candle.replace(**names) for candle in minutes], [])
        async with world.feed(settings) as feed:
            await trio.sleep(300 + 13 * 3600)
            assert len(world.log.named("old candles deleted")) == 3
            assert len(await feed.history(MINUTE)) < (6 + 6 + 1) * 60
        # They have ended, and keep what they had then.
        assert [len((await world.stored(other))[0]) for other in others] == [361, 361, len(minutes)]


async def test_nothing_goes_that_somebody_compares(autojump_clock: object, tmp_path: Path) -> None:
    async with old_world(tmp_path) as (world, settings), world.feed(settings) as feed:
        reader = feed.candles()
        await trio.sleep(290)
        world.inject(FaultKind.REST_ERROR, duration_s=30)
        status = feed.sync(start_ms=EPOCH - 2 * DAY_MS)
        await trio.sleep(25)
        oldest = await feed.history(MINUTE, limit=1)
        assert oldest[0].open_time_ms < EPOCH - DAY_MS // 2
        assert (await ended(feed, status)).state is SyncState.DONE
        assert (await feed.history(MINUTE, limit=1))[0].open_time_ms < EPOCH - 2 * DAY_MS + HOUR_MS
        await trio.sleep(70)
        assert (await feed.history(MINUTE, limit=1))[0].open_time_ms > EPOCH - DAY_MS // 4
        assert (await feed.history(HOUR, limit=1))[0].open_time_ms > EPOCH - 14 * HOUR_MS
        [line] = world.log.named("old candles deleted")
        assert line["left"] == 0
        while reader.pending:
            assert not isinstance(await anext(reader), Revision)


async def test_what_is_in_use_for_an_hour_is_left_to_the_next_time(
    autojump_clock: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with old_world(tmp_path) as (world, settings), world.feed(settings) as feed:
        used = {MINUTE}
        monkeypatch.setattr(Sync, "works_on", lambda self, stream: stream in used)
        await trio.sleep(300 + 3_600)
        # What is made from it is left as well.
        assert not world.log.named("old candles deleted")
        await trio.sleep(70)
        [line] = world.log.named("old candles deleted")
        assert (line["candles"], line["streams"], line["left"]) == (0, 0, 2)
        status = feed.status().retention
        assert status is not None
        assert (status.pruned, status.left, status.error) == (0, 2, None)
        used.clear()
        await trio.sleep(6 * 3600)
        status = feed.status().retention
        assert status is not None
        assert status.pruned > 1_000
        assert status.left == 0


async def test_a_clock_that_is_set_ahead_deletes_nothing_more(autojump_clock: object, tmp_path: Path) -> None:
    async with old_world(tmp_path, {M1: 0.25}) as (world, settings):
        world.clock = VirtualClock(EPOCH + 10 * 365 * DAY_MS)
        world.venue_ahead_ms = -10 * 365 * DAY_MS
        async with world.feed(settings) as feed:
            await trio.sleep(310)
            assert world.log.named("old candles deleted")
            assert 360 <= len(await feed.history(MINUTE)) <= 362


async def test_readers_are_told_what_they_missed_for_good(autojump_clock: object, tmp_path: Path) -> None:
    async with old_world(tmp_path) as (world, settings), world.feed(settings) as feed:
        begun = (await feed.history(MINUTE, limit=11))[-1].open_time_ms
        cursor = evolve(feed.candles([MINUTE]).cursor, after={MINUTE: begun})
        await trio.sleep(310)
        oldest_ms = (await feed.history(MINUTE, limit=1))[0].open_time_ms
        reader = feed.candles([MINUTE], after=cursor)
        assert await anext(reader) == Gap(MINUTE, begun + MINUTE_MS, oldest_ms - MINUTE_MS, GapReason.UNREPAIRED)
        following = await anext(reader)
        assert isinstance(following, Candle)
        assert following.open_time_ms == oldest_ms


async def test_a_store_that_cannot_be_written_is_tried_again(autojump_clock: object, tmp_path: Path) -> None:
    async with old_world(tmp_path, {M1: 0.25}) as (world, settings):
        store = await bad_store(world)
        async with world.feed(settings, store=store) as feed:
            await trio.sleep(290)
            store.refuses_reads = True
            await trio.sleep(60)
            status = feed.status().retention
            assert status is not None
            assert status.error == "the disk does not answer"
            assert {line["about"] for line in world.log.named("put off")} == {"retention"}
            store.refuses_reads = False
            await trio.sleep(60)
            status = feed.status().retention
            assert status is not None
            assert status.error is None
            assert status.pruned > 1_000
        await store.aclose()


def oldest_of(path: Path) -> list[int]:
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT min(open_time_ms) FROM candle GROUP BY stream").fetchall()
    connection.close()
    return [at for (at,) in rows]


async def test_nothing_goes_without_days(autojump_clock: object, tmp_path: Path) -> None:
    async with old_world(tmp_path, {}) as (world, settings):
        before = oldest_of(world.path)
        async with world.feed(settings) as feed:
            await trio.sleep(7 * 3600)
            assert feed.status().retention is None
            assert "retention" not in [actor.id for actor in feed.status().actors]
        assert oldest_of(world.path) == before
