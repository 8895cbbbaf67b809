"""Derived candles in the whole feed: what readers and the store get is what the market's own minutes come to."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import trio
from derived_judge import DerivedJudge, judge
from e2e_world import SPOT, open_world, spot, usdm
from test_subscribers import sluggish

from candleactors.model import HOUR_MS, Candle, Gap, GapReason, Source, Stream, Timeframe
from candleactors.settings import BackoffSettings, RepairSettings, SubscriberSettings
from candleactors.sim.faults import FaultKind, chaos
from candleactors.sim.market import Market
from candleactors.testing import reference_resample

ALL = Timeframe.expand("2m..60m,2h,4h,1d,1w,1M")
SHORT = Timeframe.expand("2m,3m,5m,7m,15m,59m,60m")
FEW = (*SHORT, Timeframe("4h"))
TEA_TIME = 1_700_002_710_000  # 2023-11-14 22:58:30
MONTHS_END = 1_719_791_910_000  # 2024-06-30 23:58:30, a Sunday: a week, a month, a quarter and half a year end
LEAP_DAY = 1_709_164_710_000  # 2024-02-28 23:58:30


def market(epoch_ms: int, hours: int = 5) -> Market:
    return Market(7, epoch_ms, history_ms=hours * HOUR_MS)


def stream(frame: str, symbol: str = "BTCUSDT", venue: str = SPOT) -> Stream:
    return Stream(venue, symbol, Timeframe(frame))


MINUTE = stream("1m")


def opens(gap: Gap) -> list[int]:
    return list(gap.stream.timeframe.opens(gap.first_open_ms, gap.last_open_ms + 1))


@pytest.mark.parametrize("epoch_ms", [TEA_TIME, MONTHS_END, LEAP_DAY])
async def test_plain_life_over_a_boundary(autojump_clock: object, tmp_path: Path, epoch_ms: int) -> None:
    """All sizes end at an hour, a day, a week and a month, with the close of the last minute and no later."""
    venues = [spot("BTCUSDT", frames=("1m",), derived=ALL), usdm("ETHUSDT", derived=ALL[::7])]
    async with open_world(tmp_path, *venues, epoch_ms=epoch_ms, market=market(epoch_ms)) as world:
        async with world.feed() as feed:
            reader = judge(world, feed)
            await trio.sleep(250)
            status = feed.status().venues[0]
            assert (status.derived, status.cold, status.subscriptions) == (len(ALL), 0, 1)
        await reader.verdict()
        await reader.verdict_on()
        assert not reader.gaps
        assert not reader.revisions
        assert reader.latest_delay_ms < 1_000
        assert reader.forming > 500
        boundary_ms = epoch_ms + 90_000
        ended = [each for each in ALL if each.floor(boundary_ms) == boundary_ms]
        assert len(ended) > 10
        for frame in ended:
            assert frame.previous_open(boundary_ms) in reader.said[stream(str(frame))]
        assert world.sim.counters.connections == 1


async def test_reconnect_storms_and_disorder(autojump_clock: object, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"repair": RepairSettings(deadline_s=60.0), "backoff": BackoffSettings(max_s=5.0)}
    venue = spot("BTCUSDT", "PERPUSDT", frames=("1m",), derived=FEW)
    async with open_world(tmp_path, venue, epoch_ms=TEA_TIME, market=market(TEA_TIME), **settings) as world:
        async with world.feed() as feed:
            reader = judge(world, feed)
            await trio.sleep(20)
            for fault in chaos(3, first_s=0.0, for_s=240.0).timeline():
                world.sim.inject(fault)
                await trio.sleep(1.4)
            world.inject(FaultKind.DUPLICATE, duration_s=150.0)
            world.inject(FaultKind.REORDER, duration_s=150.0, delay_s=2.5)
            for _ in range(4):
                world.inject(FaultKind.LOST_CLOSE, duration_s=30.0)
                world.inject(FaultKind.REST_STALE, duration_s=20.0, delay_s=4.0)
                await trio.sleep(50)
        await reader.verdict(slack_s=12)
        await reader.verdict_on()
        assert not reader.gaps
        assert world.sim.counters.connections > 8


@pytest.mark.parametrize("kind", [FaultKind.LOST_CLOSE, FaultKind.SILENCE])
async def test_a_mute_stream_at_the_boundary(autojump_clock: object, tmp_path: Path, kind: FaultKind) -> None:
    """After the grace REST is asked for the last constituent, and the derived candles come with it."""
    venue = spot("BTCUSDT", "ETHUSDT", frames=("1m",), derived=FEW)
    async with open_world(tmp_path, venue, epoch_ms=TEA_TIME, market=market(TEA_TIME)) as world:
        async with world.feed() as feed:
            reader = judge(world, feed)
            await trio.sleep(60)
            assert reader.latest_delay_ms < 500
            world.inject(kind, duration_s=40.0)
            await trio.sleep(30)
            reader.latest_delay_ms = 0
            await trio.sleep(5)
            hour = reader.said[stream("60m")][TEA_TIME + 90_000 - HOUR_MS]
            assert hour.complete
            assert reader.said[MINUTE][TEA_TIME + 30_000].source is Source.REST
            assert 1_000 < reader.latest_delay_ms < 3_000 + 1_000
        await reader.verdict()
        await reader.verdict_on()
        assert not reader.gaps


async def test_an_outage_of_the_venue(autojump_clock: object, tmp_path: Path) -> None:
    """Whatever it took a part of is incomplete and says how much is missing; what it took whole is a gap."""
    venue = spot("BTCUSDT", "ETHUSDT", frames=("1m",), derived=FEW)
    async with open_world(tmp_path, venue, epoch_ms=TEA_TIME, market=market(TEA_TIME)) as world:
        async with world.feed() as feed:
            reader = judge(world, feed)
            await trio.sleep(45)
            world.inject(FaultKind.HALT, symbol="BTCUSDT", duration_s=600.0)
            await trio.sleep(780)
        await reader.verdict()
        await reader.verdict_on()
        missing = reader.missing[MINUTE].keys()
        assert len(missing) == 9
        assert {gap.reason for gap in reader.gaps} == {GapReason.VENUE}
        assert {str(gap.stream.timeframe) for gap in reader.gaps} == {"1m", "2m", "3m", "5m"}
        assert {gap.stream.symbol for gap in reader.gaps} == {"BTCUSDT"}
        for frame in FEW:
            for candle in reader.said.get(stream(str(frame)), {}).values():
                inside = [open_ms for open_ms in missing if frame.floor(open_ms) == candle.open_time_ms]
                assert candle.missing == len(inside) or candle.open_time_ms < min(reader.said[MINUTE])
        assert not reader.revisions


async def test_late_repairs_revise_exactly_what_contains_them(autojump_clock: object, tmp_path: Path) -> None:
    venue = spot("BTCUSDT", "ETHUSDT", frames=("1m",), derived=FEW)
    repair = RepairSettings(deadline_s=15.0)
    async with open_world(tmp_path, venue, epoch_ms=TEA_TIME, market=market(TEA_TIME), repair=repair) as world:
        async with world.feed() as feed:
            reader = judge(world, feed)
            await trio.sleep(100)
            world.inject(FaultKind.STREAM_SILENCE, stream="btcusdt@kline_1m", duration_s=200.0)
            world.inject(FaultKind.REST_ERROR, code=503, duration_s=290.0)
            await trio.sleep(285)
            lost = {open_ms for gap in reader.gaps if gap.stream == MINUTE for open_ms in opens(gap)}
            assert len(lost) >= 3
            told = {frame: dict(reader.said[stream(str(frame))]) for frame in SHORT}
            over = {frame: reader.next_ms[stream(str(frame))] for frame in SHORT}
            assert not reader.revisions
            await trio.sleep(400)
        await reader.verdict()
        await reader.verdict_on()
        assert not reader.missing[MINUTE]
        for frame in SHORT:
            revised = [each.candle.open_time_ms for each in reader.revisions if each.stream == stream(str(frame))]
            affected = {frame.floor(open_ms) for open_ms in lost}
            assert set(revised) >= {open_ms for open_ms in affected if open_ms < over[frame]}
            assert set(revised) <= affected
            assert all(not told[frame][open_ms].complete for open_ms in affected & told[frame].keys())
            said = reader.said[stream(str(frame))]
            assert all(said[open_ms].complete for open_ms in affected & said.keys())
        assert {each.stream.symbol for each in reader.revisions} == {"BTCUSDT"}


async def test_the_venues_corrections(autojump_clock: object, tmp_path: Path) -> None:
    repair = RepairSettings(verify_interval_s=60.0)
    venue = spot("BTCUSDT", "ETHUSDT", frames=("1m",), derived=FEW)
    async with open_world(tmp_path, venue, epoch_ms=TEA_TIME, market=market(TEA_TIME), repair=repair) as world:
        async with world.feed() as feed:
            reader = judge(world, feed)
            await trio.sleep(200)
            for minutes in (2, 9):
                world.inject(FaultKind.CORRECTION, symbol="BTCUSDT", count=minutes)
            await trio.sleep(180)
            world.inject(FaultKind.CORRECTION, symbol="BTCUSDT", count=12)
            await trio.sleep(120)
        await reader.verdict()
        await reader.verdict_on()
        corrected = {each.candle.open_time_ms for each in reader.revisions if each.stream == MINUTE}
        assert len(corrected) >= 2
        for frame in SHORT:
            revised = {each.candle.open_time_ms for each in reader.revisions if each.stream == stream(str(frame))}
            affected = {frame.floor(open_ms) for open_ms in corrected}
            assert {open_ms for open_ms in affected if frame.close_ms(open_ms) < TEA_TIME + 200_000} <= revised
            assert revised <= affected
        assert all(each.candle.complete for each in reader.revisions)


async def test_slow_readers_resume_without_loss(autojump_clock: object, tmp_path: Path) -> None:
    subscriber = SubscriberSettings(max_pending=60)
    venue = spot("BTCUSDT", frames=("1m",), derived=FEW)
    async with open_world(tmp_path, venue, epoch_ms=TEA_TIME, market=market(TEA_TIME), subscriber=subscriber) as world:
        async with world.feed() as feed:
            reader = DerivedJudge(world)
            lagged = 0

            async def read() -> None:
                nonlocal lagged
                lagged = await sluggish(world, feed, reader, [400.0, 0.0, 700.0, 3.0, 500.0, 1.0])

            world.nursery.start_soon(read)
            await trio.sleep(2_000)
        await reader.verdict()
        await reader.verdict_on()
        assert lagged >= 2


async def test_forming_candles(autojump_clock: object, tmp_path: Path) -> None:
    """Each is what its closed constituents and the forming one come to, of each stream at most one at a time."""
    subscriber = SubscriberSettings(conflate_s=2.5)
    venue = spot("BTCUSDT", "ETHUSDT", frames=("1m",), derived=FEW)
    async with open_world(tmp_path, venue, epoch_ms=TEA_TIME, market=market(TEA_TIME), subscriber=subscriber) as world:
        async with world.feed() as feed:
            reader = DerivedJudge(world)
            formed: dict[Stream, list[float]] = {}
            subscription = feed.candles(forming=True)
            while trio.current_time() < 330:
                batch = await subscription.batch()
                for event in batch:
                    reader.take(event)
                forming = [each for each in batch if isinstance(each, Candle) and not each.closed]
                assert_formed(reader, forming)
                for each in forming:
                    formed.setdefault(each.stream, []).append(trio.current_time())
        assert formed.keys() == {MINUTE, stream("1m", "ETHUSDT"), *reader.derived()}
        for times_s in formed.values():
            assert 60 < len(times_s) <= 330 / 2.5
            assert all(later - earlier >= 2.5 for earlier, later in pairwise(times_s))
        assert not reader.complaints


def assert_formed(reader: DerivedJudge, forming: list[Candle]) -> None:
    sources = {candle.symbol: candle for candle in forming if candle.timeframe == MINUTE.timeframe}
    for candle in forming:
        if candle.timeframe == MINUTE.timeframe:
            continue
        source = sources[candle.symbol]
        said = reader.said[source.stream].values()
        present = [each for each in said if candle.open_time_ms <= each.open_time_ms < source.open_time_ms]
        [right] = reference_resample([*present, source.replace(closed=True)], candle.timeframe)
        assert candle == right.replace(closed=False, complete=False, missing=right.missing + 1)
