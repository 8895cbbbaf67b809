"""Holes, the venue's own gaps, corrections, late and lost closes, and what arrives twice or in the wrong order."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from e2e_world import EPOCH, SPOT, open_world, spot, usdm

from candleactors.model import MINUTE_MS, GapReason, Stream, Timeframe
from candleactors.settings import HealthSettings, RepairSettings
from candleactors.sim.faults import FaultKind

SECOND = Stream(SPOT, "BTCUSDT", Timeframe("1s"))
MINUTE = Stream(SPOT, "BTCUSDT", Timeframe("1m"))


async def test_what_a_reconnect_missed_comes_over_rest_first(autojump_clock: object, tmp_path: Path) -> None:
    async with open_world(tmp_path, spot(frames=("1s", "1m"))) as world:
        async with world.feed() as feed:
            judge = world.judge(feed)
            await trio.sleep(20)
            world.inject(FaultKind.HANG_HANDSHAKE, duration_s=100.0)
            world.inject(FaultKind.DROP)
            await trio.sleep(240)
            candles = feed.status().venues[0].candles
        await judge.verdict()
        assert not judge.gaps
        assert candles["holes"] + candles["from_rest"] > 100
        assert judge.sources(SECOND, EPOCH + 21_000).count("rest") > 80
        assert judge.sources(SECOND)[-10:] == ["ws"] * 10


async def test_an_outage_of_the_venue_is_an_explicit_gap(autojump_clock: object, tmp_path: Path) -> None:
    async with open_world(tmp_path, spot(frames=("1s", "1m", "5m", "1h")), usdm()) as world:
        async with world.feed() as feed:
            judge = world.judge(feed)
            await trio.sleep(45)
            world.inject(FaultKind.HALT, duration_s=200.0)
            await trio.sleep(320)
            assert feed.status().venues[0].repairing == 0
        await judge.verdict()
        assert judge.gaps
        assert {gap.reason for gap in judge.gaps} == {GapReason.VENUE}
        minutes = [gap for gap in judge.gaps if gap.stream == MINUTE]
        assert sum(gap.count for gap in minutes) == 2
        assert not judge.revisions


async def test_one_symbol_halts_and_the_others_go_on(autojump_clock: object, tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        async with world.feed() as feed:
            judge = world.judge(feed)
            await trio.sleep(30)
            world.inject(FaultKind.HALT, symbol="ETHUSDT", duration_s=150.0)
            await trio.sleep(140)
            assert trio.current_time() - judge.last_seen_s[SECOND] < 3
            await trio.sleep(90)
        await judge.verdict()
        assert {gap.stream.symbol for gap in judge.gaps} == {"ETHUSDT"}
        assert world.sim.counters.connections == 1


async def test_rest_down_past_the_deadline_gives_a_gap_and_then_revisions(
    autojump_clock: object, tmp_path: Path
) -> None:
    repair = RepairSettings(deadline_s=20.0)
    async with open_world(tmp_path, repair=repair) as world:
        async with world.feed() as feed:
            judge = world.judge(feed)
            await trio.sleep(30)
            world.inject(FaultKind.REST_ERROR, duration_s=60.0, code=503)
            world.inject(FaultKind.LOST_CLOSE, duration_s=10.0)
            await trio.sleep(45)
            assert {gap.reason for gap in judge.gaps} == {GapReason.UNREPAIRED}
            assert {gap.stream.timeframe.text for gap in judge.gaps} >= {"1s"}
            given_up = sum(gap.count for gap in judge.gaps)
            await trio.sleep(200)
            assert len(judge.revisions) == given_up
        await judge.verdict()


async def test_a_corrected_candle_is_revised_in_every_timeframe(autojump_clock: object, tmp_path: Path) -> None:
    repair = RepairSettings(verify_interval_s=60.0)
    async with open_world(tmp_path, spot(frames=("1m", "5m")), repair=repair) as world:
        async with world.feed() as feed:
            judge = world.judge(feed)
            await trio.sleep(465)
            # In the five-minute candle that closed a minute ago, and among the remembered minutes.
            world.inject(FaultKind.CORRECTION, symbol="BTCUSDT", count=3)
            await trio.sleep(200)
            assert {str(revision.stream.timeframe) for revision in judge.revisions} == {"1m", "5m"}
            history = await feed.history(MINUTE, newest=True, limit=20)
            assert [candle.revision for candle in history].count(1) == 1
        await judge.verdict()
        assert {revision.candle.revision for revision in judge.revisions} == {1}


async def test_stale_rows_are_never_believed(autojump_clock: object, tmp_path: Path) -> None:
    """Replicas answer as of eight seconds ago, while the socket loses closes."""
    async with open_world(tmp_path, spot(frames=("1s", "1m"))) as world:
        async with world.feed() as feed:
            judge = world.judge(feed)
            await trio.sleep(30)
            world.inject(FaultKind.REST_STALE, duration_s=120.0, delay_s=8.0)
            for _ in range(6):
                world.inject(FaultKind.LOST_CLOSE, duration_s=4.0)
                await trio.sleep(20)
            await trio.sleep(120)
        await judge.verdict(slack_s=10)
        assert not judge.gaps


async def test_stale_rows_at_the_start(autojump_clock: object, tmp_path: Path) -> None:
    async with open_world(tmp_path, spot(frames=("1s", "1m"))) as world:
        world.inject(FaultKind.REST_STALE, duration_s=60.0, delay_s=5.0)
        async with world.feed() as feed:
            judge = world.judge(feed)
            await trio.sleep(200)
        await judge.verdict(slack_s=10)
        assert not judge.gaps


@pytest.mark.parametrize("kind", [FaultKind.LATE_CLOSE, FaultKind.LOST_CLOSE])
async def test_closes_that_come_late_or_never_are_fetched_in_time(
    autojump_clock: object, tmp_path: Path, kind: FaultKind
) -> None:
    async with open_world(tmp_path, spot(frames=("1m", "3m"))) as world:
        async with world.feed() as feed:
            judge = world.judge(feed)
            await trio.sleep(10)
            world.inject(kind, duration_s=400.0, delay_s=30.0)
            await trio.sleep(450)
        await judge.verdict()
        assert not judge.gaps
        assert judge.latest_delay_ms < 8_000
        assert world.sim.counters.connections == 1
        assert "rest" in judge.sources(MINUTE, EPOCH + MINUTE_MS)


async def test_duplicates_delays_and_disorder(autojump_clock: object, tmp_path: Path) -> None:
    async with open_world(tmp_path, spot(frames=("1s", "1m")), usdm("BTCUSDT", "ETHUSDT", "SOLUSDT")) as world:
        async with world.feed() as feed:
            judge = world.judge(feed)
            await trio.sleep(10)
            world.inject(FaultKind.DUPLICATE, duration_s=150.0)
            await trio.sleep(20)
            world.inject(FaultKind.REORDER, duration_s=100.0, delay_s=2.5)
            await trio.sleep(60)
            world.inject(FaultKind.DELAY, duration_s=30.0, delay_s=4.0)
            await trio.sleep(100)
            status = feed.status()
        await judge.verdict()
        assert not judge.gaps
        assert not judge.revisions
        assert sum(venue.candles["duplicates"] for venue in status.venues) > 50


async def test_a_closed_candle_contradicted_by_the_socket_is_confirmed_over_rest(
    autojump_clock: object, tmp_path: Path
) -> None:
    """The very moment of a reconnect brings a candle twice, with different contents in the worst case: REST decides."""
    repair, health = RepairSettings(verify_interval_s=30.0), HealthSettings(close_grace_s=0.5)
    async with open_world(tmp_path, repair=repair, health=health) as world:
        async with world.feed() as feed:
            judge = world.judge(feed)
            for _ in range(10):
                await trio.sleep(11)
                world.inject(FaultKind.DROP)
                world.inject(FaultKind.REST_STALE, duration_s=5.0, delay_s=1.0)
            await trio.sleep(90)
        await judge.verdict()
        assert not judge.gaps


@pytest.mark.parametrize("ahead_ms", [-90_000, -1_500, 1_500, 90_000])
async def test_the_venues_clock_counts_not_ours(autojump_clock: object, tmp_path: Path, ahead_ms: int) -> None:
    async with open_world(tmp_path, spot(frames=("1s", "1m"))) as world:
        world.venue_ahead_ms = ahead_ms
        async with world.feed() as feed:
            judge = world.judge(feed)
            await trio.sleep(70)
            world.inject(FaultKind.DROP)
            await trio.sleep(80)
            offset = feed.status().venues[0].clock_offset_ms
        await judge.verdict()
        assert not judge.gaps
        assert offset is not None
        assert abs(offset - ahead_ms) < 100


async def test_a_venue_whose_clock_is_set_forward(autojump_clock: object, tmp_path: Path) -> None:
    """The simulator leaps 40 s ahead: a stretch without messages, then a new time. Candles go on, none is early."""
    repair = RepairSettings(clock_interval_s=30.0)
    async with open_world(tmp_path, spot(frames=("1m",)), repair=repair) as world:
        async with world.feed() as feed:
            judge = world.judge(feed)
            await trio.sleep(70)
            world.venue_ahead_ms = 40_000
            await trio.sleep(250)
        await judge.verdict()
        assert not judge.gaps
