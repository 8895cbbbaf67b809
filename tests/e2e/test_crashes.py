"""Bugs strike: an actor fails once with something unforeseen. It is restarted, and the contract holds all the same."""

from __future__ import annotations

from collections.abc import Callable
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any

import pytest
import trio
from e2e_world import SPOT, Judge, World, open_world, spot

from candleactors.actors.backfill import Backfill
from candleactors.actors.connection import Connection
from candleactors.actors.hub import Hub
from candleactors.actors.pool import Pool
from candleactors.actors.sequencer import Sequencer
from candleactors.actors.store_writer import StoreWriter
from candleactors.actors.subscription import Subscription
from candleactors.core.registry import Registry
from candleactors.errors import LocalProtocolError, RestartIntensityExceeded, SubscriberLagged
from candleactors.feed import Feed
from candleactors.model import Stream, Timeframe
from candleactors.settings import SubscriberSettings, SupervisionSettings
from candleactors.sim.faults import FaultKind
from candleactors.stores.sqlite import SqliteStore


class Bug(Exception):
    """Something nobody foresaw."""


class Saboteur:
    """Makes a method fail at chosen calls, counted from when it is armed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, owner: type, name: str, *, late: bool = False) -> None:
        self.calls = 0
        self.struck = 0
        self._strikes: set[int] = set()
        self._error: Callable[[], BaseException] = lambda: Bug(f"{owner.__name__}.{name}")
        original = getattr(owner, name)

        async def bad_later(*args: Any, **kwargs: Any) -> Any:
            strikes = self._count()
            if strikes and not late:
                raise self._error()
            result = await original(*args, **kwargs)
            if strikes:
                raise self._error()
            return result

        def bad(*args: Any, **kwargs: Any) -> Any:
            strikes = self._count()
            if strikes and not late:
                raise self._error()
            result = original(*args, **kwargs)
            if strikes:
                raise self._error()
            return result

        monkeypatch.setattr(owner, name, bad_later if iscoroutinefunction(original) else bad)

    def arm(self, *calls: int, error: Callable[[], BaseException] | None = None) -> None:
        """Strike at these calls from now on, the next one being 0."""
        self.calls = 0
        self._strikes = set(calls)
        self._error = error or self._error

    def _count(self) -> bool:
        strikes = self.calls in self._strikes
        self.calls += 1
        self.struck += strikes
        return strikes


class Persistent:
    """Reads like a program that resumes whenever it is cut off."""

    def __init__(self, world: World, feed: Feed) -> None:
        self.judge = Judge(world)
        self.cut_off = 0
        world.nursery.start_soon(self._read, feed)

    async def _read(self, feed: Feed) -> None:
        cursor = None
        while True:
            try:
                async with feed.candles(forming=True, after=cursor) as subscription:
                    async for event in subscription:
                        self.judge.take(event)
            except SubscriberLagged as lagged:
                cursor = lagged.cursor
                self.cut_off += 1
            else:
                self.judge.done.set()
                return


PLACES = [
    (Sequencer, "_take_in", False),
    (Sequencer, "_take_in", True),
    (Sequencer, "_tick", True),
    (Sequencer, "_deliver", False),
    (Sequencer, "_deliver", True),
    (Hub, "_fan_out", False),
    (Hub, "_fan_out", True),
    (Subscription, "offer", False),
    (Subscription, "offer", True),
    (StoreWriter, "_take_in", True),
    (StoreWriter, "_write_batch", False),
    (StoreWriter, "_write_batch", True),
    (SqliteStore, "write", False),
    (SqliteStore, "standing", False),
    (Backfill, "_rows", False),
    (Backfill, "_rows", True),
    (Pool, "_reconcile", False),
    (Pool, "_reconcile", True),
    (Pool, "_rotate", False),
    (Pool, "_retire", False),
    (Connection, "_on_reply", False),
    (Connection, "silent", False),
    (Registry, "expire", False),
]


@pytest.mark.parametrize(("owner", "name", "late"), PLACES, ids=lambda value: getattr(value, "__name__", str(value)))
async def test_an_actor_fails_once(
    autojump_clock: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: type, name: str, late: bool
) -> None:
    saboteur = Saboteur(monkeypatch, owner, name, late=late)
    async with open_world(tmp_path, spot(frames=("1s", "1m"), rotate_after_s=100.0)) as world:
        async with world.feed() as feed:
            reader = Persistent(world, feed)
            await trio.sleep(20)
            for call in (0, 3):
                saboteur.arm(call)
                world.inject(FaultKind.DROP)
                await trio.sleep(30)
            saboteur.arm(0)
            feed.watch([f"{SPOT}:SOLUSDT:1s"])
            await trio.sleep(70)
            assert saboteur.struck
            assert feed.status().healthy
            assert len(set(world.subscribed())) == 5
        await reader.judge.verdict(streams=[*reader.judge.configured(), Stream(SPOT, "SOLUSDT", Timeframe("1s"))])
        assert not reader.judge.gaps
        assert world.violations() == {}


@pytest.mark.parametrize(("owner", "name", "late"), PLACES[:13], ids=lambda v: getattr(v, "__name__", str(v)))
async def test_a_failure_while_the_very_first_candles_come(
    autojump_clock: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: type, name: str, late: bool
) -> None:
    saboteur = Saboteur(monkeypatch, owner, name, late=late)
    saboteur.arm(2)
    async with open_world(tmp_path) as world:
        async with world.feed() as feed:
            reader = Persistent(world, feed)
            await trio.sleep(90)
            assert saboteur.struck
            assert feed.status().healthy
        await reader.judge.verdict()
        assert not reader.judge.gaps


async def test_a_fatal_failure_drains_and_reaches_the_host(
    autojump_clock: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saboteur = Saboteur(monkeypatch, Connection, "_on_reply")
    async with open_world(tmp_path) as world:
        judge = Judge(world)

        async def host() -> None:
            async with world.feed() as feed:
                world.nursery.start_soon(judge.read, feed)
                await trio.sleep(40)
                saboteur.arm(0, error=lambda: LocalProtocolError("a bug of ours"))
                feed.watch([f"{SPOT}:SOLUSDT:1m"])
                await trio.sleep_forever()

        with pytest.raises(LocalProtocolError, match="a bug of ours"):
            await host()
        assert trio.current_time() < 60
        await judge.verdict()


async def test_what_keeps_failing_makes_the_feed_give_up(
    autojump_clock: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saboteur = Saboteur(monkeypatch, Sequencer, "_take_in")
    supervision = SupervisionSettings(max_restarts=2, restart_window_s=600.0)
    async with open_world(tmp_path, supervision=supervision) as world:
        judge = Judge(world)

        async def host() -> None:
            async with world.feed() as feed:
                world.nursery.start_soon(judge.read, feed)
                await trio.sleep(40)
                saboteur.arm(*range(10_000))
                await trio.sleep_forever()

        with pytest.raises(RestartIntensityExceeded):
            await host()
        await judge.verdict(until_ms=world.clock.epoch_ms + 40_000)


async def test_a_reader_behind_a_failing_hub_is_told_where_to_go_on(
    autojump_clock: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saboteur = Saboteur(monkeypatch, Subscription, "offer")
    async with open_world(tmp_path, subscriber=SubscriberSettings(max_pending=50_000)) as world:
        async with world.feed() as feed:
            readers = [Persistent(world, feed) for _ in range(3)]
            await trio.sleep(30)
            saboteur.arm(1)
            await trio.sleep(60)
            assert saboteur.struck == 1
        for reader in readers:
            await reader.judge.verdict()
            assert reader.cut_off <= 1
