"""Connections end in every way they can: everything is subscribed again, slow streams too, and nothing is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import evolve
from e2e_world import EPOCH, EVE, SPOT, open_world, spot, usdm

from candleactors.model import Stream, Timeframe
from candleactors.settings import HealthSettings
from candleactors.sim.binance import SPOT_RULES
from candleactors.sim.faults import FaultKind

FRAMES = ("1s", "1m", "4h", "1d", "1w", "1M")
ENDS: list[tuple[FaultKind, dict[str, Any]]] = [
    (FaultKind.DROP, {}),
    (FaultKind.RESET, {}),
    (FaultKind.CLOSE, {"code": 1000}),
    (FaultKind.CLOSE, {"code": 1001}),
    (FaultKind.CLOSE, {"code": 1008, "reason": "Too many requests"}),
    (FaultKind.CLOSE, {"code": 1011}),
    (FaultKind.CLOSE, {"code": 1012}),
    (FaultKind.CLOSE, {"code": 4242, "reason": "x" * 100}),
    (FaultKind.HALF_OPEN, {}),
    (FaultKind.SHUTDOWN, {"delay_s": 5.0}),
    (FaultKind.SHUTDOWN, {"delay_s": 0.0}),
]


@pytest.mark.parametrize(("kind", "more"), ENDS, ids=lambda value: str(value))
async def test_every_stream_comes_back(autojump_clock: object, tmp_path: Path, kind: FaultKind, more: Any) -> None:
    """The connection ends half a minute before the month does; a second time in the same minute as the close."""
    health = HealthSettings(idle_s=5.0)
    async with open_world(tmp_path, spot(frames=FRAMES), epoch_ms=EVE - 50_000, health=health) as world:
        async with world.feed() as feed:
            judge = world.judge(feed)
            await trio.sleep(20)
            before = world.subscribed()
            assert len(before) == 2 * len(FRAMES)
            for pause_s in (38.0, 40.0):
                hit = world.connections()[0].number
                world.inject(kind, **more)
                await trio.sleep(pause_s)
                assert world.subscribed() == before
                assert hit not in [connection.number for connection in world.connections()]
            status = feed.status()
            assert status.healthy
        await judge.verdict()
        assert status.venues[0].candles["gaps"] == 0
        assert judge.sources(Stream(SPOT, "BTCUSDT", Timeframe("1M")))
        assert world.violations() == {}
        assert world.sim.counters.connections <= 5


@pytest.mark.parametrize("kind", [FaultKind.REFUSE_CONNECT, FaultKind.HANG_HANDSHAKE, FaultKind.REJECT_HANDSHAKE])
async def test_a_venue_that_lets_nobody_in(autojump_clock: object, tmp_path: Path, kind: FaultKind) -> None:
    """For two minutes nothing connects. Attempts are few; REST goes on where it can."""
    async with open_world(tmp_path, spot(frames=("1s", "1m", "4h")), usdm(frames=("1m", "4h"))) as world:
        async with world.feed() as feed:
            judge = world.judge(feed)
            await trio.sleep(30)
            before = world.subscribed()
            refused = world.sim.counters.refused
            world.inject(kind, duration_s=120.0, code=503)
            world.inject(FaultKind.DROP)
            await trio.sleep(110)
            assert world.subscribed() == []
            assert not feed.status().healthy
            assert world.sim.counters.refused - refused < 40  # REST is refused as well, by a venue that is down
            await trio.sleep(200)
            assert world.subscribed() == before
            assert feed.status().healthy
        await judge.verdict()
        assert not judge.gaps
        assert world.violations() == {}


async def test_a_host_that_is_down_at_the_start(autojump_clock: object, tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        world.unlisten()
        async with world.feed() as feed:
            judge = world.judge(feed)
            await trio.sleep(100)
            assert not feed.status().healthy
            assert judge.streams == []
            world.listen()
            await trio.sleep(150)
            assert feed.status().healthy
        await judge.verdict()
        for stream in judge.streams:
            assert judge.opens(stream)[0] < EPOCH + 100_000


async def test_rejections_name_what_the_venue_said(autojump_clock: object, tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        world.inject(FaultKind.REJECT_HANDSHAKE, duration_s=30.0, code=451)
        async with world.feed() as feed:
            await trio.sleep(10)
            last = feed.status().venues[0].connections[0].last_disconnect
        assert last is not None
        assert "451" in last


async def test_many_connections_share_the_connect_budget(autojump_clock: object, tmp_path: Path) -> None:
    """A venue that lets an address connect six times a minute, and twelve connections that are lost together."""
    rules = {SPOT: evolve(SPOT_RULES, connects=6, connects_window_s=60.0)}
    venue = spot("BTCUSDT", "ETHUSDT", frames=FRAMES, streams_per_connection=1, connects=6, connects_window_s=60.0)
    async with open_world(tmp_path, venue, rules=rules) as world:
        async with world.feed() as feed:
            judge = world.judge(feed)
            await trio.sleep(130)
            assert feed.status().healthy
            world.inject(FaultKind.DROP)
            await trio.sleep(30)
            assert len(world.connections()) == 6
            assert feed.status().venues[0].budget.connects_waiting == 6
            await trio.sleep(100)
            assert feed.status().healthy
        await judge.verdict()
        assert not judge.gaps
        assert world.violations() == {}


async def test_storms_of_drops_keep_within_the_budget(autojump_clock: object, tmp_path: Path) -> None:
    """A connection that dies every few seconds for ten minutes: the waits grow, the candles come."""
    async with open_world(tmp_path, spot(frames=("1m", "4h"))) as world:
        async with world.feed() as feed:
            judge = world.judge(feed)
            for _ in range(200):
                await trio.sleep(3)
                world.inject(FaultKind.DROP)
            used = world.sim.counters.connections
            await trio.sleep(180)
            assert feed.status().healthy
        await judge.verdict()
        assert used < 40
        assert world.violations() == {}
