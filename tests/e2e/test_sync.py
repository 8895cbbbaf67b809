"""Syncs: what is missing or wrong in the store, however long ago, is found at the venue and put right."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from derived_judge import judge
from e2e_world import EPOCH, SPOT, World, open_world, other, spot
from test_crashes import Saboteur
from test_every_venue import market, spelled
from test_restarts_and_stores import bad_store

from candleactors import resample
from candleactors.actors.aggregator import Aggregator
from candleactors.actors.sequencer import Sequencer
from candleactors.actors.sync import Sync
from candleactors.core.passed_over import PassedOver
from candleactors.errors import InvalidTimeframe, UnknownVenue
from candleactors.feed import Feed
from candleactors.model import HOUR_MS, MINUTE_MS, Candle, GapReason, Source, Stream, SyncState, SyncStatus, Timeframe
from candleactors.settings import RepairSettings
from candleactors.sim.faults import FaultKind

M1, M7, H1 = Timeframe("1m"), Timeframe("7m"), Timeframe("1h")
MINUTE = Stream(SPOT, "BTCUSDT", M1)
SEVEN = Stream(SPOT, "BTCUSDT", M7)
VENUES = ("binance-spot", "bybit-spot", "okx", "bitfinex")
HISTORY = RepairSettings(history=290)


async def ended(feed: Feed, status: SyncStatus, within_s: float = 600.0) -> SyncStatus:
    """Return how the sync ended."""
    with trio.fail_after(within_s):
        while (found := feed.sync_status(status.id)) is not None and found.state is SyncState.RUNNING:
            assert found.ended_ms is None
            await trio.sleep(0.5)
    assert found is not None
    assert found.ended_ms is not None
    return found


async def begun(feed: Feed, stream: Stream) -> list[Candle]:
    """Return the stored candles of a stream once its history has come."""
    await trio.sleep(25)
    return await feed.history(stream)


def forget(path: Path, stream: Stream, first_ms: int, until_ms: int) -> int:
    """Delete stored candles; return how many."""
    with sqlite3.connect(path) as connection:
        deleted = connection.execute(
            "DELETE FROM candle WHERE open_time_ms >= ? AND open_time_ms < ? AND stream = "
            "(SELECT id FROM stream WHERE venue = ? AND symbol = ? AND timeframe = ?)",
            (first_ms, until_ms, stream.venue, stream.symbol, stream.timeframe.text),
        ).rowcount
    connection.close()
    return deleted


def true_values(world: World, stream: Stream, first_ms: int, until_ms: int) -> dict[int, tuple[object, ...]]:
    truth = world.sims[stream.venue].truth(stream.symbol, stream.timeframe, first_ms, until_ms)
    return {candle.open_time_ms: candle.values() for candle in truth}


def values(candles: list[Candle]) -> dict[int, tuple[object, ...]]:
    return {candle.open_time_ms: candle.values() for candle in candles}


@asynccontextmanager
async def life(tmp_path: Path, venue: str, derived: tuple[Timeframe, ...] = ()) -> AsyncIterator[tuple[World, Stream]]:
    """A world of one venue and one symbol, of which the store gets the last 290 minutes at first."""
    world_market = market(1, history_ms=48 * HOUR_MS)
    symbol = spelled(venue, world_market)[0]
    settings = other(venue, symbol, derived=derived)
    async with open_world(tmp_path, market=world_market, others=settings, repair=HISTORY) as world:
        yield world, Stream(venue, symbol, M1)
        assert world.violations() == {}


@pytest.mark.parametrize("venue", VENUES)
async def test_what_the_store_lost_is_fetched_again(venue: str, autojump_clock: object, tmp_path: Path) -> None:
    async with life(tmp_path, venue) as (world, stream), world.feed() as feed:
        subscription = feed.candles([stream])
        await begun(feed, stream)
        await trio.sleep(30)
        rows = await feed.history(stream)
        first_ms, until_ms = rows[100].open_time_ms, rows[117].open_time_ms
        assert forget(world.path, stream, first_ms, until_ms) == 17
        status = feed.sync()
        assert (status.state, status.streams, status.ended_ms) == (SyncState.RUNNING, 1, None)
        done = await ended(feed, status)
        assert (done.state, done.done, done.failed, done.repaired, done.errors) == (SyncState.DONE, 1, 0, 17, ())
        assert done.candles >= 280
        stored = await feed.history(stream, rows[0].open_time_ms, rows[-1].open_time_ms)
        assert values(stored) == values(rows)
        told = [event async for event in _so_far(subscription)]
        revised = [event.candle for event in told if hasattr(event, "candle")]
        assert [candle.open_time_ms for candle in revised] == list(M1.opens(first_ms, until_ms))
        assert all(candle.revision == 1 for candle in revised)
        again = await ended(feed, feed.sync())
        assert (again.state, again.repaired) == (SyncState.DONE, 0)
        assert again.id != done.id
        assert feed.syncs() == (done, again)
        assert not [event async for event in _so_far(subscription) if hasattr(event, "candle")]


async def _so_far(subscription: object) -> AsyncIterator[object]:
    """Yield what waits in a subscription."""
    while True:
        with trio.move_on_after(0.01) as scope:
            event = await anext(subscription)  # type: ignore[call-overload]
        if scope.cancelled_caught:
            return
        yield event


@pytest.mark.parametrize("venue", VENUES)
async def test_a_correction_of_long_ago_is_found(venue: str, autojump_clock: object, tmp_path: Path) -> None:
    async with life(tmp_path, venue) as (world, stream):
        async with world.feed() as feed:
            reader = world.judge(feed, [stream])
            await begun(feed, stream)
            await trio.sleep(700)
            assert not reader.revisions
            world.inject(FaultKind.CORRECTION, symbol="BTCUSDT", count=150)
            await trio.sleep(700)
            assert not reader.revisions, "the usual comparisons do not reach so far back"
            done = await ended(feed, feed.sync([str(stream)], start_ms=world.now_ms() - 4 * HOUR_MS))
            assert (done.state, done.repaired) == (SyncState.DONE, 1)
            assert len(reader.revisions) == 1
            assert reader.revisions[0].candle.revision == 1
        await reader.verdict(slack_s=25.0)


@pytest.mark.parametrize("venue", VENUES)
async def test_history_grows_backwards(venue: str, autojump_clock: object, tmp_path: Path) -> None:
    """Candles older than everything stored are stored and not told; what derives from them as well."""
    async with life(tmp_path, venue, (M7, H1)) as (world, stream):
        seven, hour = Stream(venue, stream.symbol, M7), Stream(venue, stream.symbol, H1)
        async with world.feed() as feed:
            reader = judge(world, feed)
            rows = await begun(feed, stream)
            await trio.sleep(60)
            sevens = await feed.history(seven)
            start_ms = rows[0].open_time_ms - 2_000 * MINUTE_MS - 30_000
            done = await ended(feed, feed.sync(start_ms=start_ms))
            await trio.sleep(30)
            assert done.state is SyncState.DONE
            assert done.repaired == 2_000
            assert not reader.revisions
            stored = await feed.history(stream)
            first_ms = stored[0].open_time_ms
            assert first_ms == rows[0].open_time_ms - 2_000 * MINUTE_MS
            assert [row.open_time_ms for row in stored] == list(M1.opens(first_ms, stored[-1].next_open_time_ms))
            assert values(stored) == true_values(world, stream, first_ms, stored[-1].next_open_time_ms)
            told_ms = reader.opens(stream)[0]
            assert told_ms == rows[0].open_time_ms
            found = await feed.history(seven)
            whole_ms = M7.next_open(M7.floor(first_ms - 1))
            expected = [each for each in resample(stored, "7m") if each.open_time_ms >= whole_ms and each.closed]
            assert len(found) > len(sevens) + 280
            assert values(found) == values(expected)
            assert all(each.complete for each in found)
            hours = await feed.history(hour)
            assert values(hours) == values([each for each in resample(stored, "1h") if each.closed and each.complete])
            once_more = await ended(feed, feed.sync(start_ms=start_ms))
            assert once_more.repaired == 0
            assert once_more.candles >= 2_280
        assert not reader.complaints


async def test_a_gap_that_nobody_looks_at_any_more(
    autojump_clock: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sync closes it, what derives from it is whole, and the summary says so."""
    monkeypatch.setattr(PassedOver, "due", lambda self, now_s: None)
    monkeypatch.setattr(PassedOver, "next_due_s", lambda self: float("inf"))
    venue = spot("BTCUSDT", frames=("1m",), derived=(M7,))
    async with open_world(tmp_path, venue) as world:
        async with world.feed() as feed:
            reader = judge(world, feed)
            await trio.sleep(100)
            world.inject(FaultKind.REST_ERROR, duration_s=1_500.0)
            world.inject(FaultKind.SILENCE, duration_s=1_200.0)
            world.inject(FaultKind.REFUSE_CONNECT, duration_s=1_200.0)
            await trio.sleep(1_600)
            open_gaps = await feed.gaps(MINUTE)
            summary = await feed.gap_summary()
            missing = sum(gap.count for gap in open_gaps)
            assert missing > 5
            assert {gap.reason for gap in open_gaps} == {GapReason.UNREPAIRED}
            derived_missing = sum(gap.count for gap in await feed.gaps(SEVEN))
            assert summary.candles == missing + derived_missing
            assert summary.by_reason[GapReason.UNREPAIRED] == summary.gaps >= 1
            assert summary.oldest is not None
            assert summary.oldest.first_open_ms <= open_gaps[0].first_open_ms
            assert summary.repaired_candles == 0
            done = await ended(feed, feed.sync([SEVEN]))
            assert (done.state, done.streams, done.repaired) == (SyncState.DONE, 1, missing)
            await trio.sleep(5)
            assert await feed.gaps(MINUTE) == []
            after = await feed.gap_summary()
            assert (after.gaps, after.oldest) == (0, None)
            assert after.repaired_candles == missing + derived_missing
            assert after.repaired_streams == 1 + bool(derived_missing)
        await reader.verdict(slack_s=8)
        await reader.verdict_on()


async def test_urgent_repairs_come_first_and_limits_are_kept(autojump_clock: object, tmp_path: Path) -> None:
    """Days of four symbols on a tight budget, while every connection breaks: no candle comes late because of it."""
    symbols = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "PERPUSDT")
    venue = spot(*symbols, frames=("1m",), rest_weight=60)
    async with open_world(tmp_path, venue, market=market(20, history_ms=240 * HOUR_MS)) as world:
        async with world.feed() as feed:
            reader = world.judge(feed)
            await trio.sleep(100)
            status = feed.sync(start_ms=world.now_ms() - 200 * HOUR_MS)
            for _ in range(3):
                await trio.sleep(40)
                world.inject(FaultKind.LOST_CLOSE, duration_s=15.0)
                world.inject(FaultKind.DROP)
            done = await ended(feed, status, within_s=3_600)
            assert done.state is SyncState.DONE, done.errors
            assert done.candles > 4 * 199 * 60
            await trio.sleep(60)
        await reader.verdict(store=False)
        assert not reader.gaps
        assert reader.latest_delay_ms < 12_000
        assert world.violations() == {}


async def test_two_syncs_share_the_work(autojump_clock: object, tmp_path: Path) -> None:
    async with life(tmp_path, SPOT) as (world, stream), world.feed() as feed:
        await begun(feed, stream)
        await trio.sleep(30)
        before = world.sim.counters.requests
        first = feed.sync()
        assert feed.sync().id == first.id
        assert feed.sync([stream]).id == first.id
        longer = feed.sync(start_ms=world.now_ms() - 10 * HOUR_MS)
        shorter = feed.sync(start_ms=world.now_ms() - HOUR_MS)
        assert len({first.id, longer.id, shorter.id}) == 2, "what waits for longer history is covered by that"
        done = [await ended(feed, status) for status in (first, longer)]
        assert all(status.state is SyncState.DONE for status in done)
        assert done[0].candles < done[1].candles
        assert world.sim.counters.requests - before <= 3, (
            "290 minutes, and ten hours, in one request each; and perhaps a clock"
        )
        assert len(feed.syncs()) == 2


async def test_what_cannot_be_compared_says_why(autojump_clock: object, tmp_path: Path) -> None:
    async with open_world(tmp_path, spot("BTCUSDT", "NOSUCHUSDT", frames=("1m",))) as world, world.feed() as feed:
        await trio.sleep(30)
        everything = await ended(feed, feed.sync())
        assert (everything.state, everything.streams) == (SyncState.DONE, 1), "the parked one is not asked for"
        bad = [f"{SPOT}:NOSUCHUSDT:1m", f"{SPOT}:ETHUSDT:1m", f"{SPOT}:BTC/USDT:1m", str(MINUTE)]
        some = await ended(feed, feed.sync(bad))
        assert (some.state, some.streams, some.done, some.failed) == (SyncState.FAILED, 4, 1, 3)
        assert some.errors[0].startswith(f"{SPOT}:NOSUCHUSDT:1m: parked: ")
        assert some.errors[1:] == (f"{SPOT}:ETHUSDT:1m: nobody watches it", f"{SPOT}:BTC/USDT:1m: nobody watches it")
        with pytest.raises(UnknownVenue):
            feed.sync(["nowhere:BTCUSDT:1m"])
        with pytest.raises(InvalidTimeframe):
            feed.sync([f"{SPOT}:BTCUSDT:7"])
        assert feed.sync_status("99") is None
        nothing = feed.sync([])
        assert (nothing.state, nothing.streams) == (SyncState.DONE, 0)
        tomorrow = await ended(feed, feed.sync(start_ms=world.now_ms() + 24 * HOUR_MS))
        assert (tomorrow.state, tomorrow.candles) == (SyncState.DONE, 0)


async def test_a_venue_that_does_not_answer(autojump_clock: object, tmp_path: Path) -> None:
    async with life(tmp_path, SPOT) as (world, stream), world.feed() as feed:
        await begun(feed, stream)
        await trio.sleep(30)
        world.inject(FaultKind.REST_ERROR, duration_s=20.0)
        slow = await ended(feed, feed.sync())
        assert (slow.state, slow.errors) == (SyncState.DONE, ())
        world.inject(FaultKind.REST_ERROR, duration_s=1_000.0)
        failed = await ended(feed, feed.sync())
        assert (failed.state, failed.failed) == (SyncState.FAILED, 1)
        assert failed.errors[0].startswith(f"{stream}: ")
        await trio.sleep(1_000)
        assert (await ended(feed, feed.sync())).state is SyncState.DONE


async def test_a_stream_that_has_not_begun(autojump_clock: object, tmp_path: Path) -> None:
    """A sync asked for at once waits for the streams to begin, but not for ever."""
    async with life(tmp_path, SPOT) as (world, _):
        async with world.feed() as feed:
            assert (await ended(feed, feed.sync())).state is SyncState.DONE
        world.path.unlink()
        world.inject(FaultKind.REST_ERROR, duration_s=5_000.0)
        world.inject(FaultKind.REFUSE_CONNECT, duration_s=5_000.0)
        async with world.feed() as feed:
            failed = await ended(feed, feed.sync())
            assert failed.errors == (f"{MINUTE}: no candle of it has come yet",)


async def test_a_store_that_cannot_be_read(autojump_clock: object, tmp_path: Path) -> None:
    async with open_world(tmp_path, spot("BTCUSDT", frames=("1m",))) as world:
        store = await bad_store(world)
        async with world.feed(store=store) as feed:
            await begun(feed, MINUTE)
            store.refuses_reads = True
            failed = await ended(feed, feed.sync())
            assert failed.errors == (f"{MINUTE}: the disk does not answer",)
            store.refuses_reads = False
            assert (await ended(feed, feed.sync())).state is SyncState.DONE
        await store.aclose()


@pytest.mark.parametrize(
    ("owner", "method", "call"),
    [
        *((Sync, method, call) for method, call in (("_look", 0), ("_look", 1), ("_derive", 0))),
        *((Sync, "_hand_in", call) for call in (0, 1, 3, 5)),
        *((Sequencer, "_on_compared", call) for call in (0, 1, 2, 3, 5)),
        *((Aggregator, "_renew", call) for call in (0,)),
    ],
)
async def test_a_crash_in_the_middle(
    owner: type, method: str, call: int, autojump_clock: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next life of the actor goes on where this one stood."""
    saboteur = Saboteur(monkeypatch, owner, method, late=True)
    async with life(tmp_path, SPOT, (M7,)) as (world, stream):
        async with world.feed() as feed:
            reader = judge(world, feed)
            rows = await begun(feed, stream)
            await trio.sleep(60)
            saboteur.arm(call)
            done = await ended(feed, feed.sync(start_ms=rows[0].open_time_ms - 1_500 * MINUTE_MS))
            assert saboteur.struck == 1
            assert (done.state, done.errors) == (SyncState.DONE, ())
            stored = await feed.history(stream)
            assert [row.open_time_ms for row in stored] == list(
                M1.opens(rows[0].open_time_ms - 1_500 * MINUTE_MS, stored[-1].next_open_time_ms)
            )
            await trio.sleep(60)
            sevens = await feed.history(Stream(SPOT, stream.symbol, M7))
            assert values(sevens) == values([each for each in resample(stored, "7m") if each.closed and each.complete])
        assert not reader.complaints


async def test_a_bug_that_strikes_every_time(
    autojump_clock: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saboteur = Saboteur(monkeypatch, Sync, "_look")
    async with open_world(tmp_path, spot("BTCUSDT", "ETHUSDT", frames=("1m",))) as world, world.feed() as feed:
        await begun(feed, MINUTE)
        await trio.sleep(60)
        saboteur.arm(0, 1, 2)
        done = await ended(feed, feed.sync())
        assert (done.state, done.done, done.failed) == (SyncState.FAILED, 1, 1)
        assert "failed again and again" in done.errors[0]
        assert feed.status().healthy


async def test_unwatched_in_the_middle(autojump_clock: object, tmp_path: Path) -> None:
    async with life(tmp_path, SPOT) as (world, stream), world.feed() as feed:
        feed.watch([f"{SPOT}:BTCUSDT:5m"])
        await trio.sleep(60)
        five = Stream(SPOT, "BTCUSDT", Timeframe("5m"))
        status = feed.sync([five, stream], start_ms=world.now_ms() - 40 * HOUR_MS)
        feed.unwatch([five])
        done = await ended(feed, status)
        assert (done.done, done.failed) == (1, 1)
        assert done.errors[0].startswith(str(five))


async def test_a_feed_that_ends_in_the_middle(autojump_clock: object, tmp_path: Path) -> None:
    """What is stored has no hole, whenever a sync is interrupted, and the next one goes on."""
    async with life(tmp_path, SPOT) as (world, stream):
        for lifetime_s in (31.0, 30.5, 30.2):
            async with world.feed() as feed:
                await begun(feed, stream)
                with trio.move_on_after(lifetime_s):
                    await trio.sleep(30)
                    feed.sync(start_ms=EPOCH - 47 * HOUR_MS)
                    await trio.sleep_forever()
            rows, _ = await world.stored(stream)
            assert [row.open_time_ms for row in rows] == list(
                M1.opens(rows[0].open_time_ms, rows[-1].next_open_time_ms)
            )
        async with world.feed() as feed:
            await trio.sleep(30)
            done = await ended(feed, feed.sync(start_ms=EPOCH - 47 * HOUR_MS))
            assert done.state is SyncState.DONE
            rows = await feed.history(stream)
            assert M1.floor(EPOCH - 47 * HOUR_MS) <= rows[0].open_time_ms < EPOCH - 46 * HOUR_MS
            assert {row.source for row in rows} <= {Source.REST, Source.WS}
