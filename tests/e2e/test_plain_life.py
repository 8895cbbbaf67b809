"""A feed among well-behaved venues: history first, then every candle of every timeframe."""

from __future__ import annotations

from pathlib import Path

import trio
from e2e_world import EVE, SPOT, USDM, open_world, spot, usdm

from candleactors.model import Stream, Timeframe
from candleactors.settings import RepairSettings
from candleactors.sim.binance import SPOT_RULES, USDM_RULES

SLOW = ("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1M")


async def test_history_comes_first_then_every_candle(autojump_clock: object, tmp_path: Path) -> None:
    async with open_world(tmp_path, repair=RepairSettings(history=50)) as world:
        async with world.feed() as feed:
            judge = world.judge(feed)
            await trio.sleep(200)
            status = feed.status()
        await judge.verdict(slack_s=2.0)
        assert status.healthy
        assert not judge.gaps
        assert not judge.revisions
        assert judge.forming > 100
        for stream in judge.streams:
            opened = stream.timeframe.floor(world.clock.epoch_ms)
            history = [ms for ms in judge.opens(stream) if ms < opened]
            assert len(history) in (50, 51)
            assert set(judge.sources(stream, opened + stream.timeframe.nominal_ms)) == {"ws"}
        assert world.violations() == {}
        assert not [line for line in world.log.lines if line["level"] not in ("debug", "info")]


async def test_slow_timeframes_close_on_both_markets(autojump_clock: object, tmp_path: Path) -> None:
    """The night on which the minute, the day, the week and the month end together."""
    venues = spot("BTCUSDT", "ETHUSDT", frames=("1s", *SLOW)), usdm("BTCUSDT", frames=SLOW)
    async with open_world(tmp_path, *venues, epoch_ms=EVE) as world:
        async with world.feed() as feed:
            judge = world.judge(feed)
            await trio.sleep(25)
            assert feed.status().healthy
        await judge.verdict(slack_s=3.0)
        for venue in (SPOT, USDM):
            for frame in ("1h", "4h", "1d", "1w", "1M"):
                assert judge.sources(Stream(venue, "BTCUSDT", Timeframe(frame)))[-1] == "ws"
        assert world.violations() == {}
        assert SPOT_RULES.timeframes[1:] == USDM_RULES.timeframes
