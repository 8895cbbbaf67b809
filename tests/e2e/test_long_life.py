"""A day and more: rotation before the venue's limit, make-before-break, and the venue's own notice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import evolve
from e2e_world import SPOT, World, open_world, spot

from candleactors.feed import Feed
from candleactors.sim.binance import SPOT_RULES
from candleactors.sim.faults import FaultKind


class Watchman:
    """Looks at the pool again and again and remembers the worst."""

    def __init__(self, world: World, feed: Feed) -> None:
        self.most_connections = 0
        self.unsubscribed = 0
        self.doubly_active = 0
        self.unhealthy = 0
        self.most_queued = 0
        self._world = world
        self._feed = feed

    async def look(self, streams: int, every_s: float = 1.0) -> None:
        """Run until cancelled; `streams` are wanted of the first venue."""
        while True:
            await trio.sleep(every_s)
            status = self._feed.status().venues[0]
            active = [c for c in status.connections if not c.retiring]
            self.doubly_active += sum(c.streams for c in active) != streams
            self.unhealthy += not status.healthy
            self.most_connections = max(self.most_connections, len(self._world.connections()))
            self.unsubscribed += len(set(self._world.subscribed())) < streams
            venue = self._feed._venues[status.venue]
            parts = self._feed._parts
            queued = (len(venue.sequencer.mailbox), len(parts.hub.mailbox), len(parts.store_writer.mailbox))
            self.most_queued = max(self.most_queued, *queued)


async def test_twenty_five_hours(autojump_clock: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No candle is lost at the rotation, which comes before the venue's own end of the connection."""
    for look in ("candleactors.actors.sequencer._LOOK_EVERY_S", "candleactors.actors.pool._LOOK_EVERY_S"):
        monkeypatch.setattr(look, 5.0)  # the day is long
    rules = {SPOT: evolve(SPOT_RULES, push_ms=30_000, ping_s=120.0)}
    async with open_world(tmp_path, spot(frames=("1m", "4h"), streams_per_connection=2), rules=rules) as world:
        async with world.feed() as feed:
            judge = world.judge(feed)
            await trio.sleep(30)
            watchman = Watchman(world, feed)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(watchman.look, 4, 20.0)
                await trio.sleep(25 * 3600)
                nursery.cancel_scope.cancel()
            status = feed.status()
            assert status.healthy
        await judge.verdict()
        assert not judge.gaps
        assert not judge.revisions
        assert status.venues[0].rotations == 2
        assert watchman.unsubscribed == 0
        assert watchman.doubly_active == 0
        assert watchman.unhealthy == 0
        assert watchman.most_connections <= 4
        assert watchman.most_queued < 64
        assert world.sim.counters.connections == 4
        assert world.violations() == {}
        # Nobody noticed: everything after the start came over the sockets, at once.
        assert judge.latest_delay_ms < 1_500
        rest = sum(source == "rest" for s in judge.streams for source in judge.sources(s, world.clock.epoch_ms))
        assert rest == 0
        assert not world.log.named("child failed")


@pytest.mark.parametrize("lifetime_close", [1001, None])
async def test_a_venue_that_ends_connections_without_notice(
    autojump_clock: object, tmp_path: Path, lifetime_close: Any
) -> None:
    """Without rotation on our side, the venue's end is a reconnect like any other."""
    rules = {SPOT: evolve(SPOT_RULES, lifetime_s=400.0, shutdown_notice=False, lifetime_close=lifetime_close)}
    async with open_world(tmp_path, spot(rotate_after_s=None), rules=rules) as world:
        async with world.feed() as feed:
            judge = world.judge(feed)
            await trio.sleep(1_000)
        await judge.verdict()
        assert not judge.gaps
        assert world.sim.counters.connections == 3


@pytest.mark.parametrize("flowing", [True, False])
async def test_rotation_every_few_minutes(autojump_clock: object, tmp_path: Path, flowing: bool) -> None:
    """With seconds that flow at once, and with quiet streams whose successor only settles."""
    symbols, frames = (("BTCUSDT",), ("1s", "1m")) if flowing else (("PERPUSDT",), ("1m", "1d"))
    venue = spot(*symbols, frames=frames, rotate_after_s=100.0, flowing_timeout_s=20.0)
    async with open_world(tmp_path, venue) as world:
        async with world.feed() as feed:
            judge = world.judge(feed)
            watchman = Watchman(world, feed)
            await trio.sleep(20)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(watchman.look, 2)
                await trio.sleep(1_000)
                nursery.cancel_scope.cancel()
            rotations = feed.status().venues[0].rotations
        await judge.verdict()
        assert rotations >= 8
        assert watchman.unsubscribed == 0
        assert watchman.doubly_active == 0
        assert watchman.unhealthy == 0
        assert watchman.most_connections == 2
        assert not judge.gaps
        assert not judge.revisions
        assert not world.log.named("child failed")
        assert world.violations() == {}


async def test_a_server_shutdown_costs_nothing(autojump_clock: object, tmp_path: Path) -> None:
    async with open_world(tmp_path, spot(frames=("1s", "1m"))) as world:
        async with world.feed() as feed:
            judge = world.judge(feed, forming=False)
            watchman = Watchman(world, feed)
            await trio.sleep(20)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(watchman.look, 4)
                for _ in range(3):
                    world.inject(FaultKind.SHUTDOWN, delay_s=30.0)
                    await trio.sleep(60)
                nursery.cancel_scope.cancel()
            rotations = feed.status().venues[0].rotations
        await judge.verdict()
        assert rotations == 3
        assert watchman.unsubscribed == 0
        assert set(judge.sources(judge.streams[0], world.clock.epoch_ms + 25_000)) == {"ws"}
        assert not judge.gaps


async def test_a_rotation_whose_successor_cannot_connect(autojump_clock: object, tmp_path: Path) -> None:
    """The old connection serves until the new one does, however long that takes; a second notice changes nothing."""
    async with open_world(tmp_path, spot(frames=("1s", "1m"), rotate_after_s=120.0)) as world:
        async with world.feed() as feed:
            judge = world.judge(feed)
            await trio.sleep(90)
            world.inject(FaultKind.REJECT_HANDSHAKE, duration_s=100.0)
            await trio.sleep(60)
            assert feed.status().venues[0].rotations == 1
            assert len(world.connections()) == 1
            world.inject(FaultKind.SHUTDOWN, delay_s=200.0)
            await trio.sleep(150)
            assert len(world.connections()) == 1
            assert feed.status().healthy
        await judge.verdict()
        assert not judge.gaps
        assert set(judge.sources(judge.streams[0], world.clock.epoch_ms + 25_000)) == {"ws"}


async def test_the_old_connection_dies_before_the_new_one_flows(autojump_clock: object, tmp_path: Path) -> None:
    async with open_world(tmp_path, spot(frames=("1s", "1m"), rotate_after_s=120.0)) as world:
        async with world.feed() as feed:
            judge = world.judge(feed)
            await trio.sleep(90)
            world.inject(FaultKind.HANG_HANDSHAKE, duration_s=60.0)
            await trio.sleep(40)
            world.inject(FaultKind.RESET)
            await trio.sleep(100)
            assert len(world.connections()) == 1
            assert feed.status().healthy
        await judge.verdict()
        assert not judge.gaps
