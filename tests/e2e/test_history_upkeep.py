"""What a feed does for the history of its streams by itself, in virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from e2e_world import EPOCH, World, open_world, other
from test_crashes import Saboteur
from test_every_venue import spelled
from test_sync import forget, true_values, values

from candleactors import resample
from candleactors.actors.sync import Sync
from candleactors.feed import Feed
from candleactors.model import DAY_MS, HOUR_MS, MINUTE_MS, GapReason, Stream, Timeframe
from candleactors.settings import AggregationSettings, HistorySettings, RepairSettings, RetentionSettings
from candleactors.sim import Market, Outage, default_symbols
from candleactors.stores.sqlite import open_sqlite

M1, H1 = Timeframe("1m"), Timeframe("1h")
VENUES = ("binance-spot", "bybit-spot", "okx", "bitfinex")
OUTAGE = Outage(EPOCH - 9 * HOUR_MS - 17_000, EPOCH - 6 * HOUR_MS + 23_000)
HALF_A_DAY = HistorySettings(depth_days=0.5, repair_interval_s=1_800)


class Requests:
    """Counts what the venues are asked over REST for candles of more than the last few minutes."""

    def __init__(self, world: World) -> None:
        self.count = 0
        for sim in world.sims.values():
            sim.counters.observe = self._observe

    def _observe(self, kind: str, text: str) -> None:
        self.count += kind == "rest" and ("candle" in text or "line" in text)


@asynccontextmanager
async def past(
    tmp_path: Path,
    venue: str,
    *,
    history: HistorySettings = HALF_A_DAY,
    hours: int = 48,
    outages: tuple[Outage, ...] = (OUTAGE,),
    **settings: Any,
) -> AsyncIterator[tuple[World, Stream]]:
    """A world whose market is older than what a feed begins with."""
    market = Market(7, EPOCH, default_symbols(1), history_ms=hours * HOUR_MS, outages=outages)
    symbol = spelled(venue, market)[0]
    others = other(venue, symbol, derived=(H1,))
    repair = RepairSettings(history=200)
    async with open_world(tmp_path, market=market, others=others, repair=repair, history=history, **settings) as world:
        yield world, Stream(venue, symbol, M1)
        assert world.violations() == {}


async def rounds(feed: Feed, kind: str, count: int) -> None:
    """Wait until so many rounds were done."""
    with trio.fail_after(90_000):
        while getattr(feed.status(), kind).rounds < count:  # noqa: ASYNC110 - nobody tells
            await trio.sleep(5)


@pytest.mark.parametrize("venue", VENUES)
async def test_streams_come_to_reach_back(venue: str, autojump_clock: object, tmp_path: Path) -> None:
    async with past(tmp_path, venue) as (world, stream), world.feed() as feed:
        reader = world.judge(feed)
        await rounds(feed, "backfill", 1)
        rows = await feed.history(stream)
        oldest_ms = rows[0].open_time_ms
        assert oldest_ms - (world.now_ms() - DAY_MS // 2) in range(-20 * MINUTE_MS, MINUTE_MS)
        assert values(rows) == true_values(world, stream, oldest_ms, rows[-1].next_open_time_ms)
        gaps = await feed.gaps(stream)
        if world.sims[venue].rules.flat_rows:
            (gap,) = gaps
            assert gap.reason is GapReason.VENUE
            assert feed.status().backfill.outages == gap.count > 170
        else:
            assert gaps == []
        hours = [each for each in resample(rows, H1) if each.closed and each.open_time_ms >= oldest_ms]
        stored = await feed.history(Stream(venue, stream.symbol, H1))
        assert values(stored) == values(hours[: len(stored)])
        assert len(stored) >= len(hours) - 1
        assert feed.status().backfill.candles >= 280
        assert not reader.complaints
        # The next rounds find nothing to ask for.
        requests, before = Requests(world), len(world.log.named("history mended"))
        await rounds(feed, "backfill", 4)
        assert len(world.log.named("history mended")) == before == 1
        usual = 46 if world.sims[venue].rules.flat_rows else 60
        assert requests.count < usual, "but for the usual comparisons"


@pytest.mark.parametrize("venue", VENUES)
async def test_holes_are_mended_whenever_they_came(venue: str, autojump_clock: object, tmp_path: Path) -> None:
    async with past(tmp_path, venue, outages=()) as (world, stream), world.feed() as feed:
        reader = world.judge(feed)
        await rounds(feed, "backfill", 1)
        await rounds(feed, "repair", 1)
        rows = await feed.history(stream)
        for first in (30, 200, len(rows) - 200):
            forget(world.path, stream, rows[first].open_time_ms, rows[first + 7].open_time_ms)
        hour = Stream(venue, stream.symbol, H1)
        hours = await feed.history(hour)
        assert forget(world.path, hour, hours[2].open_time_ms, hours[4].open_time_ms) == 2
        await rounds(feed, "repair", 2)
        assert values((await feed.history(hour))[: len(hours)]) == values(hours)
        found = await feed.history(stream, rows[0].open_time_ms, rows[-1].open_time_ms)
        assert values(found) == values(rows)
        assert feed.status().repair.candles >= 23
        assert {revision.candle.open_time_ms for revision in reader.revisions} >= {
            rows[each].open_time_ms for each in range(200, 207)
        }


async def test_an_outage_is_confirmed_once(autojump_clock: object, tmp_path: Path) -> None:
    async with past(tmp_path, "okx") as (world, stream), world.feed() as feed:
        await rounds(feed, "backfill", 1)
        await rounds(feed, "repair", 1)
        (gap,) = await feed.gaps(stream)
        found = feed.status().backfill.outages + feed.status().repair.outages
        assert found == gap.count
        await rounds(feed, "repair", 3)
        assert await feed.gaps(stream) == [gap]
        assert feed.status().backfill.outages + feed.status().repair.outages == found


@pytest.mark.parametrize("venue", ["binance-spot", "okx"])
async def test_where_the_market_began_is_remembered(venue: str, autojump_clock: object, tmp_path: Path) -> None:
    history = HistorySettings(depth_days=30)
    async with past(tmp_path, venue, hours=10, outages=(), history=history) as (world, stream), world.feed() as feed:
        await rounds(feed, "backfill", 1)
        rows = await feed.history(stream)
        assert rows[0].open_time_ms == (EPOCH - 10 * HOUR_MS) // MINUTE_MS * MINUTE_MS
        requests = Requests(world)
        await rounds(feed, "backfill", 3)
        assert requests.count < 30, "but for the usual comparisons"


async def test_what_is_not_kept_is_not_fetched(autojump_clock: object, tmp_path: Path) -> None:
    retention = RetentionSettings({M1: 0.25}, interval_s=3_600)
    aggregation = AggregationSettings(warm_start_minutes=60, catch_up_minutes=120)
    async with (
        past(tmp_path, "binance-spot", outages=(), retention=retention, aggregation=aggregation) as (world, stream),
        world.feed() as feed,
    ):
        await rounds(feed, "backfill", 3)
        rows = await feed.history(stream)
        assert rows[0].open_time_ms >= EPOCH - DAY_MS // 4
        await rounds(feed, "backfill", 12)
        assert feed.status().backfill.candles <= 6 * 60


async def test_a_sync_that_crashes_goes_on(
    autojump_clock: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with past(tmp_path, "okx") as (world, stream), world.feed() as feed:
        saboteur = Saboteur(monkeypatch, Sync, "_look")
        saboteur.arm(1, 4)
        await rounds(feed, "backfill", 1)
        rows = await feed.history(stream)
        assert values(rows) == true_values(world, stream, rows[0].open_time_ms, rows[-1].next_open_time_ms)
        assert rows[0].open_time_ms < EPOCH - 11 * HOUR_MS
        assert saboteur.struck == 2


async def test_without_a_depth_only_holes_are_mended(autojump_clock: object, tmp_path: Path) -> None:
    async with past(tmp_path, "binance-spot", history=HistorySettings(), outages=()) as (world, stream):
        async with world.feed() as feed:
            await trio.sleep(60)
            rows = await feed.history(stream)
            forget(world.path, stream, rows[50].open_time_ms, rows[60].open_time_ms)
            await rounds(feed, "backfill", 1)
            await rounds(feed, "repair", 1)
            found = await feed.history(stream)
            assert found[0] == rows[0], "neither kind of round makes history longer"
            assert values(found[: len(rows)]) == values(rows)
        async with open_sqlite(world.path, threaded=False, read_only=True) as store:
            assert len(await store.covered(stream)) == 1
